"""Files: bounded reading of what anybody may have made, atomic writing, JSON, hashes and names."""

import hashlib
import json
import stat
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

# Hidden folder of the records that say which cases are done.
RECORDS = ".cases"
# What `write_atomically` writes, and leaves behind where the process is killed.
TEMPORARY = ".*.tmp"
MAX_ID_LENGTH = 128
_STALE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """Bounds on what is read from one file, so that no file can fill the memory.

    Args:
        max_dimension: Most voxels along an axis of a volume.
        max_bytes: Most bytes of a file, both as stored and decompressed.
        max_pixels: Most pixels of a photograph or mask. Above PIL's own limit, 178 956 970 pixels unless
            `PIL.Image.MAX_IMAGE_PIXELS` is changed, that one applies.

    Raises:
        ConfigurationError: A bound is below 1.

    Example:
        >>> ReadLimits(max_bytes=2**20).max_dimension
        1024
    """

    max_dimension: int = 1024
    max_bytes: int = 2**30
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        """Check the bounds."""
        for field in fields(self):
            if getattr(self, field.name) < 1:
                msg = f"{field.name} must be at least 1, got {getattr(self, field.name)}."
                raise ConfigurationError(msg)


DEFAULT_LIMITS = ReadLimits()
_TEXT_LIMITS = ReadLimits(max_bytes=1 << 24)


def read_bytes(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> bytes:
    """Read a whole file.

    Args:
        path: File.
        limits: `max_bytes` bounds its size.

    Returns:
        What is stored in it.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is no regular file (but a folder, pipe or device), is too large, or cannot be read.

    Example:
        >>> path = Path("note.txt")
        >>> path.write_bytes(b"hello")
        5
        >>> read_bytes(path)
        b'hello'
    """
    try:
        status = path.stat()
        # Opening a pipe would wait for ever for somebody to write to it.
        if not stat.S_ISREG(status.st_mode):
            msg = f"{path} is no regular file but a folder, pipe or device: put a copy of the real file there."
            raise DataError(msg)
        _check_size(path, status.st_size, limits)
        with path.open("rb") as file:
            # One more than there should be, to notice a file that somebody is still writing.
            content = file.read(status.st_size + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{path} does not exist: check the path, or restore the file."
        raise DatasetNotFoundError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}): check its permissions and whether the disk is there."
        raise DataError(msg) from error
    if len(content) != status.st_size:
        msg = f"{path} changed while it was read: wait until it is written completely, then start again."
        raise DataError(msg)
    return content


def read_text(path: Path) -> str:
    """Read a text in UTF-8, with or without a byte order mark, of at most 16 MiB.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is too large or no such text.

    Example:
        >>> path = Path("note.txt")
        >>> path.write_text("hello")
        5
        >>> read_text(path)
        'hello'
    """
    try:
        text = read_bytes(path, _TEXT_LIMITS).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 (byte {error.start}): save it in UTF-8."
        raise DataError(msg) from error
    if "\0" in text:
        msg = f"{path} contains NUL bytes, so it is no text file or damaged: save it again in UTF-8."
        raise DataError(msg)
    return text


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a regular file, reading a megabyte at a time.

    Example:
        >>> path = Path("empty.txt")
        >>> path.touch()
        >>> hash_file(path)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def short_hash(text: str) -> str:
    """Return the first eight digits of the SHA-256 of a text, such as a path that no result can be named by.

    Example:
        >>> short_hash("in/a")
        'f2eb4a5b'
    """
    # A path may hold bytes that are no UTF-8.
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; `None` when it is not there or, after a crash of the disk, not whole."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        return None


def parse_json(content: bytes) -> dict[str, Any] | None:
    """Read a JSON object; `None` when it is none.

    Example:
        >>> parse_json(b'{"a": 1}'), parse_json(b"[1]"), parse_json(b"{")
        ({'a': 1}, None, None)
    """
    try:
        found = json.loads(content)
    # Deep nesting and huge integers end in the last two.
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that nobody ever sees half of it."""
    # Random, because machines that fill one shared folder may have equal process ids; the dot hides it from readers.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary_files(paths: Iterable[Path]) -> None:
    """Remove what killed processes left; younger files may be another process's at work.

    Args:
        paths: Files that match `TEMPORARY`.
    """
    for path in paths:
        if path.is_file() and time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def make_writable(folder: Path) -> None:
    """Make a folder, and find out before any work whether it can be written to.

    Raises:
        DataError: It cannot.
    """
    probe = folder / f".{uuid.uuid4().hex[:12]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"{folder} cannot be written to ({error.strerror}): choose another folder."
        raise DataError(msg) from error


def check_id(name: str, path: Path) -> None:
    """Check that an id can be part of a file name everywhere and cannot lead out of a folder.

    Args:
        name: Id, such as the name of a case.
        path: Where it was found, for the message.

    Raises:
        DataError: It is empty, longer than 128 bytes in UTF-8, begins with a dot, or contains a path separator, a
            colon, `..` or a character that cannot be printed.

    Example:
        >>> check_id("../secret", Path("splits.csv"))
        Traceback (most recent call last):
            ...
        anomalib_patchgan.errors.DataError: splits.csv holds an id that cannot be a file name, '../secret': rename it.
    """
    # Lone surrogates, which cannot be encoded, are not printable.
    is_name = name.isprintable() and 0 < len(name.encode()) <= MAX_ID_LENGTH
    if not is_name or name.startswith(".") or ".." in name or any(character in name for character in "/\\:"):
        shown = name if len(name) <= 40 else f"{name[:40]}..."  # noqa: PLR2004
        msg = f"{path} holds an id that cannot be a file name, {shown!r}: rename it."
        raise DataError(msg)


def _check_size(path: Path, size: int, limits: ReadLimits) -> None:
    if size > limits.max_bytes:
        msg = f"{path} has {size} bytes, more than max_bytes={limits.max_bytes}: raise the limit if you trust the file."
        raise DataError(msg)
