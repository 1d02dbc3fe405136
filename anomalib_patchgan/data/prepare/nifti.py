"""Reading volumes from NIfTI files that may be damaged or malicious, turned to one anatomical orientation."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from anomalib_patchgan.data.prepare.nifti_header import NiftiLayout, Orientation, read_layout
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits
from anomalib_patchgan.gzip_stream import GZIP_MAGIC, MAX_RATIO, ByteStream

# What may follow the voxels, such as padding; a gzip bomb is stopped here.
MAX_SURPLUS = 1 << 20
# Of the smallest voxel side: far below what moves a label to the next voxel, and far above what rounding to float32
# and the way from a quaternion to a matrix do to positions 250 mm from the origin (about 0.003 mm).
GRID_TOLERANCE = 0.05
_AXIS_NAMES = ("the first", "the second", "the third")
_DIRECTIONS = {
    "L": "the patient's left",
    "R": "the patient's right",
    "A": "the front",
    "P": "the back",
    "S": "the top",
    "I": "the bottom",
}


@dataclass(frozen=True)
class Volume:
    """A volume whose axes run to the patient's left, back (posterior) and top (superior).

    Args:
        voxels: `(X, Y, Z)`, finite, read-only, in native byte order; the type as stored, or float32 where the file
            scales its values.
        affine: `(4, 4)` float64, from indices of `voxels` to millimetres right, anterior and superior.
        nonfinite: Number of NaN and infinite voxels that were replaced by 0.
        orientation: What the file says of it, see `NiftiLayout`.
        axes: Where the axes of the file run to, such as `LPS`.
    """

    voxels: np.ndarray
    affine: np.ndarray
    nonfinite: int
    orientation: Orientation = "given"
    axes: str = "LPS"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the three axes, in millimetres."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)).tolist()
        return x, y, z

    def remarks(self, name: str) -> list[str]:
        """Say what was taken for granted that the file does not say, one line each.

        Args:
            name: What to call the file.

        Example:
            >>> Volume(np.zeros((2, 3, 4)), np.eye(4), 2).remarks("a.nii")
            ['a.nii: 2 NaN or infinite voxels taken for background']
        """
        found = []
        if self.nonfinite:
            found.append(f"{name}: {self.nonfinite} NaN or infinite voxels taken for background")
        if self.orientation == "unknown":
            pairs = zip(_AXIS_NAMES, self.axes, strict=True)
            order = ", ".join(f"{one} to {_DIRECTIONS[axis]}" for one, axis in pairs)
            found.append(
                f"{name} does not say its orientation (the codes of qform and sform are 0), so its axes are taken to "
                f"run as is usual, {order}: check this, and set the sform of the file if it is otherwise"
            )
        return found


def parse_nifti(content: bytes, path: Path, limits: ReadLimits = DEFAULT_LIMITS, *, strict: bool = False) -> Volume:
    """Read a volume from the bytes of a NIfTI-1 or NIfTI-2 file.

    The header is checked before anything is decompressed or allocated for the voxels, and no more is decompressed
    than it announces.

    Args:
        content: Stored bytes, gzipped or not, which they say themselves.
        path: File, for messages only.
        limits: `max_dimension` bounds each axis, `max_bytes` the decompressed file and the scaled values.
        strict: NaN and infinite voxels are errors.

    Returns:
        The volume.

    Raises:
        DataError: The file is damaged, no single three-dimensional volume of real numbers, or beyond the limits.

    Example:
        >>> import nibabel as nib
        >>> image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 1, 3, 1]))
        >>> volume = parse_nifti(image.to_bytes(), Path("x.nii"))
        >>> volume.voxels.shape, volume.spacing_mm
        ((2, 3, 4), (1.0, 1.0, 3.0))
        >>> volume.voxels[:, 0, 0].tolist()  # the file's axes run to the right and to the front
        [20, 8]
    """
    stream = ByteStream(content, path)
    layout, position = read_layout(stream, path, limits)
    if content.startswith(GZIP_MAGIC):
        voxels = _decompress(stream, layout, position, path, len(content))
    elif len(content) < layout.offset + layout.voxel_bytes:
        raise DataError(_truncated(path, layout))
    else:
        voxels = np.frombuffer(content, layout.dtype, layout.voxel_bytes // layout.dtype.itemsize, layout.offset)
    voxels = voxels.reshape(layout.shape, order="F")
    if layout.scaling is not None:
        voxels = _scale(voxels, *layout.scaling)
    elif not layout.dtype.isnative:
        swapped = voxels.byteswap(inplace=voxels.flags.writeable)
        voxels = swapped.view(layout.dtype.newbyteorder("="))
    voxels, nonfinite = _replace_nonfinite(voxels, path, strict=strict)

    turn = ornt_transform(io_orientation(layout.affine), axcodes2ornt(("L", "P", "S")))
    voxels = apply_orientation(voxels, turn)
    voxels.flags.writeable = False
    affine = layout.affine @ inv_ornt_aff(turn, layout.shape)
    return Volume(voxels, affine, nonfinite, layout.orientation, "".join(aff2axcodes(layout.affine)))


def check_same_grid(volume: Volume, other: Volume, path: Path, other_path: Path) -> None:
    """Check that two volumes have the same voxels at the same places.

    Args:
        volume: A volume, such as an image.
        other: The other one, such as its segmentation.
        path: File of `volume`.
        other_path: File of `other`.

    Raises:
        DataError: Their shapes differ, or a corner is displaced by more than 5 % of the smallest voxel side. Where one
            of them has lost its orientation, the message says so.

    Example:
        >>> volume = Volume(np.zeros((2, 3, 4)), np.eye(4), 0)
        >>> check_same_grid(volume, volume, Path("a_flair.nii"), Path("a_seg.nii"))
    """
    if volume.voxels.shape != other.voxels.shape:
        reason = f"it has {_times(other.voxels.shape)} voxels instead of {_times(volume.voxels.shape)}"
    else:
        corners = np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in volume.voxels.shape))])
        moved = corners @ (volume.affine - other.affine)[:3].T
        distance = float(np.sqrt((moved**2).sum(axis=1)).max())
        if distance <= GRID_TOLERANCE * min(volume.spacing_mm):
            return
        reason = f"it lies up to {distance:.3g} mm away"
    remedy = "resample it to that grid"
    lost = next((at for one, at in ((other, other_path), (volume, path)) if one.orientation != "given"), None)
    if lost is not None and sorted(volume.voxels.shape) == sorted(other.voxels.shape):
        # It has the voxels, and nothing is to be computed.
        kept = path if lost == other_path else other_path
        remedy = f"the orientation of {lost} was lost when it was written, so copy affine and codes from {kept}"
    msg = f"{other_path} is not on the voxel grid of {path}, {reason}: {remedy}."
    raise DataError(msg)


def check_labels(volume: Volume, path: Path, allowed: Collection[int]) -> None:
    """Check that a segmentation holds known labels only.

    Args:
        volume: The segmentation, of any type.
        path: Its file.
        allowed: The labels.

    Raises:
        DataError: A voxel has another value.

    Example:
        >>> check_labels(Volume(np.full((2, 2, 2), 4.0), np.eye(4), 0), Path("a_seg.nii"), {0, 1, 2, 4})
    """
    # Most voxels are background, which is quickest to tell apart; np.unique would sort them all.
    voxels = volume.voxels.ravel(order="K")
    labelled = voxels[voxels != 0] if 0 in allowed else voxels
    unknown = ~np.isin(labelled, list(allowed))
    if unknown.any():
        values = np.unique(labelled[unknown])[:5].tolist()
        msg = (
            f"{path} holds labels that are not known, such as {', '.join(map(str, values))}: expected "
            f"{', '.join(map(str, sorted(allowed)))}, so use the original segmentation or relabel it."
        )
        raise DataError(msg)


def _decompress(stream: ByteStream, layout: NiftiLayout, position: int, path: Path, stored: int) -> np.ndarray:
    # Before the memory is taken that a few bytes may claim.
    if layout.offset + layout.voxel_bytes > stored * MAX_RATIO:
        raise DataError(_truncated(path, layout))
    stream.read(layout.offset - position)
    voxels = np.empty(layout.voxel_bytes // layout.dtype.itemsize, layout.dtype)
    if stream.read_into(voxels.view(np.uint8).data) < layout.voxel_bytes:
        raise DataError(_truncated(path, layout))
    if stream.skip(MAX_SURPLUS) > MAX_SURPLUS:
        msg = f"{path} goes on for more than 1 MiB after its last voxel: download or copy it again."
        raise DataError(msg)
    return voxels


def _scale(voxels: np.ndarray, slope: float, inter: float) -> np.ndarray:
    scaled = np.empty(voxels.shape, np.float32, order="F")
    # Slice by slice: float64 of everything would need eight times the memory of 8-bit voxels.
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(voxels.shape[2]):
            scaled[:, :, index] = voxels[:, :, index] * np.float64(slope) + inter
    return scaled


def _replace_nonfinite(voxels: np.ndarray, path: Path, *, strict: bool) -> tuple[np.ndarray, int]:
    if voxels.dtype.kind != "f":
        return voxels, 0
    finite = np.isfinite(voxels)
    nonfinite = voxels.size - int(np.count_nonzero(finite))
    if nonfinite and strict:
        msg = f"{path} has {nonfinite} NaN or infinite voxels: repair the file, or read it with strict=false."
        raise DataError(msg)
    if nonfinite:
        voxels = voxels if voxels.flags.writeable else voxels.copy(order="K")
        voxels[~finite] = 0
    return voxels, nonfinite


def _truncated(path: Path, layout: NiftiLayout) -> str:
    expected = layout.offset + layout.voxel_bytes
    return f"{path} ends before the {expected} bytes that its header announces: download or copy it again."


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
