"""Values of a JSON file that anybody may have written: each is checked before it is used."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits, read_bytes

# A case with a thousand slices and patches stays below one megabyte.
LIMITS = ReadLimits(max_bytes=16 << 20)
MAX_TEXT = 1000
# Of a list, and of the entries of an object.
MAX_ITEMS = 10_000
_SHOWN = 60


@dataclass(frozen=True)
class Fields:
    """An object of a JSON file.

    Args:
        values: What it holds.
        path: The file, for messages.
        where: Place of the object in the file, empty or ending in a dot.

    Example:
        >>> fields = Fields({"score": 0.5, "name": 7}, Path("a.json"), "model.")
        >>> fields.number("score", 0, 1)
        0.5
        >>> fields.text("name")
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.json: model.name must be a text, got 7: write the result again.
    """

    values: Mapping[str, Any]
    path: Path
    where: str = ""

    def get(self, key: str) -> Any:  # noqa: ANN401 - JSON can hold anything
        """Return a value that has to be there."""
        if key not in self.values:
            msg = f"{self.path}: {self.where}{key} is missing: write the result again."
            raise DataError(msg)
        return self.values[key]

    def number(self, key: str, low: float, high: float) -> float:
        """Return a finite number within bounds."""
        value = self.get(key)
        if not is_number(value) or not low <= value <= high:
            self.fail(key, f"a number from {low:g} to {high:g}", value)
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int:
        """Return an integer within bounds."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(key, f"an integer from {low} to {high}", value)
        return value

    def truth(self, key: str) -> bool:
        """Return true or false."""
        value = self.get(key)
        if not isinstance(value, bool):
            self.fail(key, "true or false", value)
        return value

    def text(self, key: str) -> str:
        """Return a text that is not empty."""
        value = self.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            self.fail(key, "a text", value)
        return value

    def triple(self, key: str, low: float, high: float) -> tuple[float, float, float]:
        """Return three finite numbers within bounds."""
        value = self.get(key)
        if not isinstance(value, list) or [is_number(one) and low <= one <= high for one in value] != [True] * 3:
            self.fail(key, f"three numbers from {low:g} to {high:g}", value)
        x, y, z = value
        return float(x), float(y), float(z)

    def part(self, key: str) -> "Fields":
        """Return the object under a key."""
        value = self.get(key)
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            self.fail(key, "an object", value)
        return Fields(value, self.path, f"{self.where}{key}.")

    def parts(self, key: str) -> "list[Fields]":
        """Return the objects of the list under a key."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(isinstance(one, dict) for one in value):
            self.fail(key, "a list of objects", value)
        return [Fields(one, self.path, f"{self.where}{key}[{index}].") for index, one in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        """Return the texts of the list under a key."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            self.fail(key, "a list of texts", value)
        return [Fields({key: one}, self.path, self.where).text(key) for one in value]

    def fail(self, key: str, expected: str, value: object) -> NoReturn:
        """Say that a value is not what it has to be."""
        # ASCII, so that nothing in the file can steer a terminal.
        shown = ascii(value)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        msg = f"{self.path}: {self.where}{key} must be {expected}, got {shown}: write the result again."
        raise DataError(msg)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def read_fields(path: Path) -> Fields:
    """Read a JSON file that holds one object.

    Args:
        path: File.

    Returns:
        Its object.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is no JSON file, or holds something else.

    Example:
        >>> path = Path("a.json")
        >>> path.write_text('{"a": 1}')
        8
        >>> read_fields(path).integer("a", 0, 9)
        1
    """
    try:
        content = json.loads(read_bytes(path, LIMITS))
    # A deep nesting ends in the first, bytes that are no text and integers of thousands of digits in the second.
    except (RecursionError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        msg = f"{path} is no valid JSON file: write the result again."
        raise DataError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds no JSON object: write the result again."
        raise DataError(msg)
    return Fields(content, path)
