"""What lies in a folder right now, as sizes and times: nothing is opened."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from anomalib_patchgan.errors import DataError

# As programs name what they have not finished: rsync and others by a dot in front, browsers, WinSCP and others behind.
_UNFINISHED = re.compile(
    r"\..*|~.*|.*~|.*\.(part|partial|filepart|tmp|temp|swp|crdownload|download|opdownload|aria2|!ut)|__MACOSX|@eaDir",
    re.IGNORECASE | re.DOTALL,
)


class Stamp(NamedTuple):
    """What tells that a file has changed.

    Attributes:
        size: Bytes.
        mtime_ns: Time of the last change of its content in nanoseconds.
    """

    size: int
    mtime_ns: int


class Listing(NamedTuple):
    """The regular files below a folder.

    Attributes:
        files: Stamp of each by its path; links to files count as what they lead to, links to folders are not followed.
        unfinished: The same of those whose names, or those of their folders, say that they are not finished.
        unreadable: Folders that cannot be listed.
    """

    files: dict[str, Stamp]
    unfinished: dict[str, Stamp]
    unreadable: int


def list_folder(root: Path, skip: Path | None = None) -> Listing:
    """List the files below a folder.

    Args:
        root: The folder.
        skip: Folder to leave out, such as that of the results.

    Raises:
        DataError: The folder itself cannot be listed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a_flair.nii.gz", ".a_t2.nii.gz.Xy12", "IM1.part"):
        ...     (folder / name).touch()
        >>> found = list_folder(folder)
        >>> len(found.files), len(found.unfinished)
        (1, 2)
    """
    files: dict[str, Stamp] = {}
    unfinished: dict[str, Stamp] = {}
    unreadable = 0
    left_out = None if skip is None else str(skip)
    waiting = [(str(root), files)]
    while waiting:
        folder, into = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    kind = unfinished if is_unfinished(entry.name) else into
                    if entry.is_dir(follow_symlinks=False):
                        if entry.path != left_out:
                            waiting.append((entry.path, kind))
                    elif (stamp := stamp_of(entry.path)) is not None:
                        kind[entry.path] = stamp
        except OSError as error:
            if folder == str(root):
                msg = f"{root} cannot be read ({error.strerror}): is it there, mounted and allowed to be read?"
                raise DataError(msg) from error
            # A folder may have been moved away meanwhile.
            unreadable += os.path.lexists(folder)
    return Listing(files, unfinished, unreadable)


def is_unfinished(name: str) -> bool:
    """Tell whether the name of a file or folder says that a program is still writing it, or hides it.

    Example:
        >>> [is_unfinished(name) for name in (".a.nii.gz.Xy12", "IM1.filepart", "IM1", "a_flair.nii.gz")]
        [True, True, False, False]
    """
    return bool(_UNFINISHED.fullmatch(name))


def stamp_of(path: str | Path) -> Stamp | None:
    """Return the stamp of a regular file; `None` if it is none, or not there."""
    try:
        # Through links: what they lead to may still be growing.
        if not os.path.isfile(path):  # noqa: PTH113 - a million files
            return None
        status = os.stat(path)  # noqa: PTH116 - a million files
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def fingerprint(stamps: Mapping[str, Stamp]) -> str:
    """Return a hash of the names, sizes and times of files, which tells of no name.

    Args:
        stamps: Stamp of each file.
    """
    digest = hashlib.sha256()
    for path in sorted(stamps):
        digest.update(f"{path}\0{stamps[path].size}\0{stamps[path].mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
