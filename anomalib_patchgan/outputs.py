"""Writes results whole or not at all, and says in one line what could not be written."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import write_atomically, write_json


@contextmanager
def writing(what: object, folder: Path | None = None) -> Iterator[None]:
    """Say in one line what could not be written, where the system refuses it.

    Args:
        what: File, or what else is written.
        folder: Where to, if `what` does not say so.

    Raises:
        DataError: It cannot be written.

    Example:
        >>> with writing("the table", Path("out")):
        ...     raise PermissionError(13, "Permission denied")
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: the table cannot be written to out (Permission denied): check space and
        permissions.
    """
    try:
        yield
    except OSError as error:
        where = "" if folder is None else f" to {folder}"
        msg = f"{what} cannot be written{where} ({error.strerror or error}): check space and permissions."
        raise DataError(msg) from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table atomically, each row by the names of its columns; one that it lacks stays empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    # A name that is not UTF-8 is written as escapes.
    write_atomically(path, text.getvalue().encode(errors="backslashreplace"))


def write_results(
    folder: Path, files: Mapping[str, bytes | None], record: Path, content: Mapping[str, Any], what: object
) -> None:
    """Write files and, last, the record that says that they belong together.

    Args:
        folder: Where the files go; made if missing.
        files: Content by name; `None` removes a file of a former result, which would be taken for one of this.
        record: JSON file.
        content: What it is to say.
        what: What is written, for the message.

    Raises:
        DataError: A file cannot be written; none is left half-written.
    """
    with writing(what, folder):
        # While the files are replaced, no record says that they belong together.
        record.unlink(missing_ok=True)
        for name, data in files.items():
            if data is None:
                (folder / name).unlink(missing_ok=True)
            else:
                write_atomically(folder / name, data)
        write_json(record, content)
