"""What makes a series a volume is checked before its pixels are read, and said in one line."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

import gzip
import re
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
pytest.importorskip("highdicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy.dicom import studies
from anomalib_patchgan.deploy.dicom.case import DicomCase
from anomalib_patchgan.deploy.dicom.files import read_headers
from anomalib_patchgan.deploy.dicom.studies import DicomOptions, dicom_case_of, find_dicom_cases
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits
from tests.fakes.dicom import write_series

SHAPE = (12, 10, 8)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -1.5, 0, 9], [0, 0, 3.0, -12], [0, 0, 0, 1]])


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return nib.Nifti1Image(rng.integers(-100, 1000, SHAPE).astype(np.int16), AFFINE)


def case_of(folder, *series, modalities=("flair",), limits=DEFAULT_LIMITS, **options) -> DicomCase:
    [case] = find_dicom_cases(folder, modalities, DicomOptions(folder / "out", series, **options), limits)
    return case


def voxels_of(case, modality="flair"):
    case.write_images(DEFAULT_LIMITS)
    return nib.load(case.paths[modality])


def each(change):
    """Change every image."""
    return lambda header, _: change(header)


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


def test_volume_is_written_again_only_if_it_is_another(image, tmp_path):
    write_series(tmp_path, image)
    case = case_of(tmp_path)
    path = case.paths["flair"]
    voxels_of(case)
    first = path.read_bytes()
    # As another version of zlib may compress it.
    whole = gzip.decompress(first)
    path.write_bytes(other := gzip.compress(whole, 9, mtime=1))
    voxels_of(case)
    assert path.read_bytes() == other != first
    for content in (b"", whole, first[:-9], gzip.compress(whole[:-1]), gzip.compress(whole + b"0"), bytes(100)):
        path.write_bytes(content)
        voxels_of(case)
        assert path.read_bytes() == first


def recode(path, syntax):
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)


@pytest.mark.parametrize("name", ["RLELossless", "JPEGLSLossless"])
def test_compressed_series(image, tmp_path, name):
    for path in write_series(tmp_path, image):
        recode(path, getattr(pydicom.uid, name))
    np.testing.assert_array_equal(np.asarray(voxels_of(case_of(tmp_path)).dataobj), np.asarray(image.dataobj))


@pytest.mark.parametrize("process", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_series_in_what_archives_compress_with(image, tmp_path, process):
    gdcm = pytest.importorskip("gdcm", reason="needs the extra dicom")
    paths = write_series(tmp_path, image)
    for path in paths:
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, process)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(np.asarray(voxels_of(case_of(tmp_path)).dataobj), np.asarray(image.dataobj))


@pytest.mark.parametrize("name", ["MPEG2MPML", "HTJ2KLossless", "DeflatedExplicitVRLittleEndian"])
def test_encoding_that_cannot_be_decoded(image, tmp_path, name):
    syntax = getattr(pydicom.uid, name)
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        if name != "DeflatedExplicitVRLittleEndian":
            dataset.PixelData = pydicom.encaps.encapsulate([bytes(8)])
        dataset.save_as(path)
    with pytest.raises(DataError) as caught:
        case_of(tmp_path)
    expected = "8 DICOM files are damaged or deflated" if "Deflated" in name else f"is stored as {syntax.name}"
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["RLELossless", "JPEGLossless", "JPEGLosslessSV1", "JPEG2000Lossless"])
def test_decoder_that_is_not_installed(image, tmp_path, monkeypatch, name):
    from pydicom.pixels.decoders import base

    syntax = getattr(pydicom.uid, name)
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pydicom.encaps.encapsulate([bytes(8)])
        dataset.save_as(path)
    monkeypatch.setattr(base.Decoder, "is_available", False)
    expected = f"image 1 .* is stored as {re.escape(syntax.name)}, no decoder is installed for it: pip install "
    with pytest.raises(DataError, match=expected):
        case_of(tmp_path)


def test_a_length_beyond_the_file_takes_no_memory(image, tmp_path):
    first, *_ = write_series(tmp_path, image)
    content = first.read_bytes()
    place = content.index(b"OB", 132) + 4  # version of the file's own group
    first.write_bytes(content[:place] + (2**31 - 2).to_bytes(4, "little") + content[place + 4 :])
    tracemalloc.start()
    try:
        read_headers(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_an_item_that_ends_too_early(image, tmp_path):
    [path] = write_series(tmp_path, image, enhanced=True)
    content = path.read_bytes()
    # The first sequence of the first frame, which is read when it is asked for: its only element ends in its header.
    start = content.index(b"SQ", content.index(b"\x00\x52\x30\x92SQ") + 8) + 4
    length = int.from_bytes(content[start : start + 4], "little")
    short = struct.pack("<I2HI2H2s2x", 16, 0xFFFE, 0xE000, 8, 0x20, 0x32, b"UN")
    filler = struct.pack("<2H2sH", 0x29, 0x10, b"LO", length - 24) + b" " * (length - 24)
    path.write_bytes(content[:start] + short + filler + content[start + 4 + length :])
    with pytest.raises(DataError, match="frame 1 has no valid ImagePositionPatient"):
        case_of(tmp_path)


def test_copies_and_other_objects_are_no_images(image, tmp_path):
    paths = write_series(tmp_path / "a", image, file_name="{}.IMA")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy").write_bytes(paths[2].read_bytes())
    write_series(
        tmp_path / "c", image, number=6, description="mask", change=each(lambda one: setattr(one, "Modality", "SEG"))
    )
    (tmp_path / "report.txt").write_text("FLAIR")
    assert case_of(tmp_path).series["flair"].images == 8


def test_localizer_is_not_meant(image, tmp_path):
    localizer = each(lambda header: setattr(header, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    write_series(tmp_path, image, number=1, description="scout", change=localizer, file_name="l{}")
    write_series(tmp_path, image)
    assert case_of(tmp_path).series["flair"].description == "T2 FLAIR"


def test_series_without_preamble(image, tmp_path):
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset()
        bare.update({element.tag: element for element in dataset})
        bare.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(np.asarray(voxels_of(case_of(tmp_path)).dataobj), np.asarray(image.dataobj))


def test_series_of_one_name_are_told_apart_by_uid(image, tmp_path):
    first = write_series(tmp_path, image, number=3, file_name="a{}")
    write_series(tmp_path, image, number=4, file_name="b{}")
    uid = pydicom.dcmread(first[0]).SeriesInstanceUID
    with pytest.raises(ConfigurationError, match=uid):
        case_of(tmp_path, "T2 FLAIR")
    assert case_of(tmp_path, uid).series["flair"].number == "3"


def test_one_series_per_modality(image, tmp_path):
    modalities = ("flair", "t1ce", "t2")
    for number, name in enumerate(("FLAIR", "T1 post", "T2"), 1):
        write_series(tmp_path, image, number=number, description=name, file_name=f"{number}-{{}}")
    with pytest.raises(ConfigurationError, match="--series flair=SERIES t1ce=SERIES t2=SERIES; study-"):
        case_of(tmp_path, modalities=modalities)
    with pytest.raises(ConfigurationError, match="--series needs flair=SERIES"):
        case_of(tmp_path, "FLAIR", modalities=modalities)
    with pytest.raises(ConfigurationError, match="one series for several"):
        case_of(tmp_path, "t2=T2", "flair=FLAIR", "t1ce=T2", modalities=modalities)
    case = case_of(tmp_path, "t2=T2", "flair=FLAIR", "t1ce=T1 post", modalities=modalities)
    assert [series.number for series in case.series.values()] == ["1", "2", "3"]
    assert list(case.paths) == list(modalities)


def test_one_folder_per_modality(image, tmp_path):
    for number, name in enumerate(("FLAIR", "T2"), 1):
        write_series(tmp_path / name, image, number=number, description=name)
    write_series(tmp_path / "other", image, study="other")
    options = DicomOptions(tmp_path / "out")
    case = dicom_case_of({"flair": tmp_path / "FLAIR", "t2": tmp_path / "T2"}, options)
    assert {name: one.description for name, one in case.series.items()} == {"flair": "FLAIR", "t2": "T2"}
    with pytest.raises(ConfigurationError, match="2 studies"):
        dicom_case_of({"flair": tmp_path / "FLAIR", "t2": tmp_path / "other"}, options)


def test_one_folder_of_several_modalities_is_read_once(image, tmp_path, monkeypatch):
    for number, name in enumerate(("FLAIR", "T2"), 1):
        write_series(tmp_path, image, number=number, description=name, file_name=f"{number}-{{}}")
    read = []
    monkeypatch.setattr(studies, "read_headers", lambda *args, **more: read.append(args) or read_headers(*args, **more))
    folders = {"flair": tmp_path, "t2": tmp_path}
    case = dicom_case_of(folders, DicomOptions(tmp_path / "out", ("t2f=FLAIR", "t2=T2")))
    assert {name: one.description for name, one in case.series.items()} == {"flair": "FLAIR", "t2": "T2"}
    assert len(read) == 1
    with pytest.raises(ConfigurationError, match="name a series of each with --series flair=SERIES t2=SERIES"):
        dicom_case_of(folders, DicomOptions(tmp_path / "out"))


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


@pytest.mark.parametrize(
    ("limits", "message"),
    [(DEFAULT_LIMITS, "does not exist: check the path"), (ReadLimits(max_bytes=1000), "more than max_bytes=1000")],
)
def test_file_that_cannot_be_loaded_is_named_by_its_number(image, tmp_path, limits, message):
    paths = write_series(tmp_path / "Meier", image, file_name="Meier_{}")
    case = case_of(tmp_path)
    if limits == DEFAULT_LIMITS:
        paths[0].unlink()
    with pytest.raises(DataError) as caught:
        case.write_images(limits)
    assert message in str(caught.value)
    assert str(caught.value).startswith('series 5 "T2 FLAIR" (MR, 8 images) cannot be used, image 1 (')
    assert "Meier" not in str(caught.value)
    assert caught.value.__context__ is None


def test_file_that_is_cut_off_after_its_header_was_read(image, tmp_path):
    [path, *_] = write_series(tmp_path, image)
    case = case_of(tmp_path)
    content = path.read_bytes()
    pixels = content.index(b"\xe0\x7f\x10\x00")
    for length in range(pixels - 8, pixels + 16):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match='series 5 "T2 FLAIR" .* cannot be used, .*image 1 ') as caught:
            case.write_images(DEFAULT_LIMITS)
        assert len(str(caught.value).splitlines()) == 1


def test_folder_of_reports(image, tmp_path):
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        del dataset.Rows, dataset.PixelData
        dataset.save_as(path)
    with pytest.raises(DatasetNotFoundError, match="holds DICOM files, but no image"):
        case_of(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_never_end_in_a_traceback(image, tmp_path, seed):
    """Random bytes anywhere in the header: read, or refused as everything else."""
    rng = np.random.default_rng(seed)
    paths = write_series(tmp_path, image)
    originals = [path.read_bytes() for path in paths]
    messages = []
    for _ in range(15):
        for path, original in zip(paths, originals, strict=True):
            content = bytearray(original)
            for place in rng.integers(132, len(content) - 240, rng.integers(0, 4)):
                content[place] = rng.integers(0, 256)
            path.write_bytes(content)
        try:
            voxels_of(case_of(tmp_path))
        except PatchGanError as error:
            messages.append(str(error))
    assert all(len(message.splitlines()) == 1 for message in messages)
