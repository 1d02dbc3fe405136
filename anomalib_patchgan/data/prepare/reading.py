"""Reading files that anybody may have made: regular ones only, and never more bytes than agreed."""

import hashlib
import stat
from dataclasses import dataclass, fields
from pathlib import Path

from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError


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


def _check_size(path: Path, size: int, limits: ReadLimits) -> None:
    if size > limits.max_bytes:
        msg = f"{path} has {size} bytes, more than max_bytes={limits.max_bytes}: raise the limit if you trust the file."
        raise DataError(msg)
