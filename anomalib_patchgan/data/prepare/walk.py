"""Walking through folders that may hold anything: bounded, without links that lead elsewhere and what systems hide."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from anomalib_patchgan.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

# What macOS packs beside the files.
_RESOURCE_FORKS = "__MACOSX"


@dataclass(frozen=True, kw_only=True)
class WalkLimits:
    """Where a walk ends.

    Args:
        what: Name of the data, for messages.
        depth: Levels of folders below the root that are listed.
        in_folder: A folder with more entries than this is another data set, and left out.
        entries: Most files and folders in all.
    """

    what: str
    depth: int
    in_folder: int
    entries: int


def walk(
    root: Path,
    limits: WalkLimits,
    *,
    enter: Callable[[Path], bool] = lambda _: True,
    follow: Callable[[Path], bool] = lambda _: False,
) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Walk through the folders below a root, breadth first.

    Hidden entries and `__MACOSX` are left out, and no folder is listed twice. Symbolic links to folders count in the
    root, which is the user's, and further down only where `follow` says so.

    Args:
        root: Folder to begin with.
        limits: Where to end.
        enter: Whether to look into a folder.
        follow: Whether to follow a link to a folder further down than in the root itself.

    Yields:
        A folder, and its entries by name.

    Raises:
        DataError: The root cannot be listed.
        ConfigurationError: There is far too much below the root.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("b/x", "a", "__MACOSX", ".git"):
        ...     (root / name).mkdir(parents=True)
        >>> limits = WalkLimits(what="X", depth=1, in_folder=10, entries=100)
        >>> [[entry.name for entry in entries] for _, entries in walk(root, limits)]
        [['a', 'b'], [], ['x']]
    """
    queue = deque([(root, 0)])
    seen: set[Path] = set()
    looked_at = 0
    while queue:
        folder, depth = queue.popleft()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        entries = _list(folder, limits, is_root=depth == 0)
        looked_at += len(entries)
        if looked_at > limits.entries:
            msg = (
                f"{root} holds more than {limits.entries} files and folders: set root to the {limits.what} folders "
                "themselves."
            )
            raise ConfigurationError(msg)
        entries = [entry for entry in entries if not entry.name.startswith(".") and entry.name != _RESOURCE_FORKS]
        entries.sort(key=lambda entry: entry.name)
        yield folder, entries
        for entry in entries:
            path = folder / entry.name
            if depth < limits.depth and is_folder(entry) and enter(path):
                if depth == 0 or not entry.is_symlink() or follow(path):
                    queue.append((path, depth + 1))
                else:
                    logger.warning(
                        "%s is a symbolic link and not followed: give the folder it leads to as a root of its own", path
                    )


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a link in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _list(folder: Path, limits: WalkLimits, *, is_root: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, limits.in_folder + 1))
    except OSError as error:
        if is_root:
            raise _not_listed(folder, error) from error
        logger.warning("%s cannot be listed (%s) and is left out", folder, error.strerror)
        return []
    if len(found) > limits.in_folder:
        message = "%s holds more than %d entries, more than any %s folder, and is left out"
        logger.warning(message, folder, limits.in_folder, limits.what)
        return []
    return found


def describe_missing(folder: Path, expected: str, published: str | None = None) -> str:
    """Say in one line which folder was looked at, what it holds, what was expected, and where to get it if anywhere."""
    if not folder.is_dir():
        found = "there is no such folder"
    else:
        names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
        found = f"it holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it is empty"  # noqa: PLR2004
    where = f" Published at {published}." if published else ""
    return f"Looked at {folder.absolute()}: {found}. Expected: {expected}.{where}"


def check_inside(path: Path, root: Path) -> None:
    """Refuse a symbolic link that leads out of the archive.

    Args:
        path: File of the archive.
        root: The archive, links resolved.

    Raises:
        DataError: The file is a link, or lies in one, that leaves `root`.
    """
    if not path.resolve().is_relative_to(root):
        msg = f"{path} is a symbolic link that leaves {root}: replace it by a copy of the file it points to."
        raise DataError(msg)


def list_names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones such as macOS's `._` files."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _not_listed(folder, error) from error


def _not_listed(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder} cannot be listed ({error.strerror}): check its permissions and whether the disk is there."
    )
