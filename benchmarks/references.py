"""References to numbers of artefacts, as the documentation and `tables.yaml` write them.

A reference names an artefact below `results/`, what picks one row of it, and a column, parted by semicolons:

    lgg_flair; PatchGan; image_AUROC; mean             aggregate.csv of results/lgg_flair: model, metric, column
    brats_tiles; PatchGan; large/image_AUROC; sd       the same of a stratum
    lgg_flair/results.csv; PatchGan; training_seconds; value; seed=0       another CSV file, one more condition
    edge/edge.json; rows; FP32; p50_ms                 a JSON file and the keys to a number
    lgg_flair/summary.md; Test split                   what follows `- Test split: ` there
    published; targets; lgg_flair; image_AUROC         published.yaml: figures that were not measured here

Some columns stand for several: `mean±` is 0.898 ± 0.003, `mean[]` is 0.867 [0.827, 0.903], `mean±[]` is both,
`difference[]` the difference with its interval, bold where p < 0.05 after Holm's correction, `best` the highest mean
and whose it is. What an artefact does not have, such as the standard deviation of one seed, is left out.

References and numbers may be joined by ` - `, ` / ` or ` * `; a format of Python may end it: `...; bytes / 1000 :.0f`.
In a claim, `A < B`, with ` and ` between several, the model on the left may be `*`, or `!PatchGan*!Padim` for all but
Padim and those that begin with PatchGan: then it has to hold for each of them.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from artefacts import artefact, cell, entry_of, models_of, number, rows_of

from anomalib_patchgan.errors import ConfigurationError

ARITHMETIC = {"-": operator.sub, "/": operator.truediv, "*": operator.mul}
COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq}
FORMS = {"mean±", "mean[]", "mean±[]", "difference[]", "best"}
JOINED = re.compile(r"\s+([-/*])\s+")
FORMAT = re.compile(r"\s*:([+,]{0,2}(?:\.\d)?[f%d])$")
SIGNIFICANT = 0.05
T = TypeVar("T")


def value_text(folder: Path, expression: str) -> str:
    """Return what a reference stands for, as it is written in a text.

    Args:
        folder: `benchmarks/`, with `results/` and `published.yaml`.
        expression: One reference, or several joined.

    Raises:
        ConfigurationError: It cannot be understood, or does not pick exactly one row.
        DataError: The artefact is damaged, or what it holds there is no number.
    """
    match = FORMAT.search(expression)
    bare = expression[: match.start()] if match else expression
    fields = [bare] if JOINED.search(bare) else _fields(bare)
    if fields[0].endswith(".md"):
        return str(entry_of(artefact(folder, fields[0]), fields[1:]))
    if len(fields) > 3 and fields[3] in FORMS and _is_table(fields[0]):  # noqa: PLR2004
        rows = rows_of(artefact(folder, fields[0]), fields[1], fields[2], fields[4:])
        return best(rows) if fields[3] == "best" else form(_only(rows, bare), fields[3])
    value = _only(list(values_of(folder, bare).values()), bare)
    default = "," if isinstance(value, int) else "+.3f" if "difference" in bare else ".3f"
    return format(value, match.group(1) if match else default)


def contradictions(folder: Path, claim: str) -> list[str]:
    """Return what speaks against a claim: nothing where it holds.

    Args:
        folder: `benchmarks/`, with `results/` and `published.yaml`.
        claim: Comparisons with ` and ` between them.

    Raises:
        ConfigurationError: It cannot be understood, or a side of it picks no row.
        DataError: An artefact is damaged, or what it holds there is no number.
    """
    wrong = []
    for part in claim.split(" and "):
        match = re.fullmatch(r"\s*(.+?)\s+(<=|>=|<|>|=)\s+(.+?)\s*", part)
        if not match:
            msg = f"'{part.strip()}' is no claim: write A < B, with spaces around the sign."
            raise ConfigurationError(msg)
        limit = _only(list(values_of(folder, match[3]).values()), match[3])
        for name, value in values_of(folder, match[1]).items():
            if not COMPARISONS[match[2]](value, limit):
                wrong.append(f"{name}: {value:.6g} {match[2]} {limit:.6g} is not so")
    return wrong


def values_of(folder: Path, expression: str) -> dict[str, int | float]:
    """Return the value of an expression for every model that it picks, by the model's name."""
    first, *rest = JOINED.split(expression.strip())
    values = _operand(folder, first)
    for sign, text in zip(rest[::2], rest[1::2], strict=True):
        other = _only(list(_operand(folder, text).values()), text)
        if sign == "/" and other == 0:
            msg = f"'{text}' is 0, by which nothing can be divided."
            raise ConfigurationError(msg)
        values = {name: ARITHMETIC[sign](value, other) for name, value in values.items()}
    return values


