"""The images of a series as slices of one volume: checked before a pixel is read, and read into NIfTI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti import GRID_TOLERANCE
from anomalib_patchgan.deploy.dicom.files import load_file, quiet_dicom
from anomalib_patchgan.deploy.dicom.frames import DIRECTION_TOLERANCE, Frame, list_frames, refusal
from anomalib_patchgan.deploy.dicom.series import Series, text_of
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.files import ReadLimits

if TYPE_CHECKING:
    from pydicom import FileDataset

# Of the distance of slices: how far many small differences may add up.
_MAX_DRIFT = 0.25
# Of a pixel: a stack whose last slice is displaced by less against the first is straight.
_MAX_SHIFT = 0.5
_MIN_SLICES = 2
_BYTES = 4
# DICOM's axes run to the left, back and top, those of NIfTI to the right, front and top.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The images of a series as slices of a volume.

    Args:
        frames: The images in the order of the third axis.
        shape: Columns, rows and slices.
        affine: `(4, 4)`, from indices of column, row and slice to millimetres right, anterior and superior.
    """

    frames: Sequence[Frame]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]


def stack_series(series: Series, limits: ReadLimits) -> Stack:
    """Order the images of a series by their places.

    Args:
        series: The series.
        limits: `max_dimension` and `max_bytes` bound the volume.

    Returns:
        The stack; its third axis, the first two and the patient make a right-handed system.

    Raises:
        DataError: The images are no slices of one volume; one line says why and what to do.
    """
    frames = list_frames(series)
    if len(frames) < _MIN_SLICES:
        reason = "one image is no volume"
        raise refusal(series, reason, "give the folder that holds all images of the series")
    shape = _common_shape(series, limits)
    first = frames[0]
    _check_same(series, [frame.directions for frame in frames], DIRECTION_TOLERANCE, "orientations")
    _check_same(series, [frame.spacing for frame in frames], DIRECTION_TOLERANCE, "pixel spacings")
    for keyword in ("PatientID", "FrameOfReferenceUID"):
        count = len({text_of(file, keyword) for file in series.files})
        if count > 1:
            raise refusal(series, f"its images have {count} values of {keyword}", "choose another series")

    normal = np.cross(*first.directions)
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    frames = [frames[index] for index in order]
    _check_gaps(series, frames, heights[order])
    step = _check_straight(series, frames, normal)

    affine = np.eye(4)
    # PixelSpacing is that between rows first, and the next row lies down the column.
    affine[:3, 0] = first.directions[0] * first.spacing[1]
    affine[:3, 1] = first.directions[1] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = frames[0].position
    return Stack(frames=frames, shape=(*shape, len(frames)), affine=_LPS_TO_RAS @ affine)


def _common_shape(series: Series, limits: ReadLimits) -> tuple[int, int]:
    texts = {(text_of(file, "Columns"), text_of(file, "Rows")) for file in series.files}
    if len(texts) > 1:
        sizes = ", ".join(sorted("x".join(one) for one in texts)[:3])
        raise refusal(series, f"its images are of {len(texts)} sizes ({sizes})", "choose another series")
    columns, rows = (int(text) if text.isdecimal() else 0 for text in next(iter(texts)))
    size = (columns, rows, series.images)
    if not all(1 <= side <= limits.max_dimension for side in size):
        reason = f"its dimensions {'x'.join(map(str, size))} are not all between 1 and {limits.max_dimension}"
        raise refusal(series, reason, "choose another series")
    if np.prod(size, dtype=np.int64) * _BYTES > limits.max_bytes:
        reason = f"it needs more than max_bytes={limits.max_bytes}"
        raise refusal(series, reason, "raise the limit if you trust the series")
    return columns, rows


def _check_same(series: Series, values: Sequence[NDArray[np.float64]], tolerance: float, what: str) -> None:
    distances = [float(np.abs(value - values[0]).max()) for value in values]
    if max(distances) > tolerance * max(1.0, float(np.abs(values[0]).max())):
        count = len({tuple(np.round(value.ravel(), 2)) for value in values})
        reason = f"its images have {max(count, 2)} {what}"
        raise refusal(series, reason, "choose the series of one plane")


def _check_gaps(series: Series, frames: Sequence[Frame], heights: NDArray[np.float64]) -> None:
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    # Where most images lie at one place, the usual distance is none.
    distinct = gaps[gaps > max(GRID_TOLERANCE * usual, DIRECTION_TOLERANCE)]
    if len(distinct) < len(gaps):
        reason = f"its {len(frames)} images lie at {len(distinct) + 1} positions (times, echoes, b-values or copies)"
        raise refusal(series, reason, "export one image per position as a series of its own")
    off = np.abs(gaps - usual)
    worst = int(off.argmax())
    drift = np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max()
    if off[worst] <= GRID_TOLERANCE * usual and drift <= _MAX_DRIFT * usual:
        return
    missing = round(gaps[worst] / usual) - 1
    lacks = f", {missing} {'slice is' if missing == 1 else 'slices are'} missing" if missing > 0 else ""
    reason = (
        f"{frames[worst].name} and {frames[worst + 1].name} lie {gaps[worst]:.3g} mm apart instead of "
        f"{usual:.3g} mm{lacks}"
    )
    remedy = "export the whole series" if missing > 0 else "resample it to even slices, for example with dcm2niix"
    raise refusal(series, reason, remedy)


