"""Masking at test time: what R makes of a place that it cannot see, and so cannot copy."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.models.components.filters import box_mean

# Cells of the checkerboard along the shorter side: of the order of the lesions that are looked for.
CELLS = 8
# Side of the neighbourhood whose mean stands where nothing is shown, as a fraction of the shorter side.
NEIGHBOURHOOD = 0.44
# Neighbourhoods are averaged on images made this much smaller, where that is possible without a remainder.
SHRINKING = 4


def checkerboard(height: int, width: int) -> Tensor:
    """Mask of shape `(1, 1, height, width)`: 1.0 on every second of the square cells, 0.0 on the others.

    Example:
        >>> checkerboard(16, 16).mean().item(), checkerboard(16, 16)[0, 0, 0, :4].tolist()
        (0.5, [0.0, 0.0, 1.0, 1.0])
    """
    cell = max(min(height, width) // CELLS, 1)
    row, column = torch.arange(height) // cell, torch.arange(width) // cell
    return ((row[:, None] + column[None]) % 2).float()[None, None]


def surroundings(images: Tensor, tissue: Tensor) -> Tensor:
    """Mean brightness or colour of the tissue around each place.

    Args:
        images: Shape `(B, C, H, W)`, values in [0, 1].
        tissue: Mask of shape `(B, 1, H, W)`.

    Returns:
        Images of the same shape and range.
    """
    size = images.shape[-2:]
    shrinking = math.gcd(*size, SHRINKING)
    images, tissue = F.avg_pool2d(images, shrinking), F.avg_pool2d(tissue, shrinking)
    side = round(NEIGHBOURHOOD * min(images.shape[-2:])) // 2 * 2 + 1
    for _ in range(2):  # two boxes make a tent, whose edges do not show
        images = box_mean(images * tissue, side) / box_mean(tissue, side).clamp(min=1e-3)
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def restore_unseen(reconstruct: Callable[[Tensor], Tensor], images: Tensor, tissue: Tensor) -> Tensor:
    """Restore every place from an image that does not show it (the masked restoration of Chen et al., 2025).

    The tissue on one half of a checkerboard is replaced by the mean of its surroundings, then that on the other half;
    from each restoration the replaced half is taken.

    Args:
        reconstruct: R.
        images: Images as R sees them, shape `(B, C, H, W)`, values in [0, 1].
        tissue: Mask of shape `(B, 1, H, W)`.

    Returns:
        Restorations of the same shape and range.

    Example:
        >>> images, tissue = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
        >>> copied = restore_unseen(lambda shown: shown, images, tissue)
        >>> bool(torch.allclose(copied, surroundings(images, tissue)))
        True
    """
    mean = surroundings(images, tissue)
    masked = checkerboard(*images.shape[-2:]).to(images)
    halves = [masked, 1.0 - masked]
    # One after the other: exporters take a batch of twice the size for one of a fixed size.
    restored = [reconstruct(images + (mean - images) * half * tissue) for half in halves]
    return restored[0] * halves[0] + restored[1] * halves[1]
