"""Intensity normalisation: the same tissue has the same brightness in every image, whatever the scanner's scale."""

from typing import NamedTuple

import torch
from torch import Tensor

# Brightness above this multiple of the first estimate (scalp fat, reflections) counts as this multiple only.
ROBUST = 1.5
ROUNDS = 4
# Of the first estimate: what is darker is fluid, haze or background, and not the tissue whose median is taken.
TISSUE = 0.6
# Halvings of the interval that holds the median: to a 4,096th of the image's range.
HALVINGS = 12
# An image darker than this is not brightened any further: it holds noise.
DARKEST = 0.02


class NormalizedImages(NamedTuple):
    """Images of the same brightness of tissue.

    Attributes:
        images: Shape `(B, C, H, W)`, values in [0, 1].
        level: Brightness of each before, shape `(B, 1, 1, 1)`; 1 if they were not normalised.
    """

    images: Tensor
    level: Tensor


def normalize_intensity(images: Tensor, brightness: float | None) -> NormalizedImages:
    """Scale images to the same brightness of tissue.

    Args:
        images: Shape `(B, C, H, W)`, values in [0, 1].
        brightness: What the level of each becomes, unless it is clipped; `None` leaves images as they are.

    Example:
        >>> images, level = normalize_intensity(torch.full((1, 3, 8, 8), 0.7), brightness=0.35)
        >>> round(float(images.mean()), 3), round(float(level), 3)
        (0.35, 0.7)
    """
    if brightness is None:
        return NormalizedImages(images, torch.ones_like(images[:, :1, :1, :1]))
    level = brightness_level(images)
    normalized = (images * (brightness / level)).clamp(0.0, 1.0)
    return NormalizedImages(normalized.contiguous(memory_format=torch.channels_last), level)


def brightness_level(images: Tensor) -> Tensor:
    """Measure how bright the tissue in an image is: the median of what is not much darker than its mean.

    A mean would rise with a large bright lesion, which then, scaled down, looks like other tissue. The mean that says
    what counts as tissue is weighted with brightness itself so that dark background does not count, and repeated with
    bright outliers limited to 1.5 times the last result. The median is found by halving an interval: sums and
    comparisons only, so that it is part of an exported graph.

    Args:
        images: Images of shape `(B, C, H, W)`, values in [0, 1].

    Returns:
        Levels of shape `(B, 1, 1, 1)`, in [0.02, 1].

    Example:
        >>> image = torch.zeros(1, 3, 8, 8)
        >>> image[..., :2] = 0.5
        >>> round(float(brightness_level(image)), 3)
        0.5
    """
    grey = images.mean(dim=1, keepdim=True)
    low = TISSUE * _robust_mean(grey)
    high = grey.amax((1, 2, 3), keepdim=True)
    half = (grey > low).float().sum((1, 2, 3), keepdim=True) / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = (grey > middle).float().sum((1, 2, 3), keepdim=True) > half
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high.clamp(min=DARKEST)


def _robust_mean(grey: Tensor) -> Tensor:
    """Mean brightness, weighted with itself, of images of shape `(B, 1, H, W)`."""
    limited = grey
    level = grey.amax((1, 2, 3), keepdim=True)
    for _ in range(ROUNDS):
        level = limited.square().sum((1, 2, 3), keepdim=True) / limited.sum((1, 2, 3), keepdim=True).clamp(min=1e-3)
        limited = torch.minimum(grey, ROBUST * level)
    return level
