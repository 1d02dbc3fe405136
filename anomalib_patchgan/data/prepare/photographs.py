"""Decoding photographs and lesion masks that may be damaged or malicious."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
LOSSY_FORMATS = frozenset({"JPEG", "MPO"})
# Above it, a pixel of a mask with soft edges is more lesion than not.
_HALF = 127
# What PIL raises for damaged files: its decoders trust lengths, indices and tables that they read.
DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_photograph(content: bytes, path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode a photograph.

    An EXIF orientation is ignored on purpose: masks carry none, and were drawn on the pixels as they are stored.

    Args:
        content: Stored bytes, JPEG, PNG, BMP, TIFF or WebP.
        path: File, for messages only.
        limits: `max_pixels` is checked before anything is decoded.

    Returns:
        RGB image of 8 bits, completely decoded.

    Raises:
        DataError: The file is no such image, is damaged, has more than 8 bits or too many pixels.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (4, 2), 200).save(buffer, format="PNG")
        >>> read_photograph(buffer.getvalue(), Path("ISIC_0000000.png")).getpixel((0, 0))
        (200, 200, 200)
    """
    return _decode(content, path, limits)


def read_mask(
    content: bytes,
    path: Path,
    image_size: tuple[int, int],
    image_path: Path,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> np.ndarray:
    """Decode a lesion mask.

    Of two grey values the larger one is lesion, and a single value is lesion where it is not 0. More values are soft
    edges, of which lesion is what is above 127.

    Args:
        content: Stored bytes, PNG, BMP, TIFF or WebP.
        path: File, for messages only.
        image_size: Width and height of the mask's image in pixels.
        image_path: File of that image, for messages only.
        limits: `max_pixels` is checked before anything is decoded.

    Returns:
        Lesion, `(H, W)` bool.

    Raises:
        DataError: The file is no such image, is damaged, has another size than its image, is a JPEG, colourful,
            partly transparent, or has more than two values and none above 127.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.fromarray(np.array([[0, 1], [0, 0]], np.uint8)).save(buffer, format="PNG")
        >>> read_mask(buffer.getvalue(), Path("m.png"), (2, 2), Path("i.jpg")).tolist()
        [[False, True], [False, False]]
    """
    grey = _decode(content, path, limits, (image_size, image_path))
    # PIL counts without the eightfold memory that NumPy would take.
    values = [value for value, count in enumerate(grey.histogram()) if count]
    pixels = np.asarray(grey)
    if len(values) <= 2:  # noqa: PLR2004
        return pixels == values[-1] if values[-1] else np.zeros(pixels.shape, dtype=bool)
    if values[-1] <= _HALF:
        msg = (
            f"Mask {path} has the grey values {', '.join(map(str, values[:5]))} and more, none above {_HALF}, so that "
        )
        msg += "nobody can tell what is lesion: save it as PNG with 0 and 255."
        raise DataError(msg)
    return pixels > _HALF


def _decode(
    content: bytes, path: Path, limits: ReadLimits, mask_of: tuple[tuple[int, int], Path] | None = None
) -> Image.Image:
    """Decode a photograph to RGB, or the mask of an image of that size and path to grey."""
    try:
        # PIL warns about large images, which `limits` decide about, and about harmless damage of metadata.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_header(image, path, limits)
                if mask_of is not None:
                    _check_mask_header(image, path, *mask_of)
                image.load()
                return image.convert("RGB") if mask_of is None else _to_grey(image, path)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        msg = f"{path} has more pixels than PIL opens: raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
        raise DataError(msg) from error
    except DECODING_ERRORS as error:
        msg = f"{path} cannot be read as an image ({type(error).__name__}): download it again or save it as 8-bit PNG."
        raise DataError(msg) from error


def _check_header(image: Image.Image, path: Path, limits: ReadLimits) -> None:
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        msg = f"{path} has {pixels} pixels, more than max_pixels={limits.max_pixels}: raise the limit if you trust it."
        raise DataError(msg)
    if image.mode in {"I", "F"} or image.mode.startswith("I;"):
        msg = f"{path} is not 8-bit (PIL mode {image.mode}): rescale its pixels to 0-255 and save it as 8-bit PNG."
        raise DataError(msg)


def _check_mask_header(image: Image.Image, path: Path, mask_size: tuple[int, int], image_path: Path) -> None:
    if image.size != mask_size:
        msg = (
            f"Mask {path} is {image.width}x{image.height} but its image {image_path} is {mask_size[0]}x{mask_size[1]} "
            "(width x height): save the mask at the size of its image."
        )
        raise DataError(msg)
    if image.format in LOSSY_FORMATS:
        msg = f"Mask {path} is a JPEG, whose compression blurs its edge: save the original mask as PNG with 0 and 255."
        raise DataError(msg)


def _to_grey(image: Image.Image, path: Path) -> Image.Image:
    """Return a mask in grey; colours and transparency could mean anything."""
    if image.mode in {"1", "L"}:
        return image.convert("L")
    red, *others, alpha = image.convert("RGBA").split()
    if any(channel.tobytes() != red.tobytes() for channel in others) or alpha.getextrema() != (255, 255):
        msg = f"Mask {path} is colourful or partly transparent: save it as grey PNG with 0 and 255."
        raise DataError(msg)
    return red
