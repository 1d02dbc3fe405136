"""Distances of images, and the loss of a discriminator."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Distance = Literal["l1", "l2"]


def pixel_distance(first: Tensor, second: Tensor, distance: Distance) -> Tensor:
    """Distance of two images per pixel, averaged over channels.

    Args:
        first: Images of shape `(B, C, H, W)`.
        second: Images of the same shape.
        distance: `l1` for the absolute, `l2` for the squared difference (Eq. 1).

    Returns:
        Distances of shape `(B, 1, H, W)`, non-negative.
    """
    difference = first - second
    return (difference.abs() if distance == "l1" else difference.square()).mean(dim=1, keepdim=True)


class DiscriminatorLoss(nn.Module):
    """Loss of D: patches of originals are real, patches of restorations are not (Eq. 3).

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 1, 4, 4)
        >>> round(float(DiscriminatorLoss()(logits, logits)), 4)  # an undecided D: 2 log 2
        1.3863
    """

    def forward(self, image_logits: Tensor, restored_logits: Tensor) -> Tensor:
        """Compute the loss from patch logits of shape `(B, 1, h, w)`."""
        return F.softplus(-image_logits).mean() + F.softplus(restored_logits).mean()
