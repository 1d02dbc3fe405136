"""The one rule by which lesion masks are read: what anomalib reads, where nobody can read them otherwise.

anomalib turns a mask to grey and takes every value above 0 for lesion, which loses dark colours, indices of a palette,
transparency and small values of 16 bits, and spreads soft edges. A mask is used only if no other reading differs.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.data.image_files import opened
from anomalib_patchgan.data.prepare.photographs import LOSSY_FORMATS
from anomalib_patchgan.errors import DataError

# Above it, a pixel with soft edges is more lesion than not.
_HALF = 127
# More values than this are no labels of lesion parts, but soft edges or the noise of a compression.
_MAX_LABELS = 16
_OPAQUE = 255
_REMEDY = "save it as 8-bit grey PNG with 0 and 255"


def read_lesion(path: Path) -> NDArray[np.bool_]:
    """Read a lesion mask.

    Args:
        path: Mask file: grey, black and one colour, a palette whose index 0 is black, or 16 bits. Of labels such as 0,
            1, 2 and 4, every one above 0 is lesion.

    Returns:
        Lesion, `(H, W)`, the same as anomalib's own reader gives.

    Raises:
        DataError: The file is no readable image, or what is lesion in it depends on how it is read: it is a JPEG,
            has soft edges, several colours, is partly transparent, holds floating-point numbers or several pages, or
            anomalib would lose some of its values.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> Image.fromarray(np.array([[0, 1], [0, 0]], np.uint8)).save(path)
        >>> read_lesion(path).tolist()
        [[False, True], [False, False]]
    """
    with opened(path) as image:
        _check_header(image, path)
        image.load()
        lesion: NDArray[np.bool_] = np.asarray(image.convert("L")) > 0
        _check_colours(image, path)
        for what, other in _other_readings(image):
            if not np.array_equal(lesion, other):
                msg = (
                    f"Mask {path}: {int(other.sum())} pixels are lesion by its {what}, but {int(lesion.sum())} in the "
                    f"grey image that anomalib makes of it (PIL mode {image.mode}): {_REMEDY}."
                )
                raise DataError(msg)
    return lesion


def check_mask(path: Path, image_path: Path, image_size: tuple[int, int]) -> float:
    """Check that a lesion mask fits its image and can be read in one way only.

    Args:
        path: Mask file.
        image_path: Image that the mask belongs to, for the message.
        image_size: Width and height of that image in pixels.

    Returns:
        Share of lesion pixels, in [0, 1].

    Raises:
        DataError: The mask has another size than its image, or `read_lesion` refuses it.
    """
    with opened(path) as image:
        size = image.size
    if size != image_size:
        msg = (
            f"Mask {path} is {size[0]}x{size[1]} but its image {image_path} is {image_size[0]}x{image_size[1]} "
            "(width x height): save the mask at the size of its image."
        )
        raise DataError(msg)
    return float(read_lesion(path).mean())


def _check_header(image: Image.Image, path: Path) -> None:
    """Refuse what cannot be meant for a mask, before its pixels are decoded."""
    if image.format in LOSSY_FORMATS:
        msg = (
            f"Mask {path} is a JPEG, whose compression leaves values above 0 around a lesion, and all of them would "
            "count as lesion: threshold the original mask and save it as PNG with 0 and 255."
        )
        raise DataError(msg)
    if image.mode == "F":
        msg = f"Mask {path} holds floating-point values, which anomalib would cut to 0: save it as PNG with 0 and 255."
        raise DataError(msg)
    if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I"} and not image.mode.startswith("I;16"):
        msg = f"Mask {path} has colours of PIL mode {image.mode}, which could mean anything: {_REMEDY}."
        raise DataError(msg)
    if getattr(image, "n_frames", 1) > 1:
        msg = f"Mask {path} has several pages, of which anomalib reads the first: {_REMEDY}, one per slice."
        raise DataError(msg)


def _check_colours(image: Image.Image, path: Path) -> None:
    """Refuse soft edges, and colours of which nobody can tell which are lesion."""
    if image.mode in {"1", "L", "LA"}:
        _check_values(_used(image.getchannel(0).histogram()), path)
    elif image.mode.startswith("I"):
        _check_values(np.unique(np.asarray(image)), path)
    else:
        colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
        if (colours == colours[:, :1]).all():
            _check_values(colours[:, 0], path)
        elif len(colours) > (_MAX_LABELS if image.mode in {"P", "PA"} else 2) or colours[0].any():
            msg = (
                f"Mask {path} is colourful: it has {len(colours)} colours, where black and one other, or a palette "
                f"of at most {_MAX_LABELS} with black for no lesion, could be read: {_REMEDY}."
            )
            raise DataError(msg)
    if "A" in image.getbands():
        _check_values(_used(image.getchannel("A").histogram()), path)


def _used(histogram: list[int]) -> NDArray[np.int64]:
    """Return the values that occur."""
    return np.flatnonzero(histogram)


def _check_values(values: NDArray[np.generic], path: Path) -> None:
    """Accept two grey values, labels of parts, and others that are lesion by their half, too.

    Args:
        values: The values that occur, in ascending order.
        path: File, for the message.
    """
    numbers = values.astype(np.int64)
    if len(numbers) <= 2:  # noqa: PLR2004
        return
    labels = numbers[-1] <= _HALF and (len(numbers) <= _MAX_LABELS or numbers[-1] - numbers[0] == len(numbers) - 1)
    if not labels and ((numbers > 0) & (numbers <= _HALF)).any():
        msg = (
            f"Mask {path} has {len(numbers)} values between {numbers[0]} and {numbers[-1]}, such as soft edges or "
            f"compression leave, and all above 0 would count as lesion: threshold it and {_REMEDY}."
        )
        raise DataError(msg)


def _other_readings(image: Image.Image) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield every other way to read a mask, with what it goes by."""
    if image.mode in {"P", "PA"}:
        yield "palette's index", np.asarray(image.getchannel(0)) > 0
    elif image.mode.startswith("I"):
        yield "values", np.asarray(image) != 0
    elif image.mode.startswith("RGB"):
        yield "colours", np.asarray(image)[..., :3].max(axis=-1) > 0
    if "A" in image.getbands():
        alpha = np.asarray(image.getchannel("A"))
        if (alpha != _OPAQUE).any():
            yield "transparency", alpha > 0
