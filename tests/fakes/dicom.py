"""Writes NIfTI images as DICOM series, whose names and places are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

NAME = "Müßiggang^Żółć"
PATIENT_ID = "MRN-4711"
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Changes the headers of a series: called with the header and the number of the slice.
Change = Callable[[Dataset, int], None]


def write_series(
    folder: str | Path,
    image: nib.Nifti1Image,
    *,
    description: str = "T2 FLAIR",
    number: int = 5,
    study: str = "study",
    enhanced: bool = False,
    reverse: bool = False,
    change: Change | None = None,
    file_name: str = "IM{:04d}",
) -> list[Path]:
    """Write the third axis of an image as slices, its first two as columns and rows.

    Args:
        folder: Where to; made if missing.
        image: Voxels of int16 or uint16.
        description: SeriesDescription.
        number: SeriesNumber.
        study: Text that the UIDs of study and frame of reference are made of.
        enhanced: One file of all frames.
        reverse: Files and instance numbers begin with the last slice.
        change: What else to change in each header; for `enhanced` in the item of each frame.
        file_name: Names of the files by instance number.

    Returns:
        The files by instance number.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.asarray(image.dataobj)
    affine = RAS_TO_LPS @ image.affine
    series_uid = generate_uid(entropy_srcs=[study, description, str(number)])
    count = voxels.shape[2]
    order = range(count)[::-1] if reverse else range(count)
    paths = []
    if enhanced:
        header = _header(study, description, number, series_uid, EnhancedMRImageStorage)
        header.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "NONE"]
        _pixels(header, voxels[:, :, list(order)].transpose(2, 1, 0))
        header.NumberOfFrames = count
        shared = Dataset()
        shared.PlaneOrientationSequence = Sequence([_place(affine, 0, "orientation")])
        shared.PixelMeasuresSequence = Sequence([_place(affine, 0, "measures")])
        header.SharedFunctionalGroupsSequence = Sequence([shared])
        items = []
        for index in order:
            item = Dataset()
            item.PlanePositionSequence = Sequence([_place(affine, index, "position")])
            if change is not None:
                change(item, index)
            items.append(item)
        header.PerFrameFunctionalGroupsSequence = Sequence(items)
        return [_save(header, folder / file_name.format(1))]
    for instance, index in enumerate(order, 1):
        header = _header(study, description, number, series_uid, MRImageStorage, instance)
        _pixels(header, voxels[:, :, index].T)
        for part in ("orientation", "measures", "position"):
            header.update(_place(affine, index, part))
        if change is not None:
            change(header, index)
        paths.append(_save(header, folder / file_name.format(instance)))
    return paths


def _header(study: str, description: str, number: int, series_uid: str, sop_class: str, instance: int = 1) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName, header.PatientID = NAME, PATIENT_ID
    header.PatientBirthDate, header.PatientSex = "19700101", "F"
    header.PatientComments = f"{NAME} was late"
    header.ReferringPhysicianName = "Doktor^Wer"
    header.StudyInstanceUID = generate_uid(entropy_srcs=[study])
    header.StudyID, header.StudyDate, header.StudyTime, header.AccessionNumber = "S1", "20240229", "101112", "A1"
    header.SeriesInstanceUID, header.SeriesNumber, header.SeriesDescription = series_uid, number, description
    header.Modality = "MR"
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
    header.PositionReferenceIndicator = ""
    header.SOPClassUID = sop_class
    header.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(instance)])
    header.InstanceNumber = instance
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    return header


def _pixels(header: Dataset, pixels: np.ndarray) -> None:
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = np.ascontiguousarray(pixels).tobytes()


def _place(affine: np.ndarray, index: int, part: str) -> Dataset:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    place = Dataset()
    if part == "position":
        place.ImagePositionPatient = _rounded(affine @ [0, 0, index, 1])[:3]
    elif part == "orientation":
        place.ImageOrientationPatient = _rounded((affine[:3, :2] / spacing[:2]).T.ravel())
    else:
        place.PixelSpacing = _rounded(spacing[[1, 0]])
        place.SliceThickness = _rounded(spacing[2:])[0]
    return place


def _rounded(values: Any) -> list[float]:
    # A decimal string of DICOM has 16 characters.
    return [float(f"{value:.9f}") for value in values]


def _save(header: Dataset, path: Path) -> Path:
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    FileDataset(str(path), header, file_meta=header.file_meta, preamble=bytes(128)).save_as(
        path, enforce_file_format=True
    )
    return path
