"""Finds the volumes of a case, and writes maps onto the voxel grid that they came from."""

import gzip
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti
from anomalib_patchgan.data.prepare.nifti_header import affine_mm, read_header
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
from anomalib_patchgan.deploy.volume_case import VolumeCase
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, check_id, read_bytes

# Of a voxel, what rounding may move a place by.
_TIE = 1e-3
# Of the files that are left out, in a message.
_NAMED = 5

logger = logging.getLogger(__name__)


def find_cases(source: Path, modalities: Sequence[str]) -> list[VolumeCase]:
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
        >>> [case.name for case in find_cases(folder, ("flair",))]
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


def hash_inputs(case: VolumeCase, limits: ReadLimits) -> dict[str, str]:
    """Return the SHA-256 of each file of a case, by modality.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be read.
    """
    return {name: hashlib.sha256(read_bytes(path, limits)).hexdigest() for name, path in case.paths.items()}


class CaseContent(NamedTuple):
    """What was read of a case.

    Attributes:
        volumes: Volume of each modality by its file, in the order of the model.
        grid: Voxel grid of the first file.
        sha256: Hash of each file by modality.
    """

    volumes: dict[Path, Volume]
    grid: "Grid"
    sha256: dict[str, str]


def read_case(case: VolumeCase, modalities: Sequence[str], limits: ReadLimits) -> CaseContent:
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
    grid: Grid | None = None
    for modality in modalities:
        path = case.paths[modality]
        if not is_nifti(path.name):
            msg = f"{path} is no NIfTI file by its name: let it end in {' or '.join(SUFFIXES)}."
            raise DataError(msg)
        content = read_bytes(path, limits)
        sha256[modality] = hashlib.sha256(content).hexdigest()
        volume = parse_nifti(content, path, limits)
        if grid is None:
            grid = Grid(read_header(content, path, limits))
        else:
            first = next(iter(volumes))
            check_same_grid(volume, volumes[first], path, first)
        volumes[path] = volume
    assert grid is not None
    return CaseContent(volumes, grid, sha256)


class Grid:
    """The voxel grid of a file.

    Args:
        header: Its header, checked.

    Attributes:
        affine: `(4, 4)`, from the file's indices to millimetres right, anterior and superior, as the reader has it.
    """

    def __init__(self, header: nib.Nifti1Header) -> None:
        self.header = header
        self.affine = affine_mm(header)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the file."""
        return tuple(int(side) for side in self.header.get_data_shape())

    def turn(self, voxels: np.ndarray) -> np.ndarray:
        """Turn `(X, Y, Z)` voxels from the axes left, back and top to the axes of the file."""
        return apply_orientation(voxels, ornt_transform(axcodes2ornt(("L", "P", "S")), io_orientation(self.affine)))

    def voxel_at(self, world_mm: np.ndarray) -> list[int]:
        """Return the voxel, in indices of the file, at a place in millimetres right, anterior and superior."""
        found = np.linalg.inv(self.affine) @ np.append(world_mm, 1.0)
        # Of a place between two voxels the first one, however its millimetres were rounded; none beyond the border.
        nearest = np.ceil(found[:3] - 0.5 - _TIE)
        return [int(index) for index in np.clip(nearest, 0, np.subtract(self.shape[:3], 1))]

    def to_nifti(self, voxels: np.ndarray, description: str) -> bytes:
        """Make a gzipped NIfTI file with the grid, orientation and codes of this one.

        Args:
            voxels: `(X, Y, Z)` along the axes of the file: float32 in [0, 1], bool, or uint8, of which 255 is 1.
            description: At most 79 characters.
        """
        header = self.header.copy()
        mask = voxels.dtype == bool
        stored = voxels.astype(np.uint8) if mask else voxels
        header.set_data_dtype(stored.dtype)
        header["cal_min"], header["cal_max"], header["vox_offset"] = 0, 1, 0
        header["descrip"] = description.encode()[:79]
        kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = kind(stored.reshape(self.shape), None, header)
        image.header.set_slope_inter(1 / 255 if stored.dtype == np.uint8 and not mask else 1, 0)
        return compress(image.to_bytes())


def compress(content: bytes) -> bytes:
    """Compress a NIfTI file, without the time, so that equal volumes are equal files."""
    # Higher levels take longer for heat maps of nearly the same size.
    return gzip.compress(content, compresslevel=1, mtime=0)
