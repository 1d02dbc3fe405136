"""The tables of `tables.yaml` in Markdown.

A table has `columns`, pairs of a heading and a cell, and `rows`: a list, or a reference to an artefact all of whose
models or keys have a row. In a cell `$row` is the row's name; where rows are mappings, `$KEY` is what a row, or else
`defaults`, says. Then `{REFERENCE}` is filled in, `{?REFERENCE}` too, or `-` where that model has no such number, and
`{holds: CLAIM}` becomes met or missed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml
from references import contradictions, has_value, names_of, value_text

from anomalib_patchgan.errors import ConfigurationError, DataError


def table(folder: Path, name: str) -> str:
    """Return a table of `tables.yaml`.

    Args:
        folder: `benchmarks/`, with `results/`, `published.yaml` and `tables.yaml`.
        name: Which one.

    Raises:
        ConfigurationError: There is no such table, or one of its references does not pick exactly one row.
        DataError: An artefact or `tables.yaml` is damaged.
    """
    path = folder / "tables.yaml"
    try:
        tables = yaml.safe_load(path.read_text(encoding="utf-8"))
        if name in tables:
            heads, cells = zip(*tables[name]["columns"], strict=True)
            rows, defaults = tables[name]["rows"], tables[name].get("defaults", {})
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        msg = f"{path} cannot be read: {error!r}"
        raise DataError(msg) from error
    if name not in tables:
        msg = f"{path} has no table '{name}', only {', '.join(tables)}."
        raise ConfigurationError(msg)
    if isinstance(rows, str):
        rows = names_of(folder, rows)
    rules = ["---:" if re.match(r"\{(?!holds)", cell) else "---" for cell in cells]
    mappings = [defaults | (row if isinstance(row, Mapping) else {"row": row}) for row in rows]
    lines = [heads, rules, *([filled(folder, cell, row) for cell in cells] for row in mappings)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(folder: Path, cell: str, row: Mapping[str, Any]) -> str:
    """Return a cell of a row."""
    try:
        # Twice, because a row's own text may name another part of the row.
        text = Template(Template(cell).substitute(row)).substitute(row)
    except (KeyError, ValueError) as error:
        msg = f"tables.yaml: the row {dict(row)} does not fit '{cell}': {error!r}"
        raise ConfigurationError(msg) from error
    return re.sub(r"\{(\?|holds: )?([^{}]+)\}", lambda found: _value(folder, found[1], found[2]), text)


def _value(folder: Path, kind: str | None, text: str) -> str:
    """Return what a reference or a claim in a cell becomes."""
    if kind == "holds: ":
        return "missed" if contradictions(folder, text) else "met"
    return value_text(folder, text) if kind is None or has_value(folder, text) else "-"
