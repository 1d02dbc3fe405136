"""`summary.md`: the tables in GitHub's Markdown."""

import re
from collections.abc import Sequence

from anomalib_patchgan.benchmark.report.section import Fact, Section
from anomalib_patchgan.benchmark.report.tables import Cell, Table


def write_markdown(title: str, notes: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the summary.

    Args:
        title: Name of the runs.
        notes: What a reader has to know about all of them.
        sections: One for each name of data.
    """
    parts = [f"# Benchmark {escape(title)}", *(escape(note) for note in notes)]
    for section in sections:
        parts += [f"## {escape(section.data)}", "\n".join(_fact(fact) for fact in section.facts)]
        parts += [escape(note) for note in section.notes]
        for table in section.tables:
            parts += [f"### {escape(table.title)}", _table(table), *(escape(note) for note in table.notes)]
        if section.failed:
            lines = [f"- {escape(name)}: {escape(error)}" for name, error in section.failed]
            parts += ["### Failed jobs", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""Make a text stand in Markdown as it is, also in a table.

    Example:
        >>> print(escape("<b> | a_b *"))
        \<b\> \| a_b \*
    """
    # An underscore inside a word is itself.
    return re.sub(r"([\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))


def _fact(fact: Fact) -> str:
    if not fact.code:
        return f"- {fact.name}: {escape(fact.value)}"
    # A longer fence than any row of backticks inside.
    fence = "`" * (1 + max((len(row) for row in re.findall("`+", fact.value)), default=0))
    pad = " " if "`" in fact.value else ""
    return f"- {fact.name}: {fence}{pad}{' '.join(fact.value.split())}{pad}{fence}"


def _table(table: Table) -> str:
    head = " | ".join(escape(column) for column in table.columns)
    rule = "|".join(["---", *["---:"] * (len(table.columns) - 1)])
    rows = [" | ".join([escape(name), *(_cell(cell) for cell in cells)]) for name, cells in table.rows]
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)])


def _cell(cell: Cell) -> str:
    value = escape(cell.value)
    return f"{f'**{value}**' if cell.bold else value}{cell.spread}" + (f" {cell.detail}" if cell.detail else "")
