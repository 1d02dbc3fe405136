"""Images of `predict`, found and checked as those of a training are."""

from pathlib import Path

from anomalib.data import PredictDataset

from anomalib_patchgan.data.image_files import check_pixels, find_input_images
from anomalib_patchgan.errors import DataError, DatasetNotFoundError


class PredictionImages(PredictDataset):
    """The images of a folder and of the folders in it, or one image.

    anomalib's own dataset takes hidden files for images, such as the `._slice.png` that macOS leaves, clips what has
    more than 8 bits, and finds damage in the middle of the work.

    Args:
        path: Folder or image. Hidden files and folders are left out.

    Items are anomalib's `ImageItem`: image `(3, H, W)` float32 in [0, 1].

    Raises:
        DatasetNotFoundError: There is no such file or folder, or it holds no images.
        DataError: An image is cut off, damaged, or has more than 8 bits, or two would write the same heat map.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("L", (48, 32)).save(folder / "slice.png")
        >>> PredictionImages(folder)[0].image.shape
        torch.Size([3, 32, 48])
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).expanduser()
        if not path.is_file() and not path.is_dir():
            msg = f"{path.absolute()} is neither a folder, an image nor the name of a data module: correct --data."
            raise DatasetNotFoundError(msg)
        # Not the base's own, which lists the files by other rules.
        self.image_filenames = find_input_images(path)
        self.transform = None
        self.image_size = (256, 256)
        _check_heat_maps(self.image_filenames)
        for filename in self.image_filenames:
            check_pixels(filename)


def _check_heat_maps(paths: list[Path]) -> None:
    """Refuse images whose heat maps would replace each other: anomalib keeps the last folder and the name only."""
    first: dict[tuple[str, str], Path] = {}
    for path in paths:
        other = first.setdefault((path.absolute().parent.name, path.name), path)
        if other is not path:
            msg = (
                f"{other} and {path} would both write the heat map {path.absolute().parent.name}/{path.name}: rename "
                "one of the two folders, or predict them one after the other with another --default_root_dir each."
            )
            raise DataError(msg)
