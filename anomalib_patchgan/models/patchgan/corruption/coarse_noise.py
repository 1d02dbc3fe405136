"""Coarse noise over the tissue (Kascenas et al., Denoising Autoencoders for Unsupervised Anomaly Detection, 2022)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.patchgan.corruption.corruption import Corruption


def grey_images(images: Tensor) -> Tensor:
    """Say which images of shape `(B, C, H, W)` have equal channels: booleans of shape `(B, 1, 1, 1)`."""
    return (images.amax(1, keepdim=True) - images.amin(1, keepdim=True)).amax((1, 2, 3), keepdim=True) < 1 / 255


@dataclass(eq=False)
class CoarseNoise(Corruption):
    """Smooth Gaussian noise over the foreground (Kascenas et al., 2022).

    A small field of independent normal numbers is enlarged to the image, so that its blobs have
    the size of lesions. Grey images get the same noise in their three equal channels: otherwise
    the clean value could be read off by comparing channels.

    Args:
        cells: Cells of the noise field along each side of the image. Tied to the image, not to
            pixels, so that a model at another resolution sees the same disease.
        sigma: Standard deviation of the field before enlarging, in units of the image range.

    Raises:
        ConfigurationError: If an argument is not positive.

    Example:
        >>> images, foreground = torch.full((2, 3, 32, 32), 0.5), torch.ones(2, 1, 32, 32)
        >>> CoarseNoise()(images, foreground).shape
        torch.Size([2, 3, 32, 32])
    """

    cells: int = 16
    sigma: float = 0.13

    def __post_init__(self) -> None:
        """Check the arguments."""
        msg = f"coarse noise needs at least one cell and a positive sigma, got cells={self.cells}, sigma={self.sigma}"
        require(self.cells >= 1 and self.sigma > 0, msg)

    def __call__(self, images: Tensor, foreground: Tensor, generator: Generator | None = None) -> Tensor:
        """See `Corruption`."""
        batch, channels, height, width = images.shape
        # One extra cell on each side and a random crop move the grid: its nodes, where the noise
        # is strongest, must not stand at the same pixels in every image.
        margin_y, margin_x = -(-height // self.cells), -(-width // self.cells)
        shape = (batch, channels, self.cells + 1, self.cells + 1)
        field = torch.randn(shape, generator=generator, device=images.device)
        field = torch.where(grey_images(images), field[:, :1], field)
        field = F.interpolate(field, (height + margin_y, width + margin_x), mode="bilinear", align_corners=False)
        top = int(torch.randint(0, margin_y + 1, (1,), generator=generator, device=images.device))
        left = int(torch.randint(0, margin_x + 1, (1,), generator=generator, device=images.device))
        field = field[..., top : top + height, left : left + width]
        return (images + self.sigma * field * foreground).clamp(0.0, 1.0)
