"""Finding the files of an archive as a user unpacked it, and saying what is missing where."""

from collections.abc import Iterable
from pathlib import Path

from anomalib_patchgan.errors import DataError, DatasetNotFoundError


def find_archive(root: str | Path, name: str, markers: Iterable[str], expected: str, published: str) -> Path:
    """Find the folder of an archive: the given one, or the one of the archive's name inside it.

    Args:
        root: The archive's folder or its parent.
        name: The folder's official name; "" when the archive has none of its own.
        markers: What the folder holds, one of them at least.
        expected: What should be there, for the message.
        published: Where the archive is published, for the message.

    Returns:
        Absolute path, symbolic links resolved.

    Raises:
        DatasetNotFoundError: Neither folder holds any of the markers.
    """
    root = Path(root).expanduser()
    markers = list(markers)
    for folder in dict.fromkeys((root, root / name)):
        if any((folder / marker).exists() for marker in markers):
            return folder.resolve()
    raise DatasetNotFoundError(describe_missing(root, expected, published))


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
        msg = f"{folder} cannot be listed ({error.strerror}): check its permissions and whether the disk is there."
        raise DataError(msg) from error
