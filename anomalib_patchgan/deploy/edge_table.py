"""The table of an edge profile as CSV, Markdown and a plot of accuracy against latency."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalib_patchgan.data.prepare.writing import write_atomically

# Name in the CSV file, heading, decimals.
COLUMNS = (
    ("mb", "MB", 2),
    ("p50_ms", "p50 ms", 2),
    ("p95_ms", "p95 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("images_per_second", "images/s", 1),
    ("images_per_second_auto", "images/s, AUTO", 1),
    ("first_ms", "first image ms", 0),
    ("peak_mib", "peak MiB", 0),
    ("image_AUROC", "image AUROC", 4),
    ("pixel_AP", "pixel AP", 4),
    ("best_dice", "best Dice", 4),
    ("max_score_difference", "max. score difference", 4),
    ("mean_score_difference", "mean score difference", 5),
    ("max_map_difference", "max. map difference", 4),
    ("mean_map_difference", "mean map difference", 5),
)
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">")
Row = Mapping[str, float | None]


def write_edge_table(rows: Mapping[str, Row], folder: Path, remarks: Sequence[str]) -> list[Path]:
    """Write `edge.csv`, `edge.md` and `edge.png`.

    Args:
        rows: Values of `COLUMNS` by model; one that is missing or `None` is left empty.
        folder: Where to; made if missing.
        remarks: Sentences below the Markdown table, such as the machine.

    Returns:
        The files.

    Example:
        >>> import tempfile
        >>> rows = {"FP32": {"p50_ms": 5.0, "pixel_AP": 0.5}, "INT8": {"p50_ms": 3.0, "pixel_AP": 0.4}}
        >>> [path.name for path in write_edge_table(rows, Path(tempfile.mkdtemp()), ["Two cores."])]
        ['edge.csv', 'edge.md', 'edge.png']
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["model", *(name for name, _, _ in COLUMNS)])
    for model, row in rows.items():
        table.writerow([model, *("" if (value := row.get(name)) is None else f"{value:.6g}" for name, _, _ in COLUMNS)])
    # Columns that no model has, such as pixel metrics of data without masks, are noise to a reader.
    used = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows.values())]
    lines = [f"| model | {' | '.join(heading for _, heading, _ in used)} |", f"|---|{'---:|' * len(used)}"]
    for model, row in rows.items():
        cells = ["-" if (value := row.get(name)) is None else f"{value:.{digits}f}" for name, _, digits in used]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    contents = {
        "edge.csv": text.getvalue().encode(),
        "edge.md": ("\n".join([*lines, "", *remarks]) + "\n").encode(),
        "edge.png": _draw(rows),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def _draw(rows: Mapping[str, Row]) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    metric = "pixel_AP" if any(row.get("pixel_AP") is not None for row in rows.values()) else "image_AUROC"
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    drawn = 0
    for model, row in rows.items():
        latency, accuracy = row.get("p50_ms"), row.get(metric)
        if latency is None:
            continue
        if accuracy is None:
            # Models whose weights are not trained are fast or slow all the same.
            axes.axvline(latency, color="0.7", linewidth=1)
            axes.text(
                latency, 0.02, f" {model}", rotation=90, transform=axes.get_xaxis_transform(), color="0.4", size=8
            )
        else:
            axes.plot(latency, accuracy, MARKERS[drawn % len(MARKERS)], label=model)
            drawn += 1
    if drawn:
        # Beside the points, labels of forms that are equally good would lie on each other.
        figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("median latency of one image, ms")
    axes.set_ylabel(next(heading for name, heading, _ in COLUMNS if name == metric))
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.margins(0.15, 0.2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
