"""What is said of a record that is not what it has to be: one line, with the place, and safe for a terminal."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.records import check_record, parse_record

PATH = Path("a.json")


class Part(BaseModel):
    """A part of a record."""

    side: int = 0


class Whole(BaseModel):
    """A record."""

    name: str
    parts: list[Part] = []
    sizes: dict[str, int] = {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "a.json: name is missing"),
        (b"[1]", "a.json holds no JSON object"),
        (b'{"name": 1}', "a.json: name must be a valid string, got 1"),
        (b'{"name": "a", "parts": [{}, {"side": []}]}', "a.json: parts[1].side must be a valid integer, got []"),
        (b'{"name": "a", "parts": [3]}', "a.json: parts[0] must be an object, got 3"),
        (b'{"name": 1, "parts": 2}', "a.json: name must be a valid string, got 1"),
        (b'{"name": "a", "sizes": {"\\u001b[J": null}}', r"a.json: sizes['\x1b[J'] must be a valid integer, got None"),
        (b"\xff\xfe{", "a.json is no valid JSON file"),
        (b"[" * 100_000, "a.json is no valid JSON file"),
        (b"9" * 10_000, "a.json is no valid JSON file"),
    ],
)  # fmt: skip
def test_fault_is_one_line(content, message):
    with pytest.raises(DataError) as caught:
        parse_record(content, PATH, Whole, "ask again")
    assert str(caught.value) == f"{message}: ask again."
    # What else the file holds is not shown either.
    assert caught.value.__suppress_context__ or "valid JSON" in message


def test_long_values_are_cut_short():
    with pytest.raises(DataError) as caught:
        check_record({"name": ["x" * 10_000]}, "the settings", Whole, "ask again")
    assert str(caught.value).startswith("the settings: name must be a valid string, got ['xxx")
    assert len(str(caught.value)) < 150


def test_byte_order_mark_does_not_matter():
    assert parse_record(b'\xef\xbb\xbf{"name": "\\udce9"}', PATH, Whole, "ask again").name == "\udce9"
