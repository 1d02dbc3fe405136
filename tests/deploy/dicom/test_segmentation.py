"""The DICOM Segmentation of a mask, where the headers of its series are odd."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

from io import BytesIO

import nibabel as nib
import numpy as np
import pytest

hd = pytest.importorskip("highdicom", reason="needs the extra dicom")
pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy.dicom.case import DicomCase
from anomalib_patchgan.deploy.dicom.segmentation import lacks_reference, make_segmentation
from anomalib_patchgan.deploy.dicom.studies import DicomOptions, find_dicom_cases
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import DEFAULT_LIMITS
from tests.fakes.dicom import write_series

SHAPE = (12, 10, 8)
MODEL = {"name": "PatchGan", "sha256": "ab" * 32}


def case_of(folder, **series) -> DicomCase:
    image = nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), np.diag([-2.0, -1.5, 3, 1]))
    write_series(folder, image, **series)
    return find_dicom_cases(folder, ("flair",), DicomOptions(folder / "out"))[0]


def segment(case, mask):
    content = make_segmentation(case.series["flair"], case.stacks["flair"], mask, MODEL)
    return hd.seg.segread(BytesIO(content))


def spot():
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 5, 3:6] = True
    return mask


def test_what_it_says(tmp_path):
    seg = segment(case_of(tmp_path), spot())
    assert seg.SegmentationType == "BINARY"
    assert seg.NumberOfFrames == 3
    [segment_one] = seg.SegmentSequence
    assert segment_one.SegmentLabel == "Anomaly"
    assert segment_one.SegmentAlgorithmType == "AUTOMATIC"
    assert segment_one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    [algorithm] = segment_one.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "PatchGan"
    assert MODEL["sha256"] in str(algorithm.AlgorithmParameters)
    assert seg.SeriesNumber == 501
    assert seg.SeriesDescription == "PatchGan anomaly mask"


@pytest.mark.parametrize("enhanced", [False, True])
def test_mask_without_a_voxel(tmp_path, enhanced):
    seg = segment(case_of(tmp_path, enhanced=enhanced), np.zeros(SHAPE, bool))
    assert not seg.pixel_array.any()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Жданов^Щукин"),
        ("ISO_IR 100", "Buc^Jérôme"),
        # Said by nobody, as many exports do it.
        (None, "Müller^Hans"),
    ],
)
def test_names_of_any_alphabet(tmp_path, charset, name):
    def rename(header, _):
        header.SpecificCharacterSet, header.PatientName = charset or "ISO_IR 100", name
        # Of another alphabet.
        del header.PatientComments

    case = case_of(tmp_path, change=rename)
    if charset is None:
        for file in case.series["flair"].files:
            content = file.path.read_bytes()
            dataset = pydicom.dcmread(BytesIO(content))
            del dataset.SpecificCharacterSet
            dataset.save_as(file.path)
        [case] = find_dicom_cases(tmp_path, ("flair",), DicomOptions(tmp_path / "out"))
    seg = segment(case, spot())
    assert str(seg.PatientName) == name


def test_odd_values_are_left_empty(tmp_path):
    def spoil(header, _):
        header.PatientSex, header.PatientBirthDate, header.StudyTime = "U", "1970", "noon"
        del header.StudyID
        del header.AccessionNumber

    with pydicom.config.disable_value_validation():
        case = case_of(tmp_path, change=spoil)
    seg = segment(case, spot())
    assert not any([seg.PatientSex, seg.PatientBirthDate, seg.StudyTime, seg.StudyID, seg.AccessionNumber])
    assert seg.StudyDate == "20240229"


def test_series_that_no_segmentation_can_name(tmp_path):
    def strip(header, _):
        del header.FrameOfReferenceUID

    case = case_of(tmp_path, change=strip)
    assert lacks_reference(case.series["flair"]) == "its images have no FrameOfReferenceUID"
    assert case.record(has_mask=True)["segmentation"] is None
    # Its voxels are read all the same.
    case.write_images(DEFAULT_LIMITS)
    assert nib.load(case.paths["flair"]).shape == SHAPE


def test_headers_against_the_standard_are_one_line(tmp_path):
    case = case_of(tmp_path, change=lambda header, _: setattr(header, "SOPClassUID", "1.2.3"))
    with pytest.raises(DataError, match='series 5 "T2 FLAIR" .* no DICOM segmentation can be made') as caught:
        segment(case, spot())
    assert len(str(caught.value).splitlines()) == 1
