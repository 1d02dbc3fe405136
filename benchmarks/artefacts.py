"""Rows and numbers of the artefacts below `results/`, for `references.py`."""

import csv
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.errors import ConfigurationError, DataError

PUBLISHED = "published"


def artefact(folder: Path, source: str) -> Path:
    """Return the file that a reference calls `source`.

    Args:
        folder: `benchmarks/`, with `results/` and `published.yaml`.
        source: A path below `results/`; without a suffix the `aggregate.csv` of that comparison.

    Raises:
        ConfigurationError: There is no such file.

    Example:
        >>> artefact(Path("benchmarks"), "nowhere")
        Traceback (most recent call last):
        anomalib_patchgan.errors.ConfigurationError: there is no artefact benchmarks/results/nowhere/aggregate.csv.
    """
    path = folder / "results" / (source if Path(source).suffix else f"{source}/aggregate.csv")
    if source == PUBLISHED:
        path = folder / "published.yaml"
    if not path.is_file():
        msg = f"there is no artefact {path}."
        raise ConfigurationError(msg)
    return path


def rows_of(path: Path, pattern: str, metric: str, conditions: list[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that fit, at most one of each model.

    Args:
        path: CSV file with the columns `model`, `stratum` and `metric`.
        pattern: A model, `*` for all, or patterns with `!` before each for all that match none of them.
        metric: The metric, with `stratum/` before it where it is of one.
        conditions: Further ones, each `column=value`.

    Raises:
        ConfigurationError: No row fits, or several of one model.
        DataError: The file cannot be read.
    """
    stratum, _, name = metric.rpartition("/")
    without = pattern.split("!")[1:]
    wanted = {"metric": name, "stratum": stratum} | dict(condition.split("=", 1) for condition in conditions)
    rows = [
        row
        for row in _table(path)
        if (pattern in {"*", row["model"]} or without)
        and not any(fnmatchcase(row["model"], one) for one in without)
        and all(row.get(key) == value for key, value in wanted.items())
    ]
    if not rows or len({row["model"] for row in rows}) < len(rows):
        found = "several rows of one model" if rows else "no row"
        fields = ", ".join(f"{key} '{value}'" for key, value in wanted.items())
        msg = f"{path} has {found} with model '{pattern}', {fields}."
        raise ConfigurationError(msg)
    return rows


def models_of(path: Path) -> list[str]:
    """Return the models of a CSV file in their order."""
    return list(dict.fromkeys(row["model"] for row in _table(path)))


def entry_of(path: Path, keys: list[str]) -> Any:  # noqa: ANN401 - whatever stands there
    """Return what stands under some keys of a JSON or YAML file, or after `- KEY: ` in a Markdown file.

    Args:
        path: The file.
        keys: One key in Markdown; otherwise from the outside to the inside, in a list the number from 0.

    Raises:
        ConfigurationError: There is no such key, or, in Markdown, more than one line of it.
        DataError: The file cannot be read.
    """
    if path.suffix == ".md":
        start = f"- {keys[0]}: "
        lines = [line.removeprefix(start) for line in _read(path).splitlines() if line.startswith(start)]
        if len(keys) != 1 or len(lines) != 1:
            msg = f"{path} has {len(lines)} lines that begin with '{start}', not one."
            raise ConfigurationError(msg)
        return lines[0]
    try:
        value = yaml.safe_load(_read(path)) if path.suffix == ".yaml" else json.loads(_read(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read: {error}. Make it again."
        raise DataError(msg) from error
    for key in keys:
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if not isinstance(value, Mapping) or key not in value:
            msg = f"{path} has no '{key}' ({'; '.join(keys)})."
            raise ConfigurationError(msg)
        value = value[key]
    return value


def number(value: object, where: str) -> int | float:
    """Return a number of an artefact.

    Args:
        value: A number, or its text in a CSV file.
        where: What it is, for the error.

    Raises:
        DataError: It is none, or not finite.

    Example:
        >>> number("3", "seeds"), number("0.75", "mean")
        (3, 0.75)
    """
    try:
        found = int(value) if isinstance(value, str) and value.isdigit() else value
        found = found if isinstance(found, int) else float(found)  # type: ignore[arg-type] # or a TypeError
    except (TypeError, ValueError):
        found = float("nan")
    if not isfinite(found):
        msg = f"{where} is no number but '{value}'."
        raise DataError(msg)
    return found


def cell(row: Mapping[str, str], column: str) -> int | float:
    """Return the number in a column of a row.

    Raises:
        ConfigurationError: There is no such column.
        DataError: It is empty, or no number.

    Example:
        >>> cell({"model": "PatchGan", "sd": ""}, "sd")
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: sd of 'PatchGan' is no number but ''.
    """
    if column not in row:
        msg = f"there is no column '{column}', only {', '.join(row)}."
        raise ConfigurationError(msg)
    return number(row[column], f"{column} of '{row['model']}'")


def _table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    rows = list(csv.DictReader(_read(path).splitlines()))
    if not rows or not {"model", "stratum", "metric"} <= rows[0].keys():
        msg = f"{path} has no rows, or not the columns model, stratum and metric. Make it again."
        raise DataError(msg)
    return rows


def _read(path: Path) -> str:
    """Return the text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise DataError(msg) from error
