"""The panel of example heat maps: the same images for every model."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalib_patchgan.benchmark.report.views import Example
from anomalib_patchgan.plots import draw_outline

# Beyond that a tile is too small on a page; further models follow below.
MODELS_PER_LINE = 7
# Inches.
_TILE, _GAP, _HEADER, _LABEL = 1.2, 0.04, 0.36, 0.22


def draw_examples(
    examples: Mapping[str, Mapping[str, Example]], chosen: Mapping[str, str], *, with_masks: bool = False
) -> Figure:
    """Draw example images with the outline of the lesion, and the heat map of each model.

    Args:
        examples: Images by name of each model; one without an image gets an empty cell that says so.
        chosen: Name of the image of each row.
        with_masks: Draw the lesion beside the image, too.

    Returns:
        A row for each image and a column for each model; more than seven models go into several blocks.
    """
    models = list(examples)
    lines = math.ceil(len(models) / MODELS_PER_LINE)
    size = math.ceil(len(models) / lines)
    blocks = [models[start : start + size] for start in range(0, len(models), size)]
    own = {"image": _draw_image, "lesion": _draw_mask} if with_masks else {"": _draw_image}
    block_height = _HEADER + len(chosen) * (_TILE + _GAP)
    width, height = _LABEL + (len(own) + size) * (_TILE + _GAP), lines * block_height
    figure = Figure(figsize=(width, height), facecolor="white")
    for number, block in enumerate(blocks):
        for place, (row, name) in enumerate(chosen.items()):
            bottom = height - number * block_height - _HEADER - (place + 1) * (_TILE + _GAP)
            panels = []
            for column in range(len(own) + len(block)):
                left = _LABEL + column * (_TILE + _GAP)
                panels.append(figure.add_axes((left / width, bottom / height, _TILE / width, _TILE / height)))
                panels[-1].set(xticks=[], yticks=[])
                panels[-1].spines[:].set_visible(False)
            for axes, draw in zip(panels, own.values(), strict=False):
                draw(axes, next(of_model[name] for of_model in examples.values() if name in of_model))
            panels[0].set_ylabel(row, size=8, labelpad=3)
            for axes, model in zip(panels[len(own) :], block, strict=True):
                _draw_map(axes, examples[model].get(name))
            if place == 0:
                for axes, title in zip(panels, (*own, *block), strict=True):
                    axes.set_title(_wrap(title), size=7, pad=3, parse_math=False)
    return figure


def _draw_image(axes: Axes, example: Example) -> None:
    axes.imshow(example.image)
    draw_outline(axes, example.mask)


def _draw_mask(axes: Axes, example: Example) -> None:
    axes.imshow(example.mask, cmap="gray", vmin=0, vmax=1)


def _draw_map(axes: Axes, example: Example | None) -> None:
    if example is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", size=7, color="0.4", transform=axes.transAxes)
        return
    axes.imshow(example.map, cmap="inferno", vmin=0, vmax=255)
    draw_outline(axes, example.mask, colour="white")


def _wrap(name: str, width: int = 20) -> str:
    """Break a name into two lines at most."""
    if len(name) <= width:
        return name
    cut = name.rfind(" ", 0, width + 1)
    cut = cut if cut > 0 else width
    rest = name[cut:].strip()
    return f"{name[:cut]}\n{rest if len(rest) <= width else rest[: width - 1] + '…'}"
