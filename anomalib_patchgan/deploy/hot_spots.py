"""The most anomalous patches of a volume, one for each place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MAX_SPOTS = 10


@dataclass(frozen=True, kw_only=True)
class HotSpot:
    """A patch.

    Args:
        score: Mean of the map over the patch, in [0, 1].
        slice_index: Axial slice, from the bottom.
        world_mm: Its most anomalous pixel, in millimetres right, anterior and superior, `(3,)`.
    """

    score: float
    slice_index: int
    world_mm: NDArray[np.float64]


def find_hot_spots(
    maps: NDArray[np.float32],
    affine: NDArray[np.float64],
    side: int,
    slices: Sequence[int],
    count: int = MAX_SPOTS,
) -> list[HotSpot]:
    """Rank the patches of all slices together, as the model ranks those of one.

    Neighbouring slices show one lesion again and again: a patch nearer than two patch sides to a better one is left
    out.

    Args:
        maps: Maps of the slices, `(Z, H, W)`.
        affine: `(4, 4)`, from (column, row, slice) to millimetres.
        side: Side of a patch in pixels, at least 1.
        slices: Slices that were processed.
        count: Most patches to return.

    Returns:
        The patches, most anomalous first; none with a mean of 0.

    Example:
        >>> maps = np.zeros((5, 32, 32), np.float32)
        >>> maps[2, 8:16, 24:32] = 0.75
        >>> spots = find_hot_spots(maps, np.eye(4), 8, range(5))
        >>> [(spot.score, spot.slice_index) for spot in spots]
        [(0.75, 2)]
    """
    candidates: list[tuple[float, int, int, int]] = []
    for number in slices:
        picture = maps[number]
        labels = _patches(picture.shape, side)
        every = np.arange(labels.max() + 1)
        means = ndimage.mean(picture, labels, every)
        peaks = ndimage.maximum_position(picture, labels, every)
        # A lesion across a border counts in both patches; those without anything are never looked at again.
        candidates += [
            (float(means[one]), number, *peaks[one]) for one in np.argsort(means)[::-1][:count] if means[one]
        ]
    # A little less, so that rounding does not decide about patches that are just so far.
    radius = 1.999 * side * float(np.linalg.norm(affine[:3, 0]))
    spots: list[HotSpot] = []
    for score, number, row, column in sorted(candidates, key=lambda one: -one[0]):
        place = (affine @ [column, row, number, 1.0])[:3]
        if all(np.linalg.norm(place - spot.world_mm) >= radius for spot in spots):
            spots.append(HotSpot(score=score, slice_index=number, world_mm=place))
        if len(spots) == count:
            break
    return spots


def _patches(shape: tuple[int, int], side: int) -> NDArray[np.int64]:
    """Number the patch of each pixel of a grid, row by row."""
    across = -(-shape[1] // side)
    return (np.arange(shape[0]) // side)[:, None] * across + np.arange(shape[1]) // side
