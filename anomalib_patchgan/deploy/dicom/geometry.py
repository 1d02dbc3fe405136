"""Checks that the images of a series are the slices of one volume, before a pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti import GRID_TOLERANCE
from anomalib_patchgan.deploy.dicom.frames import DIRECTION_TOLERANCE, Frame, list_frames, refusal
from anomalib_patchgan.deploy.dicom.series import Series, text_of
from anomalib_patchgan.files import ReadLimits

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
