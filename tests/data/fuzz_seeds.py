"""Small valid files of every kind that is read from outside, made in memory."""

import io
from functools import cache

import nibabel as nib
import numpy as np
from PIL import Image, PngImagePlugin

SHAPE = (6, 5, 4)
SIZE = (24, 20)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@cache
def niftis() -> tuple[bytes, ...]:
    """NIfTI-1 and NIfTI-2 of several types and both byte orders, not compressed; the last four are segmentations."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 300, SHAPE)
    labels = rng.choice([0, 1, 2, 4], SHAPE)
    contents = []
    for voxels, kinds in ((images, ("<i2", ">i2", "<f4", ">f8")), (labels, ("<u1", "<u1", ">i2", "<f4"))):
        for number, kind in enumerate(kinds):
            image_class = nib.Nifti2Image if number == 1 else nib.Nifti1Image
            header = image_class.header_class(endianness=kind[0])
            header.set_data_dtype(kind)
            contents.append(image_class(voxels.astype(kind), AFFINE, header).to_bytes())
    with_extension = nib.Nifti1Image(images.astype(np.int16), AFFINE)
    with_extension.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"comment"))
    with_extension.header.set_slope_inter(2, -1)
    return (with_extension.to_bytes(), *contents)


@cache
def scans() -> tuple[tuple[bytes, bytes], ...]:
    """Images of a skull-stripped block with their masks, not compressed."""
    rng = np.random.default_rng(3)
    pairs = []
    for kind in ("<i2", ">i2", "<f4", "<f8"):
        images, lesion = np.zeros((40, 40, 4)), np.zeros((40, 40, 4), np.uint8)
        images[4:36, 4:36] = rng.normal(300, 40, (32, 32, 4))
        lesion[10:20, 10:20, 1] = 1
        header = nib.Nifti1Header(endianness=kind[0])
        header.set_data_dtype(kind)
        pairs.append((nib.Nifti1Image(images.astype(kind), AFFINE, header), nib.Nifti1Image(lesion, AFFINE)))
    return tuple((image.to_bytes(), mask.to_bytes()) for image, mask in pairs)


@cache
def participants() -> tuple[bytes, ...]:
    """Tables of participants as users and BIDS write them."""
    return (
        b"participant_id,group,split\na,normal,train\nb,abnormal,test\n",
        b"participant_id\tage\tgroup\r\nsub-a\t43\tHC\r\nsub-b\tn/a\tn/a\r\n",
        b'\xef\xbb\xbf"participant_id";"split"\n"a";"val"\n"b";""\n',
    )


@cache
def photographs() -> tuple[bytes, ...]:
    """JPEG, PNG, BMP, TIFF and WebP in several variants."""
    rng = np.random.default_rng(1)
    colours = Image.fromarray(rng.integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 200, zip=True)
    text.add_itxt("Title", "y", "en", "z", zip=True)
    more = {"save_all": True, "append_images": [colours.rotate(90)]}
    return (
        _encode(colours, "JPEG", exif=exif),
        _encode(colours, "JPEG", progressive=True, icc_profile=b"x" * 200),
        _encode(colours.convert("CMYK"), "JPEG"),
        _encode(colours, "MPO", **more),
        _encode(colours, "PNG", pnginfo=text, exif=exif, icc_profile=b"x" * 200),
        _encode(colours, "PNG", **more),
        _encode(colours.convert("P"), "PNG", transparency=0),
        _encode(colours, "BMP"),
        _encode(colours.convert("P"), "BMP"),
        *(_encode(colours, "TIFF", compression=name) for name in ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate")),
        _encode(colours, "WEBP", lossless=True, exif=exif),
        _encode(colours, "WEBP", **more),
    )


@cache
def masks() -> tuple[bytes, ...]:
    """Lesion masks in several modes and formats."""
    lesion = Image.fromarray(np.where(np.random.default_rng(2).random(SIZE[::-1]) < 0.3, 255, 0).astype(np.uint8))
    return (
        *(_encode(lesion.convert("RGB").convert(mode), "PNG") for mode in ("1", "L", "P", "LA", "RGB", "RGBA")),
        _encode(lesion, "BMP"),
        _encode(lesion, "WEBP", lossless=True),
        *(_encode(lesion.convert("1"), "TIFF", compression=name) for name in ("raw", "group4", "packbits")),
    )


@cache
def diagnoses() -> tuple[bytes, ...]:
    """ISIC's two spellings, with and without a header."""
    return (
        b"ISIC_0000000,benign\nISIC_0000001,malignant\n",
        b"\xef\xbb\xbfimage_id,label\r\nISIC_0010000,0.0\r\nISIC_0010001,1.0\r\n",
        b'"ISIC_0000000","benign"\n\n"ISIC_0000001",malignant\n',
    )


@cache
def splits() -> tuple[bytes, ...]:
    """Split files as users write them."""
    return (b"id,split\na,train\nb,val\nc,test\n", b'"a b",TRAIN\r\n\r\nc,Test', "\u00e4\u00f6,train\n".encode())


def _encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()
