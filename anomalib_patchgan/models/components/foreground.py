"""Where the tissue is: the part of an image that can be corrupted, restored and scored."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def foreground_mask(images: Tensor, threshold: float | None = 0.05) -> Tensor:
    """Mark the pixels that lie inside the imaged object.

    A pixel is inside when tissue brighter than the threshold lies in all four directions (left,
    right, above, below) of it or on it. That closes dark holes such as ventricles and keeps the
    whole of an image without background (a skin photograph, a tile cut from tissue).

    Only cumulative sums and comparisons are used, so that the mask is part of an exported graph.

    Args:
        images: Images of shape `(B, C, H, W)`, values in [0, 1].
        threshold: Mean brightness above which a pixel shows tissue; `None` takes the whole image, if it is not empty.

    Returns:
        Mask of shape `(B, 1, H, W)` holding 0.0 and 1.0.

    Example:
        >>> image = torch.zeros(1, 3, 8, 8)
        >>> image[..., 2:6, 2:6] = 1.0
        >>> image[..., 3:5, 3:5] = 0.0  # a dark hole in the object
        >>> int(foreground_mask(image).sum())
        16
    """
    if threshold is None:
        # An empty image has nothing in it to be anomalous.
        return (images.amax((1, 2, 3), keepdim=True) > 0).float() * torch.ones_like(images[:, :1])
    tissue = (images.mean(dim=1, keepdim=True) > threshold).float()
    inside = torch.ones_like(tissue)
    for dim in (-1, -2):
        before = tissue.cumsum(dim)
        total = tissue.sum(dim, keepdim=True)
        inside = inside * (before > 0).float() * (total - before + tissue > 0).float()
    return inside


def fade_from_rim(mask: Tensor, margin: int) -> Tensor:
    """Weights that grow from 0 at the rim of a mask to 1 at `margin` pixels inside it.

    Skull and skin are restored badly in healthy heads too; a fade keeps lesions near the rim
    visible, which a hard cut loses.

    Args:
        mask: Mask of shape `(B, 1, H, W)` holding 0.0 and 1.0.
        margin: Width of the fade in pixels.

    Returns:
        Weights in [0, 1], of the same shape; 0 outside the mask.

    Example:
        >>> mask = torch.zeros(1, 1, 1, 9)
        >>> mask[..., 2:] = 1.0
        >>> [round(w, 2) for w in fade_from_rim(mask, 2).flatten().tolist()]
        [0.0, 0.0, 0.2, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if margin == 0:
        return mask
    # The share of the mask in a window is 1/2 at its rim and 1 from `margin` pixels on. Replicated
    # padding continues the border of the image: a tile that is all tissue keeps weight 1.
    share = F.pad(mask, (margin,) * 4, mode="replicate")
    share = F.avg_pool2d(share, (1, 2 * margin + 1), stride=1)
    share = F.avg_pool2d(share, (2 * margin + 1, 1), stride=1)
    return (2.0 * share - 1.0).clamp(min=0.0) * mask
