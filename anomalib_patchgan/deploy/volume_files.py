"""Finds the volumes of cases by their names, and reads them."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nibabel as nib

from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti
from anomalib_patchgan.data.prepare.nifti_header import read_header
from anomalib_patchgan.data.prepare.volume_names import (
    ENDING,
    MODALITIES,
    SUFFIXES,
    VolumeName,
    canonical_modality,
    is_nifti,
    parse_name,
    words_for,
)
from anomalib_patchgan.data.prepare.volume_recipe import UNNAMED
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, check_id, read_bytes

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume_result import MapType, VolumeResult

# Of the files that are left out, in a message.
_NAMED = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VolumeCase:
    """The files of one case.

    Args:
        name: Name of the case, which its results take.
        paths: File of each modality, in the order of the model.
    """

    name: str
    paths: Mapping[str, Path]

    def describe(self) -> str:
        """Say what the files are made of; empty where they are the input itself."""
        return ""

    def write_images(self, limits: ReadLimits) -> None:
        """Write the files unless they are there, as those of NIfTI input are.

        Args:
            limits: Bounds of what is read to make them.

        Raises:
            PatchGanError: They cannot be made or written.
        """

    def is_complete(self, record: Mapping[str, Any], folder: Path, *, has_mask: bool) -> bool:
        """Tell whether a record names the files that results of this case have, and they are there.

        Args:
            record: What `<case>.json` holds.
            folder: Folder of the results.
            has_mask: Whether the model makes masks.
        """
        # Not the names that the record gives, which anybody may have written.
        outputs = output_names(self.name, has_mask=has_mask)
        return record.get("outputs") == outputs and all((folder / name).is_file() for name in outputs.values())

    def save(self, result: "VolumeResult", folder: Path, map_type: "MapType" = "float32") -> Path:
        """Write a result, see `VolumeResult.save`."""
        return result.save(folder, map_type)


def output_names(case: str, *, has_mask: bool = True) -> dict[str, str]:
    """Return the names of the files of a case by kind.

    Example:
        >>> output_names("a")
        {'anomaly': 'a_anomaly.nii.gz', 'mask': 'a_mask.nii.gz'}
    """
    return {kind: f"{case}_{kind}.nii.gz" for kind in ("anomaly", *(("mask",) if has_mask else ()))}


def find_volume_cases(source: Path, modalities: Sequence[str]) -> list[VolumeCase]:
    """Find the cases of a file or folder.

    Args:
        source: A NIfTI file; a case folder with `<case>_<modality>.nii.gz`, as in BraTS of any year; or a folder of
            such files or case folders, at any depth.
        modalities: Modalities of the model.

    Returns:
        The cases by name. One that lacks a modality is among them, without it. Other files are left out, which is said.

    Raises:
        DatasetNotFoundError: There is no such file or folder, or no file of these modalities in it.
        DataError: Two cases have one name.
        ConfigurationError: A single file was given for several modalities, or its name says that it is another one.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a_flair.nii.gz", "a_seg.nii.gz", "b_flair.nii"):
        ...     (folder / name).touch()
        >>> [case.name for case in find_volume_cases(folder, ("flair",))]
        ['a', 'b']
    """
    if source.is_file():
        if len(modalities) > 1:
            wanted = " ".join(f"{name}=FILE" for name in modalities)
            msg = f"the model takes {len(modalities)} modalities: give --input {wanted}, or the folder of a case."
            raise ConfigurationError(msg)
        _check_word(source, modalities[0])
        return [VolumeCase(name=case_name(source, modalities), paths={modalities[0]: source})]
    if not source.is_dir():
        msg = f"{source} does not exist: give a NIfTI file or a folder of them as --input."
        raise DatasetNotFoundError(msg)
    files = {path: name for path in sorted(source.rglob("*")) if (name := read_name(path, source)) and path.is_file()}
    named = choose_files(files, modalities)
    cases: dict[str, dict[str, Path]] = {}
    for path, modality in named.items():
        known = cases.setdefault(case_name(path, modalities), {})
        if modality in known:
            msg = f"{known[modality]} and {path} are of cases of one name: rename one, or give their folders singly."
            raise DataError(msg)
        known[modality] = path
    others = [path.relative_to(source).as_posix() for path in files if path not in named]
    listing = name_some(others)
    if not cases:
        expected = " and ".join(
            " or ".join(f"<case>_{word}.nii.gz" for word in words_for(modality)) for modality in modalities
        )
        found = f", only {listing}" if others else ""
        remedy = "rename the files, or give them as MODALITY=FILE" if others else "give another folder as --input"
        msg = f"{source} holds no {expected}{found}: {remedy}."
        raise DatasetNotFoundError(msg)
    if others:
        logger.warning("%s: left out, since the model takes %s: %s", source, " and ".join(modalities), listing)
    return [VolumeCase(name=name, paths=paths) for name, paths in sorted(cases.items())]


def choose_files(files: Mapping[Path, VolumeName], modalities: Sequence[str]) -> dict[Path, str]:
    """Return the modality of each file that a model takes, by what their names say.

    Args:
        files: What the name of each file says.
        modalities: Modalities of the model.
    """
    if tuple(modalities) == (UNNAMED,):
        # Of what the model takes, a name says nothing.
        return {path: UNNAMED for path, name in files.items() if name.is_image}
    return {path: name.word for path, name in files.items() if name.word in modalities}


def name_some(names: Sequence[str]) -> str:
    """Name the first of some files and how many more there are.

    Example:
        >>> name_some(list("abcdefg"))
        'a, b, c, d, e and 2 more'
    """
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def read_name(path: Path, folder: Path) -> VolumeName | None:
    """Read the name of a NIfTI file below a folder, but not of one that macOS or a program has hidden.

    Example:
        >>> read_name(Path("in/a/x_t2.nii"), Path("in")).word, read_name(Path("in/a/._x_t2.nii"), Path("in"))
        ('t2', None)
    """
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return None if hidden else parse_name(path.name)


def _check_word(path: Path, modality: str) -> None:
    """Refuse a single file whose name says that it is something else."""
    name = parse_name(path.name)
    if name is None or (modality == UNNAMED and name.is_image):
        return
    if not name.is_image or (name.word in MODALITIES and name.word != modality):
        what = f"a {name.word}" if name.word in MODALITIES else "no image but a segmentation or map"
        remedy = f"give that file, or {modality}=FILE if it is one"
        msg = f"{path} is {what} by its name, and the model takes {modality}: {remedy}."
        raise ConfigurationError(msg)


def case_name(path: Path, modalities: Sequence[str]) -> str:
    """Return the name of a file without its ending and its modality.

    Raises:
        DataError: It cannot be the name of a result.

    Example:
        >>> case_name(Path("x/BraTS19_2013_2_1_flair.nii.gz"), ("flair",))
        'BraTS19_2013_2_1'
    """
    name = parse_name(path.name)
    case = name.case if name and name.word in modalities else ENDING.sub("", path.name)
    check_id(case, path)
    return case


def one_of(modalities: Sequence[str], name: str) -> str:
    """Return the model's modality that a name means, in the words of any year; the name itself if it is none.

    Example:
        >>> one_of(("flair",), "t2f"), one_of(("image",), "pet")
        ('flair', 'pet')
    """
    return name if name in modalities else canonical_modality(name)


class CaseContent(NamedTuple):
    """What was read of a case.

    Attributes:
        volumes: Volume of each modality by its file, in the order of the model.
        header: Header of the first file, checked.
        sha256: Hash of each file by modality.
    """

    volumes: dict[Path, Volume]
    header: nib.Nifti1Header
    sha256: dict[str, str]


def load_volumes(case: VolumeCase, modalities: Sequence[str], limits: ReadLimits) -> CaseContent:
    """Read the volumes of a case.

    Args:
        case: The case.
        modalities: Modalities of the model, in their order.
        limits: Bounds of what is read.

    Raises:
        DatasetNotFoundError: A modality or file is missing.
        DataError: A file cannot be used, or the modalities lie on different grids.
    """
    missing = [name for name in modalities if name not in case.paths]
    if missing:
        msg = f"{case.name} has no {' and no '.join(missing)}, which the model needs: add the file, or leave it out."
        raise DatasetNotFoundError(msg)
    volumes: dict[Path, Volume] = {}
    sha256: dict[str, str] = {}
    headers: list[nib.Nifti1Header] = []
    for modality in modalities:
        path = case.paths[modality]
        if not is_nifti(path.name):
            msg = f"{path} is no NIfTI file by its name: let it end in {' or '.join(SUFFIXES)}."
            raise DataError(msg)
        content = read_bytes(path, limits)
        sha256[modality] = hashlib.sha256(content).hexdigest()
        headers = headers or [read_header(content, path, limits)]
        volumes[path] = parse_nifti(content, path, limits)
        first = next(iter(volumes))
        check_same_grid(volumes[path], volumes[first], path, first)
    return CaseContent(volumes, headers[0], sha256)
