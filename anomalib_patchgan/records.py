"""Records of JSON that anybody may have written: checked against a class of pydantic, refused in one line."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from anomalib_patchgan.errors import DataError

_SHOWN = 60
_OBJECTS = {"model_type", "dataclass_type", "dict_type"}

Record = TypeVar("Record")


def parse_record(content: bytes, path: Path, kind: type[Record], remedy: str) -> Record:
    """Make a record of the content of its file.

    Args:
        content: What the file holds.
        path: The file, for messages.
        kind: Class of pydantic that says what the record has to be. An error names the first field that is wrong.
        remedy: What to do about a file that is not valid.

    Raises:
        DataError: It is no JSON object, or a value is missing or not what it has to be.

    Example:
        >>> from pydantic import BaseModel
        >>> class Card(BaseModel):
        ...     sides: list[int]
        >>> parse_record(b'{"sides": [1, null]}', Path("a.json"), Card, "export again")
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.json: sides[1] must be a valid integer, got None: export again.
    """
    try:
        values = json.loads(content)
    # A deep nesting ends in the first, bytes that are no text and integers of thousands of digits in the second.
    except (RecursionError, ValueError) as error:
        msg = f"{path} is no valid JSON file: {remedy}."
        raise DataError(msg) from error
    return check_record(values, path, kind, remedy)


def check_record(values: object, source: object, kind: type[Record], remedy: str) -> Record:
    """Make a record of values, see `parse_record`.

    Args:
        values: What should be a dictionary.
        source: Where they are from, for messages.
        kind: Class of pydantic.
        remedy: What to do about values that are not valid.

    Raises:
        DataError: A value is missing or not what it has to be.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        msg = _describe(source, error.errors(include_url=False)[0], remedy)
        # Not from the error, which shows all the values.
        raise DataError(msg) from None


def _describe(source: object, fault: Any, remedy: str) -> str:  # noqa: ANN401 - pydantic's entries are plain dictionaries
    # Of our own validators.
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, DataError):
        return f"{source}: {error}"
    if not fault["loc"]:
        return f"{source}: {error}: {remedy}." if error else f"{source} holds no JSON object: {remedy}."
    where = "".join(map(_place, fault["loc"])).removeprefix(".")
    if fault["type"] == "missing":
        return f"{source}: {where} is missing: {remedy}."
    must = fault["msg"].partition(" should ")[2]
    if error or fault["type"] in _OBJECTS:
        must = f"be {error or 'an object'}"
    return f"{source}: {where} must {must}, got {shorten(fault['input'])}: {remedy}."


def _place(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else f"[{shorten(part)}]"


def shorten(value: object) -> str:
    """Return what a value is like, for a message.

    Example:
        >>> shorten(list(range(100)))
        '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1...'
    """
    # ASCII, so that nothing in the file can steer a terminal.
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
