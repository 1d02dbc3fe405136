"""The figures of a comparison: curves, score histograms, accuracy against latency, and example heat maps."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.plots import draw_outline, set_plain_text, write_names

MAX_BYTES = 150_000
NORMAL, LESION = "#9ecae1", "#b33c00"
# Okabe and Ito's colours without the yellow, which is lost on white; the dashes tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6a3d9a")
_DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 2, 1, 2, 1, 2)))
_DPI = (110, 90, 70, 55)
# Inches of the square of a curve.
_SIDE = 3.3
# Beyond that a heat map is too small on a page; further models follow below.
MODELS_PER_LINE = 7
# Inches.
_TILE, _GAP, _HEADER, _LABEL = 1.2, 0.04, 0.36, 0.22


class Curve(NamedTuple):
    """Points of a curve, `(K,)` each."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


class Example(NamedTuple):
    """One lesion image with its lesion and the model's map, `(h, w, 3)` uint8, `(h, w)` bool and `(h, w)` uint8."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    map: NDArray[np.uint8]


class ModelView(NamedTuple):
    """What figures show of one model: its first seed.

    Attributes:
        model: Name of the model.
        folds: Number of folds.
        scores: Raw scores of the images of all folds, `(N,)`.
        labels: Whether they hold a lesion, `(N,)`.
        roc: Mean of the folds' ROC curves; `None` where undefined.
        precision_recall: Mean of the folds' precision-recall curves.
        examples: Example images by name.
    """

    model: str
    folds: int
    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    roc: Curve | None
    precision_recall: Curve | None
    examples: dict[str, Example]


def draw_curves(
    views: Sequence[ModelView], reference: str | None, values: Mapping[str, float], kind: str
) -> Figure | None:
    """Draw a curve of each model, at most eight in one panel; the reference is in every panel.

    Args:
        views: The models.
        reference: Model drawn as a thick line.
        values: Area under the curve of each model, for the legend.
        kind: `roc` or `precision_recall`.

    Returns:
        The figure; `None` when no model has such a curve.
    """
    curves = {view.model: curve for view in views if (curve := getattr(view, kind)) is not None}
    if not curves:
        return None
    rivals = [model for model in curves if model != reference]
    size = len(_COLOURS)
    groups = [rivals[start : start + size] for start in range(0, len(rivals), size)] or [[]]
    # By hand, because no layout engine leaves room for a legend below a square.
    entries = 1 + max(len(group) for group in groups)
    columns, lines = min(2, len(groups)), math.ceil(len(groups) / 2)
    width, height = columns * (_SIDE + 0.75), lines * (_SIDE + 0.75 + 0.165 * entries)
    figure = Figure(figsize=(width, height), facecolor="white")
    labels = ("false-positive rate", "true-positive rate") if kind == "roc" else ("recall", "precision")
    for number, group in enumerate(groups):
        left = number % columns * width / columns + 0.6
        bottom = height - number // columns * height / lines - _SIDE - 0.12
        axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
        styles = {model: (_COLOURS[i], _DASHES[i], 1.5) for i, model in enumerate(group)}
        if reference in curves:
            styles = {reference: ("black", "-", 2.2), **styles}
        handles, names = [], []
        for model, (colour, dashes, thickness) in styles.items():
            curve = curves[model]
            # ROC curves are lines between their points; precision drops at once where another image is found.
            drawstyle = "default" if kind == "roc" else "steps-pre"
            handles += axes.plot(
                curve.x, curve.y, color=colour, linestyle=dashes, linewidth=thickness, drawstyle=drawstyle
            )
            names.append(f"{model} ({values[model]:.3f})" if model in values else model)
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=labels[0], ylabel=labels[1])
        axes.grid(color="0.93")
        legend = axes.legend(
            handles, [" "] * len(handles), loc="upper center", bbox_to_anchor=(0.5, -0.46 / _SIDE), fontsize=7.5,
            frameon=False, handlelength=3.5,
        )  # fmt: skip
        for text, name in zip(legend.get_texts(), names, strict=True):
            set_plain_text(text, _short(name, 60))
    return figure


def draw_scores(views: Sequence[ModelView]) -> Figure:
    """Draw the histograms of normal and lesion images' scores, each model on its own axis."""
    columns = min(len(views), 4)
    rows = math.ceil(len(views) / columns)
    figure = Figure(figsize=(columns * 2.4, rows * 1.6), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(views) :]:
        axes.remove()
    for number, (axes, view) in enumerate(zip(panels, views, strict=False)):
        low, high = np.percentile(view.scores, [0.5, 99.5])
        if low == high:
            low, high = low - 0.5, high + 0.5
        bins = np.linspace(low, high, 31).tolist()
        parts = [np.clip(view.scores[chosen], low, high) for chosen in (~view.labels, view.labels)]
        if parts[0].size:
            axes.hist(parts[0], bins, density=True, color=NORMAL, label="normal")
        if parts[1].size:
            axes.hist(parts[1], bins, density=True, histtype="step", color=LESION, linewidth=1.3, label="lesion")
        axes.set_title(_short(view.model, 34), size=8, parse_math=False)
        axes.tick_params(labelsize=6)
        axes.xaxis.get_offset_text().set_fontsize(6)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        if number == 0:
            axes.legend(fontsize=6, frameon=False)
    return figure


def draw_latency(points: Mapping[str, tuple[float, float, bool]], reference: str | None) -> Figure | None:
    """Draw accuracy against latency.

    Args:
        points: Milliseconds, image AUROC and whether OpenVINO ran it (else torch), of each model.
        reference: Model drawn in black.

    Returns:
        The figure; `None` without a point.
    """
    if not points:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    times = [point[0] for point in points.values()]
    axes.set(xscale="log", xlim=(min(times) / 1.6, max(times) * 2.5), xlabel="ms per image (median, CPU)")
    axes.set_ylabel("image AUROC")
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.93")
    for model, (time, value, exported) in points.items():
        colour = "black" if model == reference else _COLOURS[0]
        axes.plot(time, value, "o", color=colour, markerfacecolor=colour if exported else "white")
    # Places of the axes are known only then.
    figure.draw_without_rendering()
    write_names(axes, [(_short(model, 40), point[:2]) for model, point in points.items()])
    return figure


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


def encode(figure: Figure) -> bytes:
    """Encode a figure as a PNG file of 150 kB at most, with fewer colours and pixels if need be."""
    png = b""
    for dpi in _DPI:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        with Image.open(buffer) as image:
            for colours in (256, 64):
                small = io.BytesIO()
                image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
                png = small.getvalue()
                if len(png) <= MAX_BYTES:
                    return png
    return png


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


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
