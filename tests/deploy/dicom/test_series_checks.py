"""What makes a series a volume is checked before its pixels are read, and said in one line."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
pytest.importorskip("highdicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy.dicom.studies import DicomOptions, find_dicom_cases
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits
from tests.deploy.dicom.series import SHAPE, case_of, each, voxels_of
from tests.fakes.dicom import write_series


def at(number, **values):
    """Set values of the image of one slice."""
    return lambda header, index: [setattr(header, key, value) for key, value in values.items() if index == number]


def shift(header, index, by=(0.0, 0.0, 0.0)):
    place = [float(one) for one in header.ImagePositionPatient]
    header.ImagePositionPatient = [one + index * step for one, step in zip(place, by, strict=True)]


def move(numbers, millimetres):
    def change(header, index):
        if index in numbers:
            shift(header, 1, (0, 0, millimetres))

    return change


REFUSED = {
    "tilt": (lambda header, index: shift(header, index, (0, 0.5, 0)), "tilted by 9.5 degrees"),
    "bent": (at(3, ImagePositionPatient=[-9, -9, -3]), "do not lie along one line"),
    "uneven": (move({5, 6, 7}, 0.5), "3.5 mm apart instead of 3 mm: resample it"),
    "gap": (move({5, 6, 7}, 6), "9 mm apart instead of 3 mm, 2 slices are missing"),
    "duplicate": (move({4}, -3), "8 images lie at 7 positions"),
    "one place": (lambda header, index: shift(header, index, (0, 0, -3)), "8 images lie at 1 positions"),
    "orientations": (at(2, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), "2 orientations"),
    "slightly turned": (
        at(2, ImageOrientationPatient=[np.cos(0.05), np.sin(0.05), 0, -np.sin(0.05), np.cos(0.05), 0]),
        "2 orientations",
    ),
    "spacings": (at(2, PixelSpacing=[1.5, 2.5]), "2 pixel spacings"),
    "frames of reference": (at(2, FrameOfReferenceUID="1.2.3"), "2 values of FrameOfReferenceUID"),
    "patients": (at(2, PatientID="another"), "2 values of PatientID"),
    "sizes": (at(2, Rows=9, PixelData=bytes(12 * 9 * 2)), "2 sizes (12x10, 12x9)"),
    "colour": (
        each(lambda header: header.update({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"})),
        "is a colour image (RGB)",
    ),
    "inverted": (
        each(lambda header: header.update({"PhotometricInterpretation": "MONOCHROME1"})),
        "inverted grey values (MONOCHROME1)",
    ),
    "mosaic": (at(0, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "is a mosaic"),
    "mosaic of many words": (
        at(0, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND", "NORM", "FIL", "MFSPLIT", "MOSAIC"]),
        "is a mosaic",
    ),
    "no place": (at(1, ImagePositionPatient=None), "image 2 ("),
    "no direction": (at(1, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "no valid ImageOrientationPatient"),
    "no spacing": (at(1, PixelSpacing=[0, 1]), "no valid PixelSpacing"),
    "endless": (at(1, ImagePositionPatient=[0, 1e9, 0]), "no valid ImagePositionPatient"),
    "no rows": (each(lambda header: header.update({"Rows": 0})), "dimensions 12x0x8"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_volume_is_refused(image, tmp_path, change, message):
    write_series(tmp_path, image, change=change)
    with pytest.raises(DataError) as caught:
        case_of(tmp_path)
    assert message in str(caught.value)
    assert str(caught.value).startswith('series 5 "T2 FLAIR" (MR, 8 images) cannot be used, ')
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", [1e-4, 1e-2])
def test_rounding_is_no_fault(image, tmp_path, scale):
    rng = np.random.default_rng(1)

    def round_off(header, _):
        header.ImagePositionPatient = [float(one) + rng.uniform(-scale, scale) for one in header.ImagePositionPatient]

    write_series(tmp_path, image, change=round_off)
    found = voxels_of(case_of(tmp_path))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(image.dataobj))
    assert np.abs(found.affine - image.affine).max() <= 2 * scale


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, "int16"), (2, 7, "int16"), (40, 5000, "uint16"), (0.25, 1.5, "float32")],
)
@pytest.mark.parametrize("enhanced", [False, True])
def test_values_are_rescaled(image, tmp_path, slope, intercept, dtype, enhanced):
    def rescale(header, index):
        values = pydicom.Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, intercept + index, "US"
        if enhanced:
            header.PixelValueTransformationSequence = pydicom.Sequence([values])
        else:
            header.update(values)

    write_series(tmp_path, image, change=rescale, enhanced=enhanced)
    found = voxels_of(case_of(tmp_path))
    expected = image.get_fdata() * slope + intercept + np.arange(SHAPE[2])
    np.testing.assert_allclose(np.asarray(found.dataobj), expected)
    assert found.get_data_dtype() == dtype


def test_unequal_pixels_keep_their_sides(image, tmp_path):
    write_series(tmp_path, image)
    found = voxels_of(case_of(tmp_path))
    np.testing.assert_allclose(found.affine, image.affine)
    assert found.header["sform_code"] == found.header["qform_code"] == 1
    assert found.header.get_xyzt_units()[0] == "mm"


def test_single_image_needs_its_folder(image, tmp_path):
    [path, *_] = write_series(tmp_path, image)
    with pytest.raises(DataError, match="one image is no volume: give the folder"):
        find_dicom_cases(path, ("flair",), DicomOptions(tmp_path / "out"))


def test_several_frames(image, tmp_path):
    [path] = write_series(tmp_path / "a", image, enhanced=True)
    assert find_dicom_cases(path, ("flair",), DicomOptions(tmp_path / "out"))[0].series["flair"].images == 8
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.ImagePositionPatient = [0, 0, 0]
    dataset.save_as(path)
    with pytest.raises(DataError, match="does not say where each lies"):
        case_of(tmp_path)


def test_limits(image, tmp_path):
    write_series(tmp_path, image)
    with pytest.raises(DataError, match="between 1 and 11"):
        case_of(tmp_path, limits=ReadLimits(max_dimension=11))
    with pytest.raises(DataError, match="max_bytes=100"):
        case_of(tmp_path, limits=ReadLimits(max_bytes=100))
