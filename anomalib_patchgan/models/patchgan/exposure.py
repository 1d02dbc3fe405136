"""Exposure: the same tissue has the same brightness in every image, whatever the scanner's scale."""

import torch
from torch import Tensor

# Brightness above this multiple of the level (scalp fat, reflections) counts as this multiple only.
ROBUST = 1.5
ROUNDS = 4
# An image darker than this is not brightened any further: it holds noise.
DARKEST = 0.02


def brightness_level(images: Tensor) -> Tensor:
    """Measure how bright the object in an image is.

    A mean of brightness, weighted with brightness itself so that dark background does not count, repeated with bright
    outliers limited to 1.5 times the last result. Sums and minima only, so that it is part of an exported graph.

    Args:
        images: Images of shape ``(B, C, H, W)``, values in [0, 1].

    Returns:
        Levels of shape ``(B, 1, 1, 1)``, in [0.02, 1].

    Example:
        >>> image = torch.zeros(1, 3, 8, 8)
        >>> image[..., :2] = 0.5
        >>> round(float(brightness_level(image)), 3)
        0.5
    """
    grey = images.mean(dim=1, keepdim=True)
    limited = grey
    level = grey.amax((1, 2, 3), keepdim=True)
    for _ in range(ROUNDS):
        level = limited.square().sum((1, 2, 3), keepdim=True) / limited.sum((1, 2, 3), keepdim=True).clamp(min=1e-3)
        limited = torch.minimum(grey, ROBUST * level)
    return level.clamp(min=DARKEST)
