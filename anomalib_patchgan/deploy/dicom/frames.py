"""Where each image of a series lies, and how its stored values become intensities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti_header import FARTHEST_MM, SPACING_MM
from anomalib_patchgan.deploy.dicom.files import REMEDY, DicomFile
from anomalib_patchgan.deploy.dicom.series import (
    Series,
    image_type,
    instance_number,
    number_of_frames,
    printable,
    text_of,
)
from anomalib_patchgan.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

# Of a unit vector: what rounding does to the directions of rows and columns, and far less than a turned image.
DIRECTION_TOLERANCE = 1e-3
# The longest name of a transfer syntax has under 90 characters.
_MAX_SYNTAX = 100
# Where a file of several frames holds what one of a single image has at its root.
_FUNCTIONAL_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One image.

    Args:
        file: Its file.
        index: Its number in this file from 0; `None` if the file holds a single image.
        position: Centre of the first pixel in DICOM's millimetres, left, posterior and superior, `(3,)`.
        directions: Unit vectors along rows (to the next column) and down columns (to the next row), `(2, 3)`.
        spacing: Millimetres between rows and between columns, `(2,)`.
        values: What holds the slope and intercept of the stored values, or a table of them.
    """

    file: DicomFile
    index: int | None
    position: NDArray[np.float64]
    directions: NDArray[np.float64]
    spacing: NDArray[np.float64]
    values: "Dataset"

    @property
    def name(self) -> str:
        """Name for messages, see `name_image`."""
        return name_image(self.file, self.index)


def name_image(file: DicomFile, index: int | None = None) -> str:
    """Name an image for messages by its number, since the name of the file may be that of a patient.

    Args:
        file: Its file.
        index: Its number in this file from 0; `None` if the file holds a single image.
    """
    if index is not None:
        return f"frame {index + 1}"
    return f"image {instance_number(file)} ({text_of(file, 'SOPInstanceUID')})"


def list_frames(series: Series) -> list[Frame]:
    """List the images of a series after checking what kind they are.

    Raises:
        DataError: They are colour images, cannot be decoded here, do not say where they lie, or are not one volume in a
            form that is read here.
    """
    for file in series.files:
        _check_kind(series, file)
    several = [file for file in series.files if number_of_frames(file) > 1]
    if several and len(series.files) > 1:
        reason = f"it holds {len(series.files)} files, {len(several)} of them of several frames"
        raise refusal(series, reason, "export each as a series of its own")
    if not several:
        return [_frame(series, file, None, [file.header]) for file in series.files]
    file = several[0]
    shared = _items(file.header, "SharedFunctionalGroupsSequence")[:1]
    own = _items(file.header, "PerFrameFunctionalGroupsSequence")
    if len(own) != number_of_frames(file):
        reason = f"its file of {number_of_frames(file)} frames does not say where each lies"
        raise refusal(series, reason, "export it as enhanced MR or CT, or as single images")
    return [_frame(series, file, index, [item, *shared]) for index, item in enumerate(own)]


def refusal(series: Series, reason: str, remedy: str) -> DataError:
    """Return the error that a series cannot be used."""
    return DataError(f"series {series.describe()} cannot be used, {reason}: {remedy}.")


def _check_kind(series: Series, file: DicomFile) -> None:
    from pydicom.pixels import get_decoder  # type: ignore[attr-defined]
    from pydicom.uid import UID

    name = name_image(file)
    colours = text_of(file, "PhotometricInterpretation")
    if text_of(file, "SamplesPerPixel") not in {"", "1"} or colours not in {"", "MONOCHROME2"}:
        what = "is shown with inverted grey values" if colours == "MONOCHROME1" else "is a colour image"
        raise refusal(series, f"{name} {what} ({colours or 'RGB'})", "choose the original grey images")
    if "MOSAIC" in image_type(file):
        reason = f"{name} is a mosaic of slices"
        raise refusal(series, reason, "convert it with dcm2niix and give the NIfTI file")
    syntax = UID(str(file.header.file_meta.get("TransferSyntaxUID", "")))
    try:
        decoder = get_decoder(syntax)
        lacks = "" if decoder.is_available else "no decoder is installed for it"
    except NotImplementedError:
        lacks = "which cannot be decoded"
    if lacks:
        remedy = f"{REMEDY}, or export it uncompressed"
        raise refusal(series, f"{name} is stored as {printable(syntax.name, _MAX_SYNTAX)}, {lacks}", remedy)


def _frame(series: Series, file: DicomFile, index: int | None, sources: Sequence["Dataset"]) -> Frame:
    place, orientation, measures, values = (
        sources[0] if index is None else _group(sources, name) for name in _FUNCTIONAL_GROUPS
    )
    position = _numbers(place, "ImagePositionPatient")
    axes = _numbers(orientation, "ImageOrientationPatient")
    spacing = _numbers(measures, "PixelSpacing")
    valid = {
        "ImagePositionPatient": position.shape == (3,) and (abs(position) <= FARTHEST_MM).all(),
        "ImageOrientationPatient": axes.shape == (6,) and _is_orthonormal(axes.reshape(2, 3)),
        "PixelSpacing": spacing.shape == (2,) and ((spacing >= SPACING_MM[0]) & (spacing <= SPACING_MM[1])).all(),
    }
    if wrong := [keyword for keyword, good in valid.items() if not good]:
        reason = f"{name_image(file, index)} has no valid {' and '.join(wrong)}"
        raise refusal(series, reason, "export the original images")
    directions = axes.reshape(2, 3)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return Frame(file=file, index=index, position=position, directions=directions, spacing=spacing, values=values)


def _group(sources: Sequence["Dataset"], keyword: str) -> "Dataset":
    """Return the item of a functional group, of the frame itself or else of all frames."""
    from pydicom import Dataset

    found = [items[0] for source in sources if (items := _items(source, keyword))]
    return found[0] if found else Dataset()


def _items(source: "Dataset", keyword: str) -> list["Dataset"]:
    from pydicom.sequence import Sequence as Items

    try:
        value = source.get(keyword)
    # Items are read when they are asked for, and those of a damaged file end in nearly every exception.
    except Exception:  # noqa: BLE001
        return []
    return list(value) if isinstance(value, Items) else []


def _numbers(source: "Dataset", keyword: str) -> NDArray[np.float64]:
    """Return the finite numbers of an entry; none for anything else."""
    try:
        value: Any = source.get(keyword)
        numbers = np.array(value, np.float64)
    # Whatever a damaged header holds instead.
    except Exception:  # noqa: BLE001
        return np.empty(0)
    return numbers if np.isfinite(numbers).all() else np.empty(0)


def _is_orthonormal(directions: NDArray[np.float64]) -> bool:
    return bool(np.abs(directions @ directions.T - np.eye(2)).max() < 10 * DIRECTION_TOLERANCE)
