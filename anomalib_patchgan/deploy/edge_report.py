"""The report of an edge profile: a table as CSV and Markdown, and a plot of accuracy against latency."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.outputs import write_csv
from anomalib_patchgan.plots import set_plain_text, write_names

# Name in the CSV file, heading, decimals. `NAME_sd`, the standard deviation over seeds, stands in the cell of `NAME`.
COLUMNS = (
    ("size", "image", 0),
    ("mb", "MB", 2),
    ("p50_ms", "p50 ms", 2),
    ("p95_ms", "p95 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("p50_relative", "p50 / FP32", 3),
    ("images_per_second", "images/s", 1),
    ("images_per_second_auto", "images/s, AUTO", 1),
    ("first_ms", "first image ms", 0),
    ("peak_mib", "peak MiB", 0),
    ("seeds", "seeds", 0),
    ("image_AUROC", "image AUROC", 4),
    ("pixel_AP", "pixel AP", 4),
    ("best_dice", "best Dice", 4),
    ("max_score_difference", "max. score difference", 4),
    ("mean_score_difference", "mean score difference", 5),
    ("max_map_difference", "max. map difference", 4),
    ("mean_map_difference", "mean map difference", 5),
)
# Those that have a standard deviation over seeds.
SPREAD = ("image_AUROC", "pixel_AP", "best_dice")
EMPTY = "-"
# Texts and numbers by the names of columns.
Row = Mapping[str, Any]
METRICS = ("image_AUROC", "pixel_AP")
# Okabe and Ito's: told apart by those who see no red, and by their shape in grey.
EXPORT, RIVAL = ("#D55E00", "s"), ("#0072B2", "o")
DPI = 130
# Half the width of an error bar's ends in pixels.
BAR = 3

Point = tuple[float, float]


def write_edge_table(rows: Mapping[str, Row], folder: Path, remarks: Sequence[str]) -> None:
    """Write `edge.csv` and `edge.md`.

    Args:
        rows: Values of `COLUMNS` by model; one that is missing or `None` is left empty.
        folder: Where to; made if missing.
        remarks: Sentences below the Markdown table, such as the machine.

    Example:
        >>> rows = {"FP32": {"p50_ms": 5.0, "pixel_AP": 0.5}, "INT8": {"p50_ms": 3.0, "pixel_AP": 0.4}}
        >>> write_edge_table(rows, Path("edge"), ["Two cores."])
        >>> sorted(path.name for path in Path("edge").iterdir())
        ['edge.csv', 'edge.md']
    """
    headings, cells = text_table(rows)
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    lines += [f"| {' | '.join(line)} |" for line in cells]
    write_atomically(folder / "edge.md", ("\n".join([*lines, "", *remarks]) + "\n").encode())
    names = [part for name, _, _ in COLUMNS for part in ((name, f"{name}_sd") if name in SPREAD else (name,))]
    exact = ({"model": model, **{name: _exact(row.get(name)) for name in names}} for model, row in rows.items())
    write_csv(folder / "edge.csv", ["model", *names], exact)


def text_table(rows: Mapping[str, Row]) -> tuple[list[str], list[list[str]]]:
    """Write the cells of a table for people.

    Columns that no model has, such as pixel metrics of data without masks, are noise to a reader.

    Args:
        rows: Values of `COLUMNS` by model.

    Returns:
        The headings and the rows.

    Example:
        >>> text_table({"A": {"p50_ms": 5.0}, "B": {"pixel_AP": 0.5, "pixel_AP_sd": 0.01}})
        (['model', 'p50 ms', 'pixel AP'], [['A', '5.00', '-'], ['B', '-', '0.5000 ± 0.0100']])
    """
    used = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows.values())]
    # A name is anybody's: a bar or an end of line would make another table of it.
    names = {model: " ".join(model.replace("|", "/").split()) for model in rows}
    return ["model", *(heading for _, heading, _ in used)], [
        [names[model], *(_cell(row, name, digits) for name, _, digits in used)] for model, row in rows.items()
    ]


def _cell(row: Row, name: str, digits: int) -> str:
    """Write a value, with its standard deviation where there is one."""
    value, deviation = row.get(name), row.get(f"{name}_sd")
    if value is None or isinstance(value, str):
        return value or EMPTY
    return f"{value:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _exact(value: float | str | None) -> str | None:
    """Write a number with six digits."""
    return value if value is None or isinstance(value, str) else f"{value:.6g}"


def draw(rows: Mapping[str, Row]) -> Figure:
    """Draw image AUROC and pixel AP against the median latency, each in a panel of its own.

    Models with `seeds`, which come from a benchmark, have another sign than the exports, and a bar of one standard
    deviation over seeds to either side. Those without a metric are lines: they are fast or slow all the same.

    Args:
        rows: Values of `anomalib_patchgan.deploy.edge_report.COLUMNS` by model.
    """
    metrics = [metric for metric in METRICS if any(row.get(metric) is not None for row in rows.values())]
    # Without any there is the panel of the lines.
    metrics = metrics or [METRICS[0]]
    # Letters are not exactly as wide at another resolution, so names are placed at that of the file.
    figure = Figure(figsize=(7.4 * len(metrics), 6), dpi=DPI, layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    drawn = [_draw_panel(axes, rows, metric) for axes, metric in zip(panels, metrics, strict=True)]
    # Places are known only then; laid out again for each file they would move by a rounding, and names stay.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, (points, bars, lines) in zip(panels, drawn, strict=True):
        taken = [Bbox(axes.transData.transform(bar)).padded(BAR) for bar in bars]
        write_names(axes, points, taken=[*taken, *(name.get_window_extent() for name in lines)])
    return figure


def write_edge_plot(rows: Mapping[str, Row], folder: Path) -> None:
    """Draw a table's rows and write `edge.png` and `edge.svg`.

    Args:
        rows: See `draw`.
        folder: Where to; made if missing.

    Example:
        >>> rows = {"FP32": {"p50_ms": 5.0, "pixel_AP": 0.5}, "INT8": {"p50_ms": 3.0, "pixel_AP": 0.4}}
        >>> write_edge_plot(rows, Path("plot"))
        >>> sorted(path.name for path in Path("plot").iterdir())
        ['edge.png', 'edge.svg']
    """
    figure = draw(rows)
    for kind in ("png", "svg"):
        write_atomically(folder / f"edge.{kind}", encode(figure, kind))


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
        latency, accuracy, deviation = (row.get(name) for name in ("p50_ms", metric, f"{metric}_sd"))
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
