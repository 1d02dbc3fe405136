"""What has arrived in a folder: its files, of which nothing is opened, and its NIfTI files as cases by their names."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from anomalib_patchgan.data.prepare.volume_names import is_nifti
from anomalib_patchgan.deploy.volume_files import VolumeCase, case_name, choose_files, name_some, read_name
from anomalib_patchgan.deploy.watch.status import STATUS
from anomalib_patchgan.errors import DataError, one_line
from anomalib_patchgan.files import short_hash

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
        >>> for name in ("a_flair.nii.gz", "IM1", ".a_t2.nii.gz.Xy12", "IM1.filepart"):
        ...     (folder / name).touch()
        >>> found = list_folder(folder)
        >>> len(found.files), len(found.unfinished)
        (2, 2)
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
                    kind = unfinished if _UNFINISHED.fullmatch(entry.name) else into
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


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The files of one case, as they were when the folder was listed.

    Args:
        name: Name of the case, or of the study, by which it is told.
        stamps: Stamp of each of its files.
        case: The case; `None` for a DICOM study, whose files have to be read for it.
        lacks: Why it has to wait for more; empty if it has all.
        problem: Why it cannot be used; empty if it may be.
    """

    name: str
    stamps: Mapping[str, Stamp]
    case: VolumeCase | None = None
    lacks: str = ""
    problem: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of the names, sizes and times of its files, which tells of no name."""
        digest = hashlib.sha256()
        for path, stamp in sorted(self.stamps.items()):
            digest.update(f"{path}\0{stamp.size}\0{stamp.mtime_ns}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


def find_nifti(
    root: Path, files: Mapping[str, Stamp], modalities: Sequence[str]
) -> tuple[list[Arrival], str, set[str]]:
    """Find the cases of NIfTI files as `find_volume_cases` does, but one that is in the way stops no other.

    Args:
        root: The folder.
        files: Its files.
        modalities: Modalities of the model.

    Returns:
        The cases, names of the images that the model does not take, and the folders that hold images, beside which
        DICOM files are left out.

    Example:
        >>> stamp = Stamp(1, 1)
        >>> files = {"in/a_flair.nii": stamp, "in/a_t1.nii": stamp}
        >>> found, others, folders = find_nifti(Path("in"), files, ("flair", "t2"))
        >>> [(arrival.name, arrival.lacks) for arrival in found], others, folders
        ([('a', 'lacks t2')], 'a_t1.nii', {'in'})
    """
    paths = [Path(name) for name in sorted(files) if is_nifti(name)]
    names = {path: name for path in paths if (name := read_name(path, root)) is not None}
    chosen = choose_files(names, modalities)
    groups: dict[str, list[Path]] = {}
    arrivals = []
    for path in chosen:
        try:
            groups.setdefault(case_name(path, modalities), []).append(path)
        except DataError as error:  # noqa: PERF203 - one bad name does not stop the others
            stamps = {str(path): files[str(path)]}
            arrivals.append(Arrival(name=f"file-{short_hash(str(path))}", stamps=stamps, problem=one_line(error)))
    for case, members in groups.items():
        stamps = {str(path): files[str(path)] for path in members}
        found = {chosen[path]: path for path in members}
        missing = [modality for modality in modalities if modality not in found]
        problem = ""
        if len(found) < len(members):
            problem = f"{name_some([str(path) for path in members])} are of cases of one name: rename one."
        elif f"{case}.json".casefold() == STATUS:
            problem = f"its result would be {STATUS}, where the watch says how it is: rename the case."
        lacks = f"lacks {' and '.join(missing)}" if missing and not problem else ""
        volume = VolumeCase(name=case, paths={name: found[name] for name in modalities if name in found})
        arrivals.append(Arrival(name=case, stamps=stamps, case=volume, lacks=lacks, problem=problem))
    images = [path for path, name in names.items() if name.is_image]
    others = [path.relative_to(root).as_posix() for path in images if path not in chosen]
    return arrivals, name_some(others), {parent_of(str(path)) for path in images}


def parent_of(path: str) -> str:
    """Return the folder of a file."""
    return path.rpartition("/")[0]
