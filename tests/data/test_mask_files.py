"""Lesion masks: read in one way only, the way that anomalib reads them, or refused."""

import io
import logging

import numpy as np
import pytest
from anomalib.data.utils import read_mask
from PIL import Image, ImageFilter

from anomalib_patchgan.data.mask_files import read_lesion
from anomalib_patchgan.data.prepared_table import make_prepared_table
from anomalib_patchgan.errors import DataError
from tests.fakes.prepared import write_prepared_folder

LESION = np.zeros((24, 32), np.uint8)
LESION[6:12, 8:18] = 1
PARTS = LESION.copy()
PARTS[8, 9:15] = 2
PARTS[10, 9:15] = 4
BLACK, WHITE, RED, DARK_BLUE = [0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 4]


def palette(*colours, index=LESION):
    image = Image.fromarray(index, "P")
    image.putpalette(np.ravel(colours).tolist())
    return image


def coloured(lesion, background=(0, 0, 0)):
    return Image.fromarray(np.where(LESION[..., None], lesion, background).astype(np.uint8))


def stacked(grey, alpha, mode):
    return Image.fromarray(np.dstack([grey] * (len(mode) - 1) + [alpha]).astype(np.uint8), mode)


def soft():
    return Image.fromarray(LESION * 255).filter(ImageFilter.GaussianBlur(1))


def from_jpeg():
    buffer = io.BytesIO()
    Image.fromarray(LESION * 255).save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


GOOD = {
    "ones": Image.fromarray(LESION),
    "full range": Image.fromarray(LESION * 255),
    "one bit": Image.fromarray(LESION * 255).convert("1"),
    "16 bits": Image.fromarray(LESION.astype(np.uint16) * 65535),
    "grey RGB": coloured(WHITE),
    "red": coloured(RED),
    "opaque": stacked(LESION * 255, LESION * 0 + 255, "RGBA"),
    "opaque grey": stacked(LESION * 255, LESION * 0 + 255, "LA"),
    "transparent where there is no lesion": stacked(LESION * 255, LESION * 255, "RGBA"),
    "palette": palette(BLACK, RED),
    "palette of parts": palette(BLACK, RED, [0, 90, 0], BLACK, [0, 0, 90], index=PARTS),
    "parts": Image.fromarray(PARTS),
    "numbered lesions": Image.fromarray(np.cumsum(LESION).reshape(24, 32).astype(np.uint8) * LESION),
    "bright parts": Image.fromarray((LESION * 128 + (PARTS > 1) * 127).astype(np.uint8)),
}
BAD = {
    "blue palette": (palette(BLACK, DARK_BLUE), "60 pixels are lesion by its palette's index, but 0 in the grey image"),
    "turned palette": (palette(WHITE, BLACK), "60 pixels are lesion by its palette's index, but 708 in"),
    "palette without black": (palette(WHITE, RED), "colourful: it has 2 colours"),
    "transparency only": (stacked(LESION * 0, LESION * 255, "RGBA"), "60 pixels are lesion by its transparency, but 0"),
    "grey transparency only": (stacked(LESION * 0, LESION * 255, "LA"), "60 pixels are lesion by its transparency"),
    "white, cut out": (stacked(LESION * 0 + 255, LESION * 255, "RGBA"), "by its transparency, but 768 in"),
    "dark blue": (coloured(DARK_BLUE), "60 pixels are lesion by its colours, but 0"),
    "red on white": (coloured(RED, WHITE), "colourful: it has 2 colours"),
    "three colours": (Image.fromarray(np.eye(3, dtype=np.uint8).repeat(8, 0)[:, None].repeat(8, 1) * 255), "colourful"),
    "soft edges": (soft(), r"has \d+ values between 0 and 25., such as soft edges"),
    "soft grey RGB": (soft().convert("RGB"), "soft edges"),
    "once a JPEG": (from_jpeg(), "soft edges or compression"),
    "soft transparency": (stacked(LESION * 255, np.asarray(soft()), "LA"), "soft edges"),
}
BAD_TIFF = {
    "negative": (Image.fromarray(-LESION.astype(np.int32)), "60 pixels are lesion by its values, but 0"),
    "floats": (Image.fromarray(LESION.astype(np.float32)), "floating-point"),
    "printing colours": (coloured(WHITE).convert("CMYK"), "PIL mode CMYK"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_lesion_is_what_anomalib_reads(tmp_path, name):
    GOOD[name].save(tmp_path / "mask.png")
    lesion = read_lesion(tmp_path / "mask.png")
    assert np.array_equal(lesion, np.asarray(GOOD[name].convert("L")) > 0)
    assert 50 < lesion.sum() <= LESION.sum()
    assert np.array_equal(lesion, read_mask(tmp_path / "mask.png", as_tensor=True).numpy() > 0)


@pytest.mark.parametrize("name", [*BAD, *BAD_TIFF])
def test_a_mask_that_could_be_read_otherwise_is_refused(tmp_path, name):
    image, match = {**BAD, **BAD_TIFF}[name]
    path = tmp_path / ("mask.tif" if name in BAD_TIFF else "mask.png")
    image.save(path)
    with pytest.raises(DataError, match=rf"^Mask {path}.*{match}.*PNG with 0 and 255") as caught:
        read_lesion(path)
    assert "\n" not in str(caught.value)


def test_pages_are_refused(tmp_path):
    image = GOOD["ones"]
    image.save(tmp_path / "mask.tif", save_all=True, append_images=[image])
    with pytest.raises(DataError, match="several pages"):
        read_lesion(tmp_path / "mask.tif")


def test_a_prepared_folder_refuses_such_a_mask_and_one_that_is_cut_off(tmp_path):
    root = write_prepared_folder(tmp_path, slices=1)
    path = root / "test/mask/T01_01.png"
    whole = path.read_bytes()
    palette(BLACK, DARK_BLUE, index=np.eye(64, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=rf"{path}: 64 pixels are lesion by its palette's index"):
        make_prepared_table(root)
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=rf"{path} cannot be read as an image .*intact copy"):
        make_prepared_table(root)


@pytest.mark.parametrize(("value", "what"), [(0, "no lesion at all"), (255, "lesion everywhere")])
def test_a_mask_that_is_hardly_meant_so_is_a_warning(tmp_path, caplog, value, what):
    root = write_prepared_folder(tmp_path, slices=1)
    with caplog.at_level(logging.WARNING):
        make_prepared_table(root)
    assert caplog.text == ""
    path = root / "test/mask/T01_01.png"
    Image.new("L", (64, 64), value).save(path)
    make_prepared_table(root)
    assert f"1 of 7 masks of lesion images are {what}, such as {path}" in caplog.text
