"""Where a spot lies and what shape it has."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

# Cells along a side of the field that makes an outline irregular, drawn per batch: from a few bulges to a ragged edge.
OUTLINES = (4, 6, 9, 14)
RAGGEDNESS = 0.35
# Radii in sides of the image. Most spots are small; a few are so large that they reach past its borders.
SMALLEST, SPREAD = 0.04, 0.22
LARGE = 0.25


def draw_outlines(
    images: Tensor, foreground: Tensor, *, large: float, softness: float, generator: Generator | None
) -> Tensor:
    """Draw one spot per image, irregular and with a soft edge.

    Args:
        images: Images of shape `(B, C, H, W)`.
        foreground: Mask of shape `(B, 1, H, W)`; centres lie in it.
        large: Share of spots as large as the image or nearly so.
        softness: Width of the softest edge, relative to the spot's radius.
        generator: Source of randomness.

    Returns:
        Opacities of shape `(B, 1, H, W)`, in [0, 1] and 0 outside the foreground.

    Example:
        >>> images, foreground = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
        >>> draw_outlines(images, foreground, large=0.1, softness=0.5, generator=None).shape
        torch.Size([2, 1, 32, 32])
    """
    batch, _, height, width = images.shape
    cells = OUTLINES[integer(0, len(OUTLINES), images, generator)]
    field = torch.randn((batch, 1, cells, cells), generator=generator, device=images.device)
    field = F.interpolate(field, (height, width), mode="bicubic", align_corners=False)
    # A small constant, because multinomial needs a positive sum.
    centre = torch.multinomial(foreground.flatten(1) + 1e-6, 1, generator=generator).view(batch, 1, 1, 1)
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    radius = torch.where(
        share(images, large, generator),
        LARGE + uniform(images, generator),
        SMALLEST + SPREAD * uniform(images, generator).square(),
    ) * max(height, width)
    distance = ((rows - centre // width).square() + (columns - centre % width).square()) / radius.square()
    edge = 0.03 + softness * uniform(images, generator)
    opacity = torch.sigmoid((RAGGEDNESS * field + 1.0 - distance) / edge)
    # The field has no bound: without the limit a bulge could stand far off.
    return opacity * (distance < 9.0).float() * foreground  # noqa: PLR2004


def uniform(images: Tensor, generator: Generator | None) -> Tensor:
    """One number in [0, 1) per image, shape `(B, 1, 1, 1)`."""
    return torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device)


def share(images: Tensor, probability: float, generator: Generator | None) -> Tensor:
    """Choose images with a probability: booleans of shape `(B, 1, 1, 1)`."""
    return uniform(images, generator) < probability


def integer(low: int, high: int, images: Tensor, generator: Generator | None) -> int:
    """A whole number from `low` on and below `high`; `low` if there is none."""
    return int(torch.randint(low, max(high, low + 1), (1,), generator=generator, device=images.device))