def has_value(folder: Path, expression: str) -> bool:
    """Whether a row has anything in the column of a reference: only that may be missing, not the row."""
    fields = _fields(FORMAT.sub("", expression))
    path = artefact(folder, fields[0])
    if len(fields) == 1:
        return True
    if not _is_table(fields[0]):
        # What is null was not measured.
        return entry_of(path, fields[1:-1]).get(fields[-1]) is not None
    row = _only(rows_of(path, fields[1], fields[2], fields[4:]), expression)
    return row.get(fields[3].rstrip("±[]")) != ""


def names_of(folder: Path, reference: str) -> list[str]:
    """Return the models of a comparison, or the keys in a part of a JSON file."""
    fields = _fields(reference)
    path = artefact(folder, fields[0])
    return models_of(path) if _is_table(fields[0]) else list(entry_of(path, fields[1:]))


def form(row: Mapping[str, str], kind: str) -> str:
    """Return several columns of a row in the usual form."""
    column, prefix, sign = ("difference", "difference_", "+.3f") if kind == "difference[]" else ("mean", "", ".3f")
    text = format(cell(row, column), sign)
    if prefix and row["p_holm"] and cell(row, "p_holm") < SIGNIFICANT:
        text = f"**{text}**"
    if "±" in kind and row["sd"]:
        text += f" ± {cell(row, 'sd'):.3f}"
    if "[]" in kind and row[f"{prefix}low"]:
        text += f" [{cell(row, f'{prefix}low'):{sign}}, {cell(row, f'{prefix}high'):{sign}}]"
    return text


def best(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the highest mean and the models that have it."""
    means = {row["model"]: cell(row, "mean") for row in rows}
    highest = max(means.values())
    return f"{highest:.3f} {'; '.join(name for name, mean in means.items() if mean == highest)}"


def _operand(folder: Path, text: str) -> dict[str, int | float]:
    """Return a number that is written out, or those of a reference."""
    fields = _fields(text)
    if len(fields) == 1:
        return {text: number(text, f"'{text}'")}
    path = artefact(folder, fields[0])
    if not _is_table(fields[0]):
        return {text: number(entry_of(path, fields[1:]), f"'{text}'")}
    return {row["model"]: cell(row, fields[3]) for row in rows_of(path, fields[1], fields[2], fields[4:])}


def _fields(text: str) -> list[str]:
    """Return the fields of a reference; a line break in it counts as a space."""
    fields = [" ".join(field.split()) for field in text.split(";")]
    is_table = _is_table(fields[0])
    if "" in fields or (is_table and (1 < len(fields) < 4 or any("=" not in field for field in fields[4:]))):  # noqa: PLR2004
        msg = f"'{text.strip()}' cannot be read: write ARTEFACT; MODEL; METRIC; COLUMN; COLUMN=VALUE or FILE; KEY; KEY."
        raise ConfigurationError(msg)
    return fields


def _is_table(source: str) -> bool:
    """Whether an artefact is a CSV file."""
    return source != "published" and Path(source).suffix in {"", ".csv"}


def _only(found: Sequence[T], text: str) -> T:
    """Return the one element of a list."""
    if len(found) != 1:
        msg = f"'{text.strip()}' picks {len(found)} rows: it must pick one."
        raise ConfigurationError(msg)
    return found[0]
