"""The bytes behind a gzip stream, a few at a time, so that no stream can expand into all of the memory."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from anomalib_patchgan.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
# Deflate expands to no more than 1032 times its size.
MAX_RATIO = 1032
_INPUT_CHUNK = 1 << 16
_OUTPUT_CHUNK = 1 << 20
# A block-wise compressor needs 16 384 for 1 GiB; without an end, empty ones could go on for hours.
_MAX_MEMBERS = 100_000
_GZIP = 31


class ByteStream:
    """Reads the stored bytes of a file in order, decompressing them when they are gzipped.

    Args:
        content: Stored bytes.
        path: File, for messages.

    Example:
        >>> import gzip
        >>> stream = ByteStream(gzip.compress(b"header and voxels"), Path("x.nii.gz"))
        >>> stream.read(6), stream.read(100)
        (b'header', b' and voxels')
    """

    def __init__(self, content: bytes, path: Path) -> None:
        self._chunks = _inflate(content, path) if content.startswith(GZIP_MAGIC) else _split(content)
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end.

        Raises:
            DataError: The gzip stream is damaged.
        """
        buffer = bytearray(size)
        return bytes(buffer[: self.read_into(memoryview(buffer))])

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer of bytes as far as the stream goes, and return how many were written.

        Raises:
            DataError: The gzip stream is damaged.
        """
        filled = 0
        while filled < len(buffer):
            if not self._left:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._left = memoryview(chunk)
            size = min(len(self._left), len(buffer) - filled)
            buffer[filled : filled + size] = self._left[:size]
            self._left = self._left[size:]
            filled += size
        return filled

    def skip(self, most: int) -> int:
        """Read on to the end, which is where a checksum shows damage, and give up after more than `most` bytes.

        Returns:
            Bytes that were left.

        Raises:
            DataError: The gzip stream is damaged.
        """
        skipped = len(self._left)
        while skipped <= most:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            skipped += len(chunk)
        self._left = memoryview(b"")
        return skipped


def _split(content: bytes) -> Iterator[memoryview]:
    yield memoryview(content)


def _inflate(content: bytes, path: Path) -> Iterator[bytes]:
    """Yield what the members of a gzip file hold, at most 1 MiB at a time; zlib verifies each one's checksum."""
    stored = memoryview(content)
    position = 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            data = member.unconsumed_tail or stored[position : position + _INPUT_CHUNK]
            if not member.unconsumed_tail:
                position += len(data)
            try:
                piece = member.decompress(data, _OUTPUT_CHUNK)
            except zlib.error as error:
                raise DataError(_damaged(path, str(error))) from error
            if piece:
                yield piece
            elif not data and not member.eof:
                raise DataError(_damaged(path, "it ends too early"))
        position -= len(member.unused_data)
        # Zeros after the last member are padding, which tapes and some disks need.
        if (
            not stored[position : position + 1].tobytes().strip(b"\0")
            and content.count(0, position) == len(content) - position
        ):
            return
    raise DataError(_damaged(path, f"it has more than {_MAX_MEMBERS} members"))


def _damaged(path: Path, reason: str) -> str:
    return f"{path} is a damaged gzip file ({reason}): download or copy it again."
