"""Finding image files in a folder and believing them from their headers, before any training starts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from anomalib_patchgan.data.prepare.photographs import DECODING_ERRORS
from anomalib_patchgan.errors import DataError, DatasetNotFoundError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_VOLUMES = (".nii", ".nii.gz")


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
    for path in sorted(filter(is_image_file, paths)):
        if path.stem in images:
            msg = f"{path} and {images[path.stem].name} have the same stem, which must be unique: rename one of them."
            raise DataError(msg)
        images[path.stem] = path
    return images


def find_images_below(folder: Path) -> dict[str, Path]:
    """Find the image files inside a folder, or, if there are none, in the folders in it.

    Args:
        folder: Folder to look into; a missing one counts as empty.

    Returns:
        Path below the folder without its ending, such as `slice_1` or `patient_1/slice_1`, to path. Hidden files and
        folders are left out.

    Raises:
        DataError: Two images of a folder share a stem.
    """
    images = find_images(folder)
    paths = sorted(folder.iterdir()) if folder.is_dir() else ()
    below = [path for path in paths if path.is_dir() and not path.name.startswith(".")]
    if images:
        if left_out := [path for path in below if find_images_below(path)]:
            logger.warning("%s holds images, so that those in %s are left out", folder, left_out[0])
        return images
    return {f"{path.name}/{name}": image for path in below for name, image in find_images_below(path).items()}


def find_input_images(path: Path) -> list[Path]:
    """Find the images that a user gives to a trained model: one, or all of a folder and of the folders in it.

    Args:
        path: Folder that is there, or an image.

    Returns:
        The images in the order of their paths. Hidden files and folders are left out.

    Raises:
        DatasetNotFoundError: The folder holds no images.
        DataError: The file is a volume.
    """
    if path.is_file():
        if path.name.lower().endswith(_VOLUMES):
            msg = f"{path} is a volume, no image: anomalib-patchgan volume makes heat maps of volumes."
            raise DataError(msg)
        return [path]
    found = sorted(
        entry
        for entry in path.rglob("*")
        if is_image_file(entry) and not any(part.startswith(".") for part in entry.relative_to(path).parts)
    )
    if not found:
        volumes = any(entry.name.lower().endswith(_VOLUMES) for entry in path.rglob("*"))
        hint = "anomalib-patchgan volume makes heat maps of the volumes in it" if volumes else "give another folder"
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        msg = f"No images in {path.absolute()}, which are files that end in {endings} and are not hidden: {hint}."
        raise DatasetNotFoundError(msg)
    return found


def is_image_file(path: Path) -> bool:
    """Whether a path is a file that is named like an image and not hidden.

    Example:
        >>> is_image_file(Path("._slice.png"))
        False
    """
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def check_image(path: Path) -> tuple[int, int]:
    """Check from its header that anomalib will read an image without damage.

    Args:
        path: Image file. anomalib reads it as 8-bit RGB; grey images are replicated to 3 channels.

    Returns:
        Width and height in pixels.

    Raises:
        DataError: The file is no readable image, or its pixels have more than 8 bits.
    """
    with opened(path) as image:
        mode, size = image.mode, image.size
    if mode in {"I", "F"} or mode.startswith("I;"):
        msg = (
            f"{path} is not 8-bit (PIL mode {mode}) and anomalib would clip it: rescale the pixels to 0-255 with one "
            "factor per volume (e.g. its 99.9th percentile to 255) and save 8-bit PNG."
        )
        raise DataError(msg)
    return size


def check_pixels(path: Path) -> None:
    """Decode an image, to find out before any work that the file is cut off or damaged.

    Args:
        path: Image file.

    Raises:
        DataError: Its pixels cannot be decoded, or `check_image` refuses it.
    """
    check_image(path)
    with opened(path) as image:
        image.load()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file with PIL; whatever its decoders raise becomes one line that names the file.

    Args:
        path: Image file.

    Yields:
        The image, whose pixels are not decoded yet: the header of a thousand files takes under a second.

    Raises:
        DataError: The file is no image or is damaged.
    """
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except DECODING_ERRORS as error:
        reason = f"{error}" if isinstance(error, OSError) and "truncated" in str(error) else type(error).__name__
        msg = f"{path} cannot be read as an image ({reason}): replace it by an intact copy, or remove it."
        raise DataError(msg) from error
