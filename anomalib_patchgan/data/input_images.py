"""Finds the images that a user gives to a trained model: a file, or all of a folder."""

from pathlib import Path

from anomalib_patchgan.data.image_files import IMAGE_SUFFIXES, is_image_file
from anomalib_patchgan.errors import DataError, DatasetNotFoundError

_VOLUMES = (".nii", ".nii.gz")


def find_input_images(path: Path) -> list[Path]:
    """Find the images of a folder and of the folders in it.

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
