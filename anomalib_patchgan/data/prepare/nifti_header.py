"""The header of a NIfTI file, believed only after every field that decides about memory or anatomy was checked."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits
from anomalib_patchgan.gzip_stream import ByteStream

# Far more than the notes that scanners and converters leave between header and voxels.
MAX_EXTENSIONS = 1 << 20
_HEADERS = {348: (Nifti1Header, slice(344, 348), b"n+1\0"), 540: (Nifti2Header, slice(4, 12), b"n+2\0\r\n\x1a\n")}
_PAIRS = (b"ni1", b"ni2")
# Codes of the integers of 8 to 64 bits, float32 and float64; not of complex numbers, colours and float128.
_REAL = frozenset({2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280})
# NIfTI codes of metre and micrometre; files that say nothing, or nonsense, are in millimetres.
_UNITS_MM = {1: 1e3, 3: 1e-3}
SPACING_MM = (1e-6, 1e3)
FARTHEST_MM = 1e6
# Determinant of the axes' directions: 1 for a box, 0.87 for a gantry tilted by 30 degrees, 0 for axes in one plane.
_MIN_DETERMINANT = 0.01

Orientation = Literal["given", "unknown", "identity"]


@dataclass(frozen=True, kw_only=True)
class NiftiLayout:
    """What a header says about the voxels.

    Args:
        shape: Voxels along the three axes.
        dtype: Type as stored, with its byte order.
        offset: Position of the first voxel, in bytes.
        affine: `(4, 4)`, from voxel indices to millimetres right, anterior and superior.
        scaling: Slope and intercept; `None` when values are meant as stored.
        orientation: `given`; `unknown`, when neither qform nor sform has a code; or `identity`, which programs write
            that have lost it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    affine: np.ndarray
    scaling: tuple[float, float] | None
    orientation: Orientation

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels as stored."""
        # Python's integers, because the product of damaged dimensions overflows NumPy's.
        return self.shape[0] * self.shape[1] * self.shape[2] * self.dtype.itemsize


def read_layout(stream: ByteStream, path: Path, limits: ReadLimits) -> tuple[NiftiLayout, int]:
    """Read and check a header; nothing is allocated for the voxels.

    Args:
        stream: The file from its beginning.
        path: File, for messages.
        limits: `max_dimension` and `max_bytes` bound the voxels.

    Returns:
        The layout, and the number of bytes read from the stream.

    Raises:
        DataError: It is no header of a single-file NIfTI-1 or NIfTI-2, or describes no three-dimensional volume of
            real numbers within the limits.

    Example:
        >>> header = Nifti1Header()
        >>> header["magic"], header["vox_offset"] = b"n+1", 352
        >>> header.set_data_shape((240, 240, 155))
        >>> header.set_data_dtype(np.int16)
        >>> layout, _ = read_layout(ByteStream(header.binaryblock, Path("x.nii")), Path("x.nii"), ReadLimits())
        >>> layout.shape, layout.voxel_bytes
        ((240, 240, 155), 17856000)
    """
    header, end = _read_header(stream, path)
    code = int(header["datatype"])
    if code not in _REAL:
        reason = f"its voxels are no real numbers of 8 to 64 bits (NIfTI datatype {code})"
        raise DataError(_unusable(path, reason, "convert them"))
    offset = float(header["vox_offset"])
    if not end <= offset <= end + MAX_EXTENSIONS or offset % 1:
        raise DataError(_unusable(path, f"it says that voxels begin at byte {offset:g}"))
    layout = NiftiLayout(
        shape=_check_shape([int(size) for size in header["dim"]], path, limits),
        dtype=header.get_data_dtype(),
        offset=int(offset),
        affine=_check_affine(header, path),
        scaling=_check_scaling(header, path),
        orientation=_orientation(header),
    )
    # Scaled values are kept as float32, which can be larger than what is stored.
    factor = 1 if layout.scaling is None else max(1, 4 / layout.dtype.itemsize)
    needed = layout.offset + int(layout.voxel_bytes * factor)
    if needed > limits.max_bytes:
        remedy = "raise the limit if you trust the file"
        raise DataError(_unusable(path, f"it needs {needed} bytes, more than max_bytes={limits.max_bytes}", remedy))
    return layout, end


def read_header(content: bytes, path: Path, limits: ReadLimits) -> Nifti1Header:
    """Read a header that was checked as by `read_layout`, to write another file on the same grid.

    Args:
        content: Stored bytes, gzipped or not.
        path: File, for messages.
        limits: See `read_layout`.

    Returns:
        The header; that of NIfTI-2 is a `nibabel.Nifti2Header`.

    Raises:
        DataError: See `read_layout`.
    """
    read_layout(ByteStream(content, path), path, limits)
    return _read_header(ByteStream(content, path), path)[0]


def affine_mm(header: Nifti1Header) -> np.ndarray:
    """Return the affine of a header `(4, 4)` in millimetres, whichever unit the header has.

    Example:
        >>> header = Nifti1Header()
        >>> header.set_sform(np.diag([0.003, 0.003, 0.003, 1]), code=1)
        >>> header.set_xyzt_units("meter")
        >>> affine_mm(header).diagonal().tolist()
        [3.0, 3.0, 3.0, 1.0]
    """
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    factor = _UNITS_MM.get(int(header["xyzt_units"]) & 7)
    if factor is not None:
        # To what a header holds, float32: the same place is the same number in any unit.
        affine[:3] = [[float(f"{value * factor:.7g}") for value in row] for row in affine[:3]]
    return affine


def _orientation(header: Nifti1Header) -> Orientation:
    if header["qform_code"] <= 0 and header["sform_code"] <= 0:
        return "unknown"
    return "identity" if np.array_equal(header.get_best_affine(), np.eye(4)) else "given"


def _read_header(stream: ByteStream, path: Path) -> tuple[Nifti1Header, int]:
    block = stream.read(348)
    sizes = struct.unpack("<i", block[:4]) + struct.unpack(">i", block[:4]) if len(block) == 348 else ()  # noqa: PLR2004
    size = next((size for size in sizes if size in _HEADERS), None)
    if size is None:
        msg = f"{path} is no NIfTI file: download or copy it again, or convert it to .nii.gz."
        raise DataError(msg)
    header_class, magic_slice, magic = _HEADERS[size]
    block += stream.read(size - len(block))
    if len(block) < size:
        raise DataError(_unusable(path, "it ends within its header"))
    found = block[magic_slice]
    if found.startswith(_PAIRS):
        msg = f"{path} is half of a .hdr/.img pair: convert it to a single .nii.gz file."
        raise DataError(msg)
    if found != magic:
        raise DataError(_unusable(path, f"its magic is {found!r} instead of {magic!r}"))
    header = header_class(block, endianness="<" if sizes[0] == size else ">", check=False)
    # The standard takes 0 for 1 here, nibabel does not.
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    return header, size


def _check_shape(dim: list[int], path: Path, limits: ReadLimits) -> tuple[int, int, int]:
    rank = dim[0]
    sizes = dim[1 : 1 + max(rank, 0)]
    if not 3 <= rank <= 7 or any(size != 1 for size in sizes[3:]):  # noqa: PLR2004
        reason = f"it is no single three-dimensional volume (rank and dimensions {dim})"
        raise DataError(_unusable(path, reason, "save one volume per file"))
    if not all(1 <= size <= limits.max_dimension for size in sizes[:3]):
        reason = f"its dimensions {sizes[:3]} are not all between 1 and max_dimension={limits.max_dimension}"
        raise DataError(_unusable(path, reason))
    return sizes[0], sizes[1], sizes[2]


def _check_affine(header: Nifti1Header, path: Path) -> np.ndarray:
    # Damaged fields overflow on the way; what comes of it is checked below.
    with np.errstate(all="ignore"):
        try:
            affine = affine_mm(header)
        except (HeaderDataError, ValueError) as error:
            raise DataError(_bad_affine(path, str(error))) from error
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not (np.abs(affine) <= FARTHEST_MM).all():
        raise DataError(_bad_affine(path, "values are not finite or beyond a kilometre"))
    if not ((spacing >= SPACING_MM[0]) & (spacing <= SPACING_MM[1])).all():
        raise DataError(_bad_affine(path, f"voxels measure {' x '.join(f'{side:g}' for side in spacing)} mm"))
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < _MIN_DETERMINANT:
        raise DataError(_bad_affine(path, "two axes of the volume point in one direction"))
    return affine


def _check_scaling(header: Nifti1Header, path: Path) -> tuple[float, float] | None:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope) or (slope, inter) == (1, 0):
        return None
    if not np.isfinite([slope, inter]).all():
        raise DataError(_unusable(path, f"its intensities are scaled by {slope:g} with offset {inter:g}"))
    return slope, inter


def _bad_affine(path: Path, reason: str) -> str:
    return _unusable(path, f"its orientation is not valid ({reason})", "repair qform and sform")


def _unusable(path: Path, reason: str, remedy: str = "download or copy it again") -> str:
    return f"{path} cannot be used, {reason}: {remedy}."
