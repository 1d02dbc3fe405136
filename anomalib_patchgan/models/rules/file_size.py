"""Trivial rule: how large the image file is."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from anomalib.models.components import AnomalibModule
from torch import Tensor

from anomalib_patchgan.arguments import require
from anomalib_patchgan.data.image_files import opened
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.models.rules.base import FileRule, SignedModel, SignedRule


def file_bytes(path: Path) -> int:
    """Size of a file in bytes.

    Raises:
        DataError: The file cannot be looked up.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        msg = f"FileSize cannot look up the size of {path} ({error.strerror}): restore the file, or leave it out."
        raise DataError(msg) from error


def image_pixels(path: Path) -> int:
    """Width times height of an image, from the header of its file.

    Raises:
        DataError: The file is no image.
    """
    with opened(path) as image:
        return image.width * image.height


def bytes_per_pixel(path: Path) -> float:
    """Bytes of the file for each pixel: how much detail its compression left.

    Raises:
        DataError: The file is no image or cannot be looked up.
    """
    return file_bytes(path) / image_pixels(path)


# What is measured, and the value that scores 0.5. anomalib keeps scores in single precision, which with 1 MiB tells
# files of up to about 3 MB apart to the byte.
MEASURES: Mapping[str, tuple[Callable[[Path], float], float]] = {
    "bytes": (file_bytes, 2.0**20),
    "pixels": (image_pixels, 2.0**20),
    "bytes_per_pixel": (bytes_per_pixel, 1.0),
}


class FileSizeModel(SignedModel):
    """Keeps which side is anomalous and stands where a torch model is expected: pixels have no file, so it gives NaN.

    Example:
        >>> import torch
        >>> FileSizeModel()(torch.rand(1, 3, 8, 8)).pred_score
        tensor([nan])
    """

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return NaN scores `(B,)` and maps `(B, 1, H, W)` for images `(B, 3, H, W)`."""
        unknown = images[:, :1] * float("nan")
        return unknown[:, 0, 0, 0], unknown


class FileSize(FileRule, SignedRule, AnomalibModule):
    """Trivial rule: the size of the image file is the score; the map is constant.

    It looks at no pixel, so it finds no lesion: where it tells normal from anomalous images, the two were collected,
    scaled or compressed differently, and a model that is no better may have learned no more than that. The score is
    `size / (size + c)` in [0, 1), which keeps the order; `c` is 1 MiB, 1024 x 1024 pixels or 1 byte per pixel. It
    predicts image files without a data module, too, but cannot be exported.

    Args:
        sign: `larger` or `smaller` is anomalous; `learned` takes the side with the AUROC of at least 0.5 on the
            validation images, or `larger` when they are all normal.
        size: `bytes` of the file, `pixels` of the image as the file holds it, or `bytes_per_pixel`.
        **kwargs: `image_size`, `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see
            `PluginModule`.

    Raises:
        ConfigurationError: If `sign` or `size` is none of these; at validation, test or prediction, if the images
            are from no files; at export.
        DataError: At validation, test or prediction, if a file is gone or no image.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, FileSize
        >>> Engine().train(FileSize(), datamodule=BrainPhantom())  # doctest: +SKIP
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "image.png"
        >>> _ = path.write_bytes(bytes(2**20))
        >>> FileSize("larger").score_files([str(path)])
        tensor([0.5000])
    """

    no_image = (
        "FileSize scores images by the size of their files, not by their pixels: it cannot be exported, and predicts "
        "only images that are read from files"
    )

    def __init__(
        self,
        sign: Literal["larger", "smaller", "learned"] = "learned",
        size: Literal["bytes", "pixels", "bytes_per_pixel"] = "bytes",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        require(size in MEASURES, f"size must be bytes, pixels or bytes_per_pixel, got {size!r}")
        self._measure, self._half = MEASURES[size]
        self.model = FileSizeModel(inverted=self.configure_sign(sign, "larger", "smaller"))

    def score_files(self, paths: Sequence[str]) -> Tensor:
        """Score image files by their size, `(B,)` in [0, 1).

        Raises:
            DataError: A file is gone or no image.
        """
        sizes = torch.tensor([self._measure(Path(path)) for path in paths], dtype=torch.float64)
        scores = sizes / (sizes + self._half)
        return torch.where(self.model.inverted.cpu(), 1 - scores, scores).float()
