"""What has arrived in a folder: its NIfTI files as cases, by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.volume_names import is_nifti
from anomalib_patchgan.deploy.volume_case import VolumeCase
from anomalib_patchgan.deploy.volume_files import case_name, choose_files, name_some, read_name
from anomalib_patchgan.deploy.watch.folder import Stamp, fingerprint
from anomalib_patchgan.deploy.watch.status import STATUS
from anomalib_patchgan.errors import DataError, one_line
from anomalib_patchgan.files import short_hash


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
        """Hash that changes with a file."""
        return fingerprint(self.stamps)


def find_nifti(root: Path, files: Mapping[str, Stamp], modalities: Sequence[str]) -> tuple[list[Arrival], str]:
    """Find the cases of NIfTI files as `find_cases` does, but one that is in the way stops no other.

    Args:
        root: The folder.
        files: Its files.
        modalities: Modalities of the model.

    Returns:
        The cases, and names of the images that the model does not take.

    Example:
        >>> stamp = Stamp(1, 1)
        >>> found, others = find_nifti(Path("in"), {"in/a_flair.nii": stamp, "in/a_t1.nii": stamp}, ("flair", "t2"))
        >>> [(arrival.name, arrival.lacks) for arrival in found], others
        ([('a', 'lacks t2')], 'a_t1.nii')
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
    others = [path.relative_to(root).as_posix() for path, name in names.items() if path not in chosen and name.is_image]
    return arrivals, name_some(others)


def image_folders(root: Path, files: Mapping[str, Stamp]) -> set[str]:
    """Return the folders that hold NIfTI images, beside which DICOM files are left out.

    Args:
        root: The folder.
        files: Its files.
    """
    names = ((path, read_name(Path(path), root)) for path in files if is_nifti(path))
    return {parent_of(path) for path, name in names if name is not None and name.is_image}


def parent_of(path: str) -> str:
    """Return the folder of a file."""
    return path.rpartition("/")[0]
