"""The panel of example heat maps: the same images for every model."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalib_patchgan.benchmark.report.view import Example, ModelView

# Seen on grey images as well as on skin.
OUTLINE = "#00d0ff"
# Beyond that a tile is too small on a page; further models follow below.
MODELS_PER_LINE = 7
# Inches.
_TILE, _GAP, _HEADER, _LABEL = 1.2, 0.04, 0.36, 0.22


def draw_examples(views: Sequence[ModelView], chosen: Mapping[str, str]) -> Figure:
    """Draw example images with the outline of the lesion, and the heat map of each model.

    Args:
        views: The models; one without an image gets an empty cell that says so.
        chosen: Name of the image of each row.

    Returns:
        A row for each image and a column for each model; more than seven models go into several blocks.
    """
    lines = math.ceil(len(views) / MODELS_PER_LINE)
    size = math.ceil(len(views) / lines)
    blocks = [views[start : start + size] for start in range(0, len(views), size)]
    block_height = _HEADER + len(chosen) * (_TILE + _GAP)
    width, height = _LABEL + (1 + size) * (_TILE + _GAP), lines * block_height
    figure = Figure(figsize=(width, height), facecolor="white")
    for number, block in enumerate(blocks):
        for place, (row, name) in enumerate(chosen.items()):
            bottom = height - number * block_height - _HEADER - (place + 1) * (_TILE + _GAP)
            panels = []
            for column in range(1 + len(block)):
                left = _LABEL + column * (_TILE + _GAP)
                panels.append(figure.add_axes((left / width, bottom / height, _TILE / width, _TILE / height)))
                panels[-1].set(xticks=[], yticks=[])
                panels[-1].spines[:].set_visible(False)
            _draw_image(panels[0], next(view.examples[name] for view in views if name in view.examples))
            panels[0].set_ylabel(row, size=8, labelpad=3)
            for axes, view in zip(panels[1:], block, strict=True):
                _draw_map(axes, view.examples.get(name))
                if place == 0:
                    axes.set_title(_wrap(view.model), size=7, pad=3, parse_math=False)
    return figure


def _draw_image(axes: Axes, example: Example) -> None:
    axes.imshow(example.image)
    _outline(axes, example.mask, OUTLINE)


def _draw_map(axes: Axes, example: Example | None) -> None:
    if example is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", size=7, color="0.4", transform=axes.transAxes)
        return
    axes.imshow(example.map, cmap="inferno", vmin=0, vmax=255)
    _outline(axes, example.mask, "white")


def _outline(axes: Axes, mask: np.ndarray, colour: str) -> None:
    height, width = mask.shape
    # A rim of zeros closes the outline of a lesion that reaches the edge.
    lesion = np.pad(mask, 1)
    axes.contour(
        np.arange(-1, width + 1), np.arange(-1, height + 1), lesion, levels=[0.5], colors=colour, linewidths=0.7
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _wrap(name: str, width: int = 20) -> str:
    """Break a name into two lines at most."""
    if len(name) <= width:
        return name
    cut = name.rfind(" ", 0, width + 1)
    cut = cut if cut > 0 else width
    rest = name[cut:].strip()
    return f"{name[:cut]}\n{rest if len(rest) <= width else rest[: width - 1] + '…'}"
