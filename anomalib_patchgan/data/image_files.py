"""Finding image files in a folder and believing them from their headers, before any training starts."""

from pathlib import Path

from PIL import Image

from anomalib_patchgan.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_LOSSY_FORMATS = frozenset({"JPEG", "MPO"})


def find_images(folder: Path) -> dict[str, Path]:
    """Find the image files directly inside a folder.

    Args:
        folder: Folder to look into; a missing one counts as empty.

    Returns:
        File stem to path, in the order of the stems. Hidden files are left out: `._slice.png` beside
        `slice.png` is what macOS leaves on foreign disks, and is no image.

    Raises:
        DataError: Two images share a stem, so that a mask could belong to either.
    """
    images: dict[str, Path] = {}
    paths = folder.iterdir() if folder.is_dir() else ()
    for path in sorted(paths):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in images:
            msg = f"{path} and {images[path.stem].name} have the same stem, which must be unique: rename one of them."
            raise DataError(msg)
        images[path.stem] = path
    return images


def check_image(path: Path) -> tuple[int, int]:
    """Check from its header that anomalib will read an image without damage.

    Args:
        path: Image file. anomalib reads it as 8-bit RGB; grey images are replicated to 3 channels.

    Returns:
        Width and height in pixels.

    Raises:
        DataError: The file is no readable image, or its pixels have more than 8 bits.
    """
    mode, size, _ = _read_header(path)
    if mode in {"I", "F"} or mode.startswith("I;"):
        msg = (
            f"{path} is not 8-bit (PIL mode {mode}) and anomalib would clip it: rescale the pixels to 0-255 with one "
            "factor per volume (e.g. its 99.9th percentile to 255) and save 8-bit PNG."
        )
        raise DataError(msg)
    return size


def check_mask(path: Path, image_path: Path, image_size: tuple[int, int]) -> None:
    """Check from its header that a lesion mask fits its image. Every value above 0 will count as lesion.

    Args:
        path: Mask file.
        image_path: Image that the mask belongs to, for the message.
        image_size: Width and height of that image in pixels.

    Raises:
        DataError: The file is no readable image, has another size, or is compressed with loss.
    """
    mode, size, file_format = _read_header(path)
    if size != image_size:
        msg = (
            f"Mask {path} is {size[0]}x{size[1]} but its image {image_path} is {image_size[0]}x{image_size[1]} "
            "(width x height): save the mask at the size of its image."
        )
        raise DataError(msg)
    if file_format in _LOSSY_FORMATS:
        msg = (
            f"Mask {path} is a JPEG, whose compression leaves values above 0 around a lesion, and all of them would "
            "count as lesion: threshold the original mask and save it as PNG with 0 and 255."
        )
        raise DataError(msg)
    if mode == "F":
        msg = f"Mask {path} holds floating-point values, which anomalib would cut to 0: save it as PNG with 0 and 255."
        raise DataError(msg)


def _read_header(path: Path) -> tuple[str, tuple[int, int], str | None]:
    """Return mode, (width, height) and format; the pixels stay unread, which keeps a thousand files under a second."""
    try:
        with Image.open(path) as image:
            return image.mode, image.size, image.format
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        msg = f"{path} cannot be read as an image ({type(error).__name__}): remove it or save it again as 8-bit PNG."
        raise DataError(msg) from error
