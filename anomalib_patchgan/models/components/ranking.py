"""Targeted patch ranking (Eq. 5 of Chen et al., 2025).

The residual map is cut into a fixed grid of square patches, the patches are ordered by their
mean residual, and only the worst ones count, each with its own weight.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require


def patch_losses(residual: Tensor, patch_size: int) -> Tensor:
    """Mean residual of every patch of a non-overlapping grid.

    A patch cut off by the right or lower border is averaged over the pixels it has.

    Args:
        residual: Residual map of shape `(B, 1, H, W)`.
        patch_size: Side of a patch in pixels.

    Returns:
        Patch losses of shape `(B, N)` with `N = ceil(H / patch_size) * ceil(W / patch_size)`,
        row by row.

    Example:
        >>> patch_losses(torch.ones(2, 1, 32, 32), patch_size=16).shape
        torch.Size([2, 4])
    """
    height, width = residual.shape[-2:]
    pad = (0, -width % patch_size, 0, -height % patch_size)
    pooled = F.avg_pool2d(F.pad(residual, pad), patch_size)
    covered = F.avg_pool2d(F.pad(torch.ones_like(residual[:1]), pad), patch_size)
    return (pooled / covered).flatten(1)


class PatchRanking(nn.Module):
    """Image score from ranked patch losses, `L_score = sum_i w_i L_R(patch i)` (Eq. 5).

    The weights are normalised to sum to 1, which changes no ranking of images and keeps the
    score in the unit of the residual. Patches of several sizes are ranked apart, and their scores averaged: a lesion
    that is smaller than a patch is lost in it, and one that fills the image is more certain in larger ones.

    Args:
        patch_size: Side of a patch in pixels, or sides.
        rank_weights: Weight of the most anomalous patch, of the next, and so on; all further
            patches have weight 0. `None` gives the unranked mean of all patches.

    Raises:
        ConfigurationError: If a `patch_size` is not positive or there is none, or the weights are empty, negative,
            not finite or all zero.

    Example:
        >>> ranking = PatchRanking(patch_size=16, rank_weights=(1.1, 1.0))
        >>> ranking(torch.rand(4, 1, 32, 32)).shape
        torch.Size([4])
    """

    def __init__(self, patch_size: int | Sequence[int] = 16, rank_weights: Sequence[float] | None = (1.1, 1.0)) -> None:
        super().__init__()
        sizes = (patch_size,) if isinstance(patch_size, int) else tuple(patch_size)
        require(sizes and min(sizes) >= 1, f"patch_size must be at least 1, or a list of such, got {patch_size}")
        weights = None if rank_weights is None else tuple(float(weight) for weight in rank_weights)
        msg = f"rank_weights must be non-negative with a positive sum, or null for the mean, got {rank_weights}"
        require(weights is None or (any(weights) and all(0 <= weight < math.inf for weight in weights)), msg)
        self.patch_sizes = sizes
        self.rank_weights = weights

    def forward(self, residual: Tensor) -> Tensor:
        """Score each residual map of shape `(B, 1, H, W)`; the result has shape `(B,)`."""
        scores = [self._score(patch_losses(residual, size)) for size in self.patch_sizes]
        return torch.stack(scores).mean(dim=0)

    def _score(self, losses: Tensor) -> Tensor:
        """Score images by the losses of their patches, shape `(B, N)`."""
        if self.rank_weights is None:
            return losses.mean(dim=1)
        weights = losses.new_tensor(self.weights_for(losses.shape[1]))
        ordered = torch.topk(losses, len(weights), dim=1).values
        return (ordered * weights).sum(dim=1) / weights.sum()

    def weights_for(self, patches: int) -> tuple[float, ...]:
        """Return the weights that a grid of so many patches uses: those that it has patches for.

        Raises:
            ConfigurationError: If all of them are 0, so that nothing would count.

        Example:
            >>> PatchRanking(patch_size=16, rank_weights=(1.1, 1.0)).weights_for(1)
            (1.1,)
        """
        used = (self.rank_weights or (1.0,) * patches)[:patches]
        msg = (
            f"rank_weights {self.rank_weights} give no weight to the {patches} most anomalous patches, and an "
            f"image has no more: give one of them a weight, or use smaller patches (patch_size)."
        )
        require(any(used), msg)
        return used
