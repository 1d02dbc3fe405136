"""Cases of the series that a test has written, and their voxels."""

import nibabel as nib
import numpy as np

from anomalib_patchgan.deploy.dicom.case import DicomCase
from anomalib_patchgan.deploy.dicom.studies import DicomOptions, find_dicom_cases
from anomalib_patchgan.files import DEFAULT_LIMITS

SHAPE = (12, 10, 8)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -1.5, 0, 9], [0, 0, 3.0, -12], [0, 0, 0, 1]])


def case_of(folder, *series, modalities=("flair",), limits=DEFAULT_LIMITS, **options) -> DicomCase:
    [case] = find_dicom_cases(folder, modalities, DicomOptions(folder / "out", series, **options), limits)
    return case


def voxels_of(case, modality="flair"):
    case.write_images(DEFAULT_LIMITS)
    return nib.load(case.paths[modality])


def each(change):
    """Change every image."""
    return lambda header, _: change(header)
