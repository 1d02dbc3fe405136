"""Writes the mask of a series as a DICOM Segmentation, which viewers lay over the series that it names."""

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.deploy.dicom.files import DicomFile, quiet_dicom
from anomalib_patchgan.deploy.dicom.series import Series, text_of
from anomalib_patchgan.deploy.dicom.stack import Stack
from anomalib_patchgan.errors import DataError, one_line
from anomalib_patchgan.version import __version__

if TYPE_CHECKING:
    from pydicom import Dataset

LABEL = "Anomaly"
MAX_SERIES_NUMBER = 2**31 - 1
# Must be there in every object of the study, if only empty; no name of a physician among them.
_REQUIRED = {
    "PatientName": None,
    "PatientID": None,
    "PatientBirthDate": re.compile(r"\d{8}"),
    "PatientSex": re.compile("[MFO]"),
    "StudyID": None,
    "AccessionNumber": None,
    "StudyDate": re.compile(r"\d{8}"),
    "StudyTime": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
}


def lacks_reference(series: Series) -> str:
    """Say what a series lacks that a segmentation of it needs; an empty text if nothing.

    Args:
        series: The series.
    """
    needed = ("FrameOfReferenceUID", "SOPClassUID")
    missing = [name for name in needed if any(not text_of(file, name) for file in series.files)]
    return f"its images have no {' and no '.join(missing)}" if missing else ""


def make_segmentation(
    series: Series, stack: Stack, mask: NDArray[np.bool_], model: Mapping[str, str], others: Sequence[Series] = ()
) -> bytes:
    """Make a Segmentation of one binary segment on the images of a series.

    Patient and study stand in it as in the series, without which no archive would file it there: PatientName,
    PatientID, PatientBirthDate, PatientSex, StudyInstanceUID, StudyID, StudyDate, StudyTime and AccessionNumber (Part 3
    of the standard, C.7.1.1 and C.7.2.1). Nothing else of the patient is copied.

    Args:
        series: The series.
        stack: Its images as slices.
        mask: `(X, Y, Z)` along the axes of the stack.
        model: Name and `sha256` of the model.
        others: Series of further modalities on the same grid.

    Returns:
        The file.

    Raises:
        DataError: It cannot be made, because the headers of the series are against the standard.
    """
    with quiet_dicom():
        try:
            return _make(series, stack, mask, model, others)
        # highdicom raises nearly anything for headers that are not what they should be.
        except Exception as error:
            msg = (
                f"series {series.describe()} has headers of which no DICOM segmentation can be made "
                f"({type(error).__name__}: {one_line(error)[:160]}): convert it to NIfTI and give that."
            )
            raise DataError(msg) from error


def _make(
    series: Series, stack: Stack, mask: NDArray[np.bool_], model: Mapping[str, str], others: Sequence[Series]
) -> bytes:
    from highdicom import UID, AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    frames = list(stack.frames)
    planes = mask.transpose(2, 1, 0).astype(np.uint8)
    if frames[0].index is not None:
        # Those of one file are taken in the order of the file.
        order = np.argsort([frame.index or 0 for frame in frames])
        sources, planes = [_source(frames[0].file)], planes[order]
    else:
        sources = [_source(frame.file) for frame in frames]
    algorithm = AlgorithmIdentificationSequence(
        name=model["name"],
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        source="anomalib-patchgan",
        parameters={"model_sha256": model["sha256"]},
    )
    number = int(series.number) if series.number.isdecimal() else 0
    segmentation = Segmentation(
        source_images=sources,
        pixel_array=planes,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            SegmentDescription(
                segment_number=1,
                segment_label=LABEL,
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Lesion,
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                display_color=CIELabColor.from_string("red"),
            )
        ],
        series_instance_uid=UID(),
        # Beside the series that it belongs to in lists that are ordered by number.
        series_number=min(100 * number + 1, MAX_SERIES_NUMBER),
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer="anomalib-patchgan",
        manufacturer_model_name=model["name"],
        software_versions=__version__,
        device_serial_number=model["sha256"][:16],
        content_label="ANOMALY_MASK",
        content_description="Voxels above the threshold",
        series_description=f"{model['name']} anomaly mask",
        further_source_images=[_source(file) for other in others for file in other.files] or None,
        # A name may be written in any alphabet, and this is the one character set that holds all.
        specific_character_set="ISO_IR 192",
    )
    buffer = BytesIO()
    segmentation.save_as(buffer)
    return buffer.getvalue()


def _source(file: DicomFile) -> "Dataset":
    """Return a header that holds what a segmentation needs, empty where the series has it not."""
    from pydicom import Dataset

    source = Dataset()
    source.update(file.header)
    source.file_meta = file.header.file_meta
    for keyword, form in _REQUIRED.items():
        value = source.get(keyword)
        if value is None or (form is not None and not form.fullmatch(str(value))):
            setattr(source, keyword, "")
    return source
