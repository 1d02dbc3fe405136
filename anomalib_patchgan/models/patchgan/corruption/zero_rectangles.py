"""Zero-filled rectangles, as in the first author's earlier scripts."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.patchgan.corruption.corruption import Corruption


@dataclass(eq=False)
class ZeroRectangles(Corruption):
    """Zero-filled rectangles at random places of the foreground.

    The defaults are those of the first author's earlier scripts for 32x32 tiles; sides grow with
    the image so that a 128x128 slice gets rectangles of 12 to 24 pixels.

    Args:
        count: Smallest and largest number of rectangles per image.
        side: Shortest and longest side in pixels of a 32x32 image.

    Raises:
        ConfigurationError: If a range is empty or not positive.

    Example:
        >>> images, foreground = torch.ones(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
        >>> bool((ZeroRectangles()(images, foreground) == 0).any())
        True
    """

    count: tuple[int, int] = (5, 9)
    side: tuple[int, int] = (3, 6)

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name, (low, high) in {"count": self.count, "side": self.side}.items():
            msg = f"{name} of zero rectangles must be a range of positive numbers, got ({low}, {high})"
            require(1 <= low <= high, msg)

    def __call__(self, images: Tensor, foreground: Tensor, generator: Generator | None = None) -> Tensor:
        """See `Corruption`."""
        batch, _, height, width = images.shape
        device = images.device
        shape = (batch, self.count[1], 1, 1)
        # Centres are drawn from the foreground, so that no rectangle covers background only. An
        # image without foreground gets uniform weights: multinomial needs a positive sum.
        weights = foreground.flatten(1)
        weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, torch.ones_like(weights))
        centre = torch.multinomial(weights, self.count[1], replacement=True, generator=generator).view(shape)
        low, high = self.side
        sides = torch.randint(low, high + 1, (2, *shape), generator=generator, device=device)
        rows = torch.arange(height, device=device).view(1, 1, -1, 1)
        columns = torch.arange(width, device=device).view(1, 1, 1, -1)
        inside = _within(rows, centre // width, sides[0] * height / 32) & _within(
            columns, centre % width, sides[1] * width / 32
        )
        number = torch.randint(self.count[0], self.count[1] + 1, (batch, 1, 1, 1), generator=generator, device=device)
        used = torch.arange(self.count[1], device=device).view(1, -1, 1, 1) < number
        corrupted = (inside & used).any(dim=1, keepdim=True) & (foreground > 0)
        return images.masked_fill(corrupted, 0.0)


def _within(position: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Pixels of an interval with the given centre and side (at least 1), end excluded."""
    start = centre - (side / 2).floor()
    return (position >= start) & (position < start + side.round().clamp(min=1))
