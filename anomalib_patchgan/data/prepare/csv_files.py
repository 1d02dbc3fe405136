"""Reading the tables of archives and users, two-column CSV files above all."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import check_id, read_text

# Cells, in lower case, that say nothing.
MISSING = frozenset({"", "n/a", "na", "nan"})
_COLUMNS = 2
# First cells of a header; anything else in the first line is data, whose misspelt value must not pass for a header.
_ID_HEADERS = frozenset(
    {"id", "image", "image_id", "image_name", "isic_id", "name", "case", "case_id", "patient", "patient_id"}
)

Value = TypeVar("Value")


def read_rows(path: Path, delimiters: str = ",", remedy: str = "correct the quotes") -> Iterator[tuple[int, list[str]]]:
    r"""Read the rows of a table, empty ones too.

    Args:
        path: File in UTF-8 of at most 16 MiB.
        delimiters: What may separate cells; the one that the first line has most of does.
        remedy: What to do about wrong quotes, for the message.

    Yields:
        Number of the row's last line, and its cells without space around them.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is too large, no text or no valid CSV.

    Example:
        >>> path = Path("table.tsv")
        >>> _ = path.write_text("id\tage\nsub-01\t 43\n")
        >>> list(read_rows(path, ",\t"))
        [(1, ['id', 'age']), (2, ['sub-01', '43'])]
    """
    text = read_text(path)
    delimiter = max(delimiters, key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        msg = f"{path}, line {reader.line_num}, is no valid CSV ({error}): {remedy}."
        raise DataError(msg) from error


def read_pairs(path: Path, values: Mapping[str, Value], expected: str) -> dict[str, Value]:
    """Read `id,value` lines.

    Args:
        path: CSV file in UTF-8, with or without a header; at most 16 MiB.
        values: What each value, in lower case, stands for.
        expected: The values in words, for messages.

    Returns:
        What the value of each id stands for.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: A line is not valid, an id is there twice, or the file is empty or no text.
    """
    found: dict[str, Value] = {}
    seen: dict[str, int] = {}
    is_first = True
    for number, cells in read_rows(path):
        line = Path(f"{path}, line {number}")
        if cells in ([], [""]):
            continue
        if len(cells) != _COLUMNS:
            msg = f"{line} has {len(cells)} columns instead of 2: write `id,value` with a comma, one per line."
            raise DataError(msg)
        name, value = cells[0], cells[1].lower()
        is_header = is_first and name.lower() in _ID_HEADERS and value not in values
        is_first = False
        if is_header:
            continue
        check_id(name, line)
        if value not in values:
            msg = f"{line} has {value[:40]!r} where {expected} belongs: correct it."
            raise DataError(msg)
        # File systems of Windows and macOS take ids that differ in case only for one.
        if name.casefold() in seen:
            msg = f"{line} names {name} again, which line {seen[name.casefold()]} does already: remove one of them."
            raise DataError(msg)
        seen[name.casefold()] = number
        found[name] = values[value]
    if not found:
        msg = f"{path} is empty: write one line `id,value` per id."
        raise DataError(msg)
    return found
