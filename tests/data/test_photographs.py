"""Decoding photographs and masks: what counts as lesion, and damage, bombs and doubtful masks refused."""

import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits

PATH, MASK = Path("ISIC_0000000.jpg"), Path("ISIC_0000000_Segmentation.png")
GREY = np.random.default_rng(0).integers(0, 255, (12, 10), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 255, (12, 10, 3), dtype=np.uint8)


def encoded(pixels, file_format="PNG", **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def mask(pixels, file_format="PNG", size=(10, 12), **options):
    return read_mask(encoded(pixels, file_format, **options), MASK, size, PATH)


def png_claiming(width, height):
    """A PNG file whose header claims a size and which holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG"])
def test_formats(file_format):
    image = read_photograph(encoded(COLOURS, file_format, lossless=True), PATH)
    assert image.mode == "RGB"
    assert file_format == "JPEG" or np.array_equal(image, COLOURS)
    assert image.size == (10, 12)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_modes_become_rgb(mode):
    image = Image.fromarray(COLOURS).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    content = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    assert np.array_equal(read_photograph(content, PATH), expected)


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(COLOURS, "JPEG", exif=exif, quality=95)
    assert Image.open(io.BytesIO(content)).getexif()[0x0112] == 6
    assert read_photograph(content, PATH).size == (10, 12)


@pytest.mark.parametrize("file_format", ["GIF", "PPM", "ICNS", "PDF"])
def test_other_formats_are_refused(file_format):
    with pytest.raises(DataError, match=r"cannot be read as an image \(UnidentifiedImageError\)"):
        read_photograph(encoded(COLOURS, file_format), PATH)


@pytest.mark.parametrize("pixels", [GREY.astype(np.uint16), GREY.astype(np.int32), GREY.astype(np.float32)])
def test_more_than_8_bits_are_refused(pixels):
    content = encoded(pixels, "TIFF")
    with pytest.raises(DataError, match="not 8-bit"):
        read_photograph(content, PATH)
    with pytest.raises(DataError, match="not 8-bit"):
        read_mask(content, MASK, (10, 12), PATH)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG"])
def test_truncated_and_empty_files(file_format):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    content = encoded(pixels, file_format)
    for size in (0, 1, 10, 30, len(content) // 2, len(content) - 100):
        with pytest.raises(DataError, match=f"{PATH} cannot be read as an image") as error:
            read_photograph(content[:size], PATH)
        assert "\n" not in str(error.value)


def test_the_number_of_pixels_is_bounded_by_the_limits():
    assert read_photograph(encoded(GREY), PATH, ReadLimits(max_pixels=120)).size == (10, 12)
    with pytest.raises(DataError, match="has 120 pixels, more than max_pixels=119"):
        read_photograph(encoded(GREY), PATH, ReadLimits(max_pixels=119))


@pytest.mark.parametrize(
    ("size", "limit", "message"),
    [
        ((10_000, 9_999), 100_000_000, "cannot be read"),
        ((10_001, 10_000), 100_000_000, "more than max_pixels"),
        ((2**31 - 1, 2**31 - 1), 100_000_000, "more pixels than PIL opens"),
        ((20_000, 20_000), 10**9, "more pixels than PIL opens"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_only_one_bound_applies_and_nothing_large_is_allocated(size, limit, message):
    before = Image.MAX_IMAGE_PIXELS
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read_photograph(png_claiming(*size), PATH, ReadLimits(max_pixels=limit))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_bitmap_between_the_bounds_of_pil_is_decoded():
    content = encoded(Image.new("1", (10_000, 9_500)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_mask(content, MASK, (10_000, 9_500), PATH).shape == (9_500, 10_000)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (0, 128), (100, 200), (254, 255)])
@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_of_two_values_the_larger_is_lesion(low, high, file_format):
    lesion = GREY > 128
    found = mask(np.where(lesion, np.uint8(high), np.uint8(low)), file_format, lossless=True)
    assert found.dtype == bool
    assert np.array_equal(found, lesion)


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (255, True)])
def test_a_single_value(value, expected):
    found = mask(np.full((12, 10), value, np.uint8))
    assert found.dtype == bool
    assert (found == expected).all()


def test_soft_edges_are_cut_at_half():
    pixels = np.tile(np.array([0, 60, 127, 128, 200, 255, 0, 0, 0, 0], np.uint8), (12, 1))
    assert np.array_equal(mask(pixels), pixels > 127)
    with pytest.raises(DataError, match=r"grey values 0, 60, 127 and more, none above 127"):
        mask(np.minimum(pixels, 127))


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA"])
def test_modes_of_a_mask(mode):
    lesion = GREY > 128
    grey = Image.fromarray(np.where(lesion, np.uint8(255), np.uint8(0)))
    assert np.array_equal(mask(grey.convert("RGB").convert(mode)), lesion)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colourful_masks_are_refused(mode):
    with pytest.raises(DataError, match="colourful or partly transparent"):
        mask(Image.fromarray(COLOURS).convert(mode))


def test_masks_that_are_partly_transparent_are_refused():
    grey = Image.fromarray(GREY)
    with pytest.raises(DataError, match="colourful or partly transparent"):
        mask(Image.merge("LA", (grey, grey)))
    with pytest.raises(DataError, match="colourful or partly transparent"):
        mask(grey.convert("P"), transparency=0)


def test_the_size_must_be_the_images():
    with pytest.raises(DataError, match=f"Mask {MASK} is 10x12 but its image {PATH} is 12x10"):
        mask(GREY, size=(12, 10))


def test_a_jpeg_mask_is_refused():
    with pytest.raises(DataError, match="is a JPEG"):
        mask(GREY, "JPEG")


def test_a_damaged_mask_is_named():
    with pytest.raises(DataError, match=f"{MASK} cannot be read as an image"):
        read_mask(encoded(GREY)[:60], MASK, (10, 12), PATH)
