"""Files of a series: every encoding that archives use, and damaged ones, which are refused in one line."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

import gzip
import re
import struct
import tracemalloc

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
pytest.importorskip("highdicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy.dicom.files import read_headers
from anomalib_patchgan.errors import DataError, PatchGanError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits
from tests.deploy.dicom.series import case_of, voxels_of
from tests.fakes.dicom import write_series


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


def test_series_without_preamble(image, tmp_path):
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset()
        bare.update({element.tag: element for element in dataset})
        bare.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(np.asarray(voxels_of(case_of(tmp_path)).dataobj), np.asarray(image.dataobj))


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