def _check_straight(series: Series, frames: Sequence[Frame], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the way from slice to slice, `(3,)`."""
    positions = np.array([frame.position for frame in frames])
    whole = positions[-1] - positions[0]
    limit = _MAX_SHIFT * float(frames[0].spacing.min())
    shares = np.linspace(0, 1, len(frames))[:, None]
    off = positions - positions[0] - shares * whole
    off -= (off @ normal)[:, None] * normal
    if np.linalg.norm(off, axis=1).max() > limit:
        raise refusal(series, "its images do not lie along one line", "choose another series")
    shift = whole - (whole @ normal) * normal
    if np.linalg.norm(shift) > limit:
        angle = np.degrees(np.arctan2(np.linalg.norm(shift), whole @ normal))
        reason = f"its slices are tilted by {angle:.1f} degrees against their axis (gantry tilt)"
        raise refusal(series, reason, "straighten it, for example with dcm2niix, and give the NIfTI file")
    return whole / (len(frames) - 1)


def read_voxels(series: Series, stack: Stack, limits: ReadLimits) -> NDArray[np.generic]:
    """Read the intensities of a series, rescaled by its slopes and intercepts.

    Args:
        series: The series.
        stack: Its images as slices.
        limits: Bounds of what is read from a file.

    Returns:
        `(X, Y, Z)` along the axes of the stack: int16 or uint16 where they hold every value, otherwise float32.

    Raises:
        DataError: A file has gone or changed, is damaged, or is larger than the limits.
    """
    columns, rows, depth = stack.shape
    voxels = np.empty((depth, rows, columns), np.float32)
    loaded: dict[str, FileDataset] = {}
    with quiet_dicom():
        for number, frame in enumerate(stack.frames):
            key = str(frame.file.path)
            if key not in loaded:
                # One file at a time; one of several frames stays for all of them.
                loaded = {key: _load(series, frame, limits)}
            voxels[number] = _read_frame(series, frame, loaded[key], (rows, columns))
    low, high = float(voxels.min()), float(voxels.max())
    whole = np.isfinite([low, high]).all() and all(bool((one == np.rint(one)).all()) for one in voxels)
    types = [kind for kind in (np.int16, np.uint16) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return voxels.astype(types[0] if whole and types else np.float32, copy=False).transpose(2, 1, 0)


def to_nifti(voxels: NDArray[np.generic], stack: Stack, description: str) -> bytes:
    """Make a NIfTI file of a series, not compressed.

    Args:
        voxels: `(X, Y, Z)` along the axes of the stack.
        stack: Where they lie.
        description: At most 79 characters.
    """
    image = nib.Nifti1Image(voxels, stack.affine)
    image.set_sform(stack.affine, code="scanner")
    image.set_qform(stack.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    return image.to_bytes()


def _load(series: Series, frame: Frame, limits: ReadLimits) -> "FileDataset":
    path = frame.file.path
    try:
        return load_file(path, limits)
    except PatchGanError as error:
        # Its first words, which may be a letter that others hold, too.
        said = str(error).replace(str(path), frame.name, 1)
        msg = f"series {series.describe()} cannot be used, {said}"
    # As below; the header alone could be read.
    except Exception as error:
        reason = f"{frame.name} cannot be read ({type(error).__name__}: {one_line(error)[:160]})"
        raise refusal(series, reason, "copy or export the series again") from error
    # Outside of `except`: an error that leads back to the first one would tell the name of the file, too.
    raise DataError(msg)


def _read_frame(series: Series, frame: Frame, dataset: "FileDataset", shape: tuple[int, int]) -> NDArray[np.float32]:
    from pydicom.pixels import apply_modality_lut, pixel_array  # type: ignore[attr-defined]

    if str(dataset.get("SOPInstanceUID")) != text_of(frame.file, "SOPInstanceUID"):
        raise refusal(series, f"{frame.name} was replaced while it was read", "start again")
    try:
        pixels = pixel_array(dataset, index=frame.index)
        values = np.asarray(apply_modality_lut(pixels, frame.values), np.float32)
    # Decoders raise nearly anything when a file is damaged.
    except Exception as error:
        reason = f"the pixels of {frame.name} cannot be read ({type(error).__name__}: {one_line(error)[:160]})"
        raise refusal(series, reason, "copy or export the series again") from error
    if values.shape != shape:
        reason = f"{frame.name} has {'x'.join(map(str, values.shape))} pixels, unlike its header"
        raise refusal(series, reason, "export it again")
    return values
