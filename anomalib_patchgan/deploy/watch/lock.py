"""A lock on a folder of results, which ends with the process that holds it, however that ends."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.outputs import writing

LOCK = ".watch.lock"
# A process that was killed gives its lock back once the system has cleaned up after it.
_PATIENCE_S = 3.0
_HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK})


class FolderLock:
    """Keeps a second watch from writing to a folder of results.

    The system holds it (`flock`), on the file and not by its being there: nothing is left of it when the process ends.

    Args:
        folder: The folder, which exists.

    Example:
        >>> import tempfile
        >>> lock = FolderLock(Path(tempfile.mkdtemp()))
        >>> lock.acquire()
        >>> lock.problem()
        ''
        >>> lock.release()
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._device = folder.stat().st_dev
        self._descriptor = -1

    def acquire(self, patience_s: float = _PATIENCE_S) -> None:
        """Take the lock.

        Args:
            patience_s: How long to wait for another process that holds it, in seconds.

        Raises:
            ConfigurationError: Another process holds it, or there are no such locks here.
            DataError: The file of the lock cannot be written.
        """
        try:
            import fcntl
        except ImportError as error:
            msg = "--watch needs locks of files (flock), which Windows has not: run it on Linux or macOS."
            raise ConfigurationError(msg) from error
        self.release()
        path = self._folder / LOCK
        with writing(path):
            # A link would make this process write to the file of somebody else.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _HELD and time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                owner = self._owner()
                self.release()
                if error.errno in _HELD:
                    msg = f"{self._folder} is the output of another watch already{owner}: end that, or give another."
                else:
                    msg = f"{self._folder} cannot be locked ({error.strerror}): give a folder of another file system."
                raise ConfigurationError(msg) from error
            break
        # For the message of the next one only; on a full disk it does without.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def problem(self) -> str:
        """Say why the folder is not the one that is locked, such as when it has gone; empty if it is."""
        try:
            folder = self._folder.stat()
        except OSError as error:
            return f"{self._folder} cannot be reached ({error.strerror}): is it mounted?"
        there = (self._folder / LOCK).exists()
        if there and self._is_held():
            return ""
        # The folder over which another file system was mounted is empty, too, but nothing may be written there.
        if not there and folder.st_dev != self._device:
            return f"{self._folder} is on another file system than at the start: is it mounted?"
        try:
            self.acquire(0)
        except (ConfigurationError, DataError) as error:
            return str(error)
        self._device = folder.st_dev
        return ""

    @property
    def identity(self) -> tuple[int, int]:
        """Which file is locked: another one after the folder had gone and a new one was made."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def release(self) -> None:
        """Give the lock back; its file stays, since another process may have opened it already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_held(self) -> bool:
        """Tell whether the file that is locked is the one that lies there."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), (self._folder / LOCK).stat())
        # After a network has gone and come back, the open file may be a stale one.
        except OSError:
            return False

    def _owner(self) -> str:
        try:
            text = os.pread(self._descriptor, 32, 0).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return f" (process {text})" if text.isdigit() else ""
