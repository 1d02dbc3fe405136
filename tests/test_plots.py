"""Names of points, and outlines of lesions."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from anomalib_patchgan.plots import draw_outline, write_names


def test_names_of_crowded_points_are_still_apart():
    axes = Figure(figsize=(6, 6)).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.figure.draw_without_rendering()
    texts = write_names(axes, [(f"model {number}", (0.99, 0.5)) for number in range(20)])
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    # Names away from their point have a line to it.
    assert len(axes.lines) > 10


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_an_outline_is_closed_at_the_edge_and_moves_no_limit(kind):
    axes = Figure().subplots()
    axes.imshow(np.zeros((6, 9)))
    limits = axes.get_xlim(), axes.get_ylim()
    mask = np.zeros((6, 9), kind)
    mask[:3, 5:] = 1
    draw_outline(axes, mask)
    (contour,) = axes.collections
    (path,) = contour.get_paths()
    outline = path.vertices
    assert np.array_equal(outline[0], outline[-1])
    assert (outline.min(axis=0).tolist(), outline.max(axis=0).tolist()) == ([4.5, -0.5], [8.5, 2.5])
    assert (axes.get_xlim(), axes.get_ylim()) == limits


@pytest.mark.filterwarnings("error")
def test_without_a_lesion_nothing_is_drawn():
    axes = Figure().subplots()
    draw_outline(axes, np.zeros((4, 4), bool))
    assert not axes.collections
