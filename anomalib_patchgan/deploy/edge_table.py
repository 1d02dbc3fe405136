"""The table of an edge profile as CSV and Markdown."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalib_patchgan.files import write_atomically

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
Row = Mapping[str, float | str | None]


def write_edge_table(rows: Mapping[str, Row], folder: Path, remarks: Sequence[str]) -> list[Path]:
    """Write `edge.csv` and `edge.md`.

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
        ['edge.csv', 'edge.md']
    """
    headings, cells = text_table(rows)
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    lines += [f"| {' | '.join(line)} |" for line in cells]
    contents = {
        "edge.csv": _csv(rows).encode(),
        "edge.md": ("\n".join([*lines, "", *remarks]) + "\n").encode(),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


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


def _csv(rows: Mapping[str, Row]) -> str:
    """Write all columns for machines."""
    names = [part for name, _, _ in COLUMNS for part in ((name, f"{name}_sd") if name in SPREAD else (name,))]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["model", *names])
    for model, row in rows.items():
        table.writerow([model, *(_exact(row.get(name)) for name in names)])
    return text.getvalue()


def _exact(value: float | str | None) -> str:
    """Write a value with six digits; empty for none."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.6g}"
