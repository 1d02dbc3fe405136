"""The plot of an edge profile: accuracy against latency."""

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from anomalib_patchgan.deploy.edge_table import COLUMNS, Row
from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.plots import set_plain_text, write_names

METRICS = ("image_AUROC", "pixel_AP")
# Okabe and Ito's: told apart by those who see no red, and by their shape in grey.
EXPORT, RIVAL = ("#D55E00", "s"), ("#0072B2", "o")
DPI = 130
# Half the width of an error bar's ends in pixels.
BAR = 3

Point = tuple[float, float]


def draw(rows: Mapping[str, Row]) -> Figure:
    """Draw image AUROC and pixel AP against the median latency, each in a panel of its own.

    Models with `seeds`, which come from a benchmark, have another sign than the exports, and a bar of one standard
    deviation over seeds to either side. Those without a metric are lines: they are fast or slow all the same.

    Args:
        rows: Values of `anomalib_patchgan.deploy.edge_table.COLUMNS` by model.
    """
    metrics = [metric for metric in METRICS if any(row.get(metric) is not None for row in rows.values())]
    # Without any there is the panel of the lines.
    metrics = metrics or [METRICS[0]]
    # Letters are not exactly as wide at another resolution, so names are placed at that of the file.
    figure = Figure(figsize=(7.4 * len(metrics), 6), dpi=DPI, layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    drawn = [_draw_panel(axes, rows, metric) for axes, metric in zip(panels, metrics, strict=True)]
    # Places are known only then.
    figure.draw_without_rendering()
    for axes, (points, bars, lines) in zip(panels, drawn, strict=True):
        taken = [Bbox(axes.transData.transform(bar)).padded(BAR) for bar in bars]
        write_names(axes, points, taken=[*taken, *(name.get_window_extent() for name in lines)])
    return figure


def write_edge_plot(rows: Mapping[str, Row], folder: Path) -> list[Path]:
    """Draw a table's rows and write `edge.png` and `edge.svg`.

    Args:
        rows: See `draw`.
        folder: Where to; made if missing.

    Returns:
        The files.

    Example:
        >>> import tempfile
        >>> rows = {"FP32": {"p50_ms": 5.0, "pixel_AP": 0.5}, "INT8": {"p50_ms": 3.0, "pixel_AP": 0.4}}
        >>> [path.name for path in write_edge_plot(rows, Path(tempfile.mkdtemp()))]
        ['edge.png', 'edge.svg']
    """
    figure = draw(rows)
    paths = [folder / f"edge.{kind}" for kind in ("png", "svg")]
    for path in paths:
        write_atomically(path, encode(figure, path.suffix[1:]))
    return paths


def encode(figure: Figure, kind: str) -> bytes:
    """Encode a figure as `png` or `svg`, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "edge"}):
        figure.savefig(buffer, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _draw_panel(
    axes: Axes, rows: Mapping[str, Row], metric: str
) -> tuple[list[tuple[str, Point]], list[tuple[Point, Point]], list[Text]]:
    """Draw everything but the names of points; return these points, the ends of bars, and the names of lines."""
    points: list[tuple[str, Point]] = []
    bars: list[tuple[Point, Point]] = []
    lines: list[Text] = []
    axes.set_xscale("log")
    for model, row in rows.items():
        latency, accuracy, deviation = _number(row, "p50_ms"), _number(row, metric), _number(row, f"{metric}_sd")
        if latency is None:
            continue
        if accuracy is None:
            axes.axvline(latency, color="0.7", linewidth=1)
            name = axes.text(latency, 0.02, "", rotation=90, transform=axes.get_xaxis_transform(), color="0.4", size=8)
            set_plain_text(name, f" {model}")
            lines.append(name)
            continue
        points.append((model, (latency, accuracy)))
        colour, marker = EXPORT if row.get("seeds") is None else RIVAL
        axes.errorbar(latency, accuracy, deviation, fmt=marker, color=colour, markersize=5, capsize=2)
        bars += [((latency, accuracy - deviation), (latency, accuracy + deviation))] if deviation else []
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("median latency of one image, ms")
    axes.set_ylabel(next(heading for name, heading, _ in COLUMNS if name == metric))
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.margins(0.18, 0.12)
    return points, bars, lines


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value is None else float(value)
