"""The bytes behind a gzip stream, a few at a time, so that no stream can expand into all of the memory."""

import io
from pathlib import Path

# Reads what `gzip` reads, in less time.
from isal import igzip, isal_zlib

from anomalib_patchgan.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
# Deflate expands to no more than 1032 times its size.
MAX_RATIO = 1032
_CHUNK = 1 << 20


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
        self._path = path
        stored = io.BytesIO(content)
        # The reader verifies the checksum of each member, and allows zeros after the last one, as tapes need them.
        self._file = igzip.IGzipFile(fileobj=stored, mode="rb") if content.startswith(GZIP_MAGIC) else stored

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end.

        Raises:
            DataError: The gzip stream is damaged.
        """
        try:
            return self._file.read(size)
        except EOFError as error:
            raise DataError(self._damaged("it ends too early")) from error
        except (OSError, isal_zlib.error) as error:  # type: ignore[misc]  # the stub takes the class for an instance
            raise DataError(self._damaged(str(error))) from error

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer of bytes as far as the stream goes, and return how many were written.

        Raises:
            DataError: The gzip stream is damaged.
        """
        filled = 0
        while chunk := self.read(min(_CHUNK, len(buffer) - filled)):
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return filled

    def skip(self, most: int) -> int:
        """Read on to the end, which is where a checksum shows damage, and give up after more than `most` bytes.

        Returns:
            Bytes that were left.

        Raises:
            DataError: The gzip stream is damaged.
        """
        skipped = 0
        while skipped <= most and (chunk := self.read(_CHUNK)):
            skipped += len(chunk)
        return skipped

    def _damaged(self, reason: str) -> str:
        return f"{self._path} is a damaged gzip file ({reason}): download or copy it again."
