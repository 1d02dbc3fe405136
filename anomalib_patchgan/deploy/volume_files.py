"""Finds the volumes of a case, and writes maps onto the voxel grid that they came from."""

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from anomalib_patchgan.data.prepare.csv_files import check_id
from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti, read_bytes
from anomalib_patchgan.data.prepare.nifti_header import read_header
from anomalib_patchgan.data.prepare.reading import ReadLimits
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

_NIFTI = re.compile(r"\.nii(\.gz)?$")
# What is written here, and segmentations, are no images to look at.
_NO_IMAGE = re.compile(r"_(seg|mask|anomaly)$")


@dataclass(frozen=True, kw_only=True)
class VolumeCase:
    """The files of one case.

    Args:
        name: Name of the case, which its results take.
        paths: File of each modality, in the order of the model.
    """

    name: str
    paths: Mapping[str, Path]


def find_cases(source: Path, modalities: Sequence[str]) -> list[VolumeCase]:
    """Find the cases of a file or folder.

    Args:
        source: A NIfTI file; a case folder with `<case>_<modality>.nii.gz`, as in BraTS; or a folder of such files or
            case folders, at any depth.
        modalities: Modalities of the model.

    Returns:
        The cases by name. One that lacks a modality is among them, without it.

    Raises:
        DatasetNotFoundError: There is no such file or folder, or no volume in it.
        DataError: Two cases have one name.
        ConfigurationError: A single file was given for several modalities.

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
        return [VolumeCase(name=case_name(source, modalities), paths={modalities[0]: source})]
    if not source.is_dir():
        msg = f"{source} does not exist: give a NIfTI file or a folder of them as --input."
        raise DatasetNotFoundError(msg)
    files = [path for path in sorted(source.rglob("*.nii*")) if _NIFTI.search(path.name) and path.is_file()]
    files = [path for path in files if not _NO_IMAGE.search(_stem(path)) and not path.name.startswith(".")]
    named = {path: name for path in files for name in modalities if _stem(path).endswith(f"_{name}")}
    if not named and len(modalities) == 1:
        named = dict.fromkeys(files, modalities[0])
    cases: dict[str, dict[str, Path]] = {}
    for path, modality in named.items():
        known = cases.setdefault(case_name(path, modalities), {})
        if modality in known:
            msg = f"{known[modality]} and {path} are of cases of one name: rename one, or give their folders singly."
            raise DataError(msg)
        known[modality] = path
    if not cases:
        expected = " and ".join(f"<case>_{name}.nii.gz" for name in modalities)
        msg = f"{source} holds no {expected}: give a NIfTI file or a folder of them as --input."
        raise DatasetNotFoundError(msg)
    return [VolumeCase(name=name, paths=paths) for name, paths in sorted(cases.items())]


def case_name(path: Path, modalities: Sequence[str]) -> str:
    """Return the name of a file without its ending and its modality.

    Raises:
        DataError: It cannot be the name of a result.

    Example:
        >>> case_name(Path("x/BraTS19_2013_2_1_flair.nii.gz"), ("flair",))
        'BraTS19_2013_2_1'
    """
    stem = _stem(path)
    name = next((stem.removesuffix(f"_{one}") for one in modalities if stem.endswith(f"_{one}")), stem)
    check_id(name, path)
    return name


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
    """

    def __init__(self, header: nib.Nifti1Header) -> None:
        self.header = header
        self.affine = np.asarray(header.get_best_affine(), np.float64)

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
        # A place on the border of the grid may be rounded beyond it.
        return [int(index) for index in np.clip(np.rint(found[:3]), 0, np.subtract(self.shape[:3], 1))]

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
        # Without the time, so that equal maps are equal files.
        return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)


def _stem(path: Path) -> str:
    return _NIFTI.sub("", path.name)
