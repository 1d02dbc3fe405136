"""Resizing of images and masks in preparation."""

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize to a square, averaging where pixels become fewer.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        size: Height and width in pixels.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize a mask to a square; a pixel is in it when at least half of its area was.

    Args:
        mask: `(H, W)` bool.
        size: Height and width in pixels.
    """
    if mask.shape == (size, size):
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size), Image.Resampling.BOX)
    return np.asarray(grey) > 127  # noqa: PLR2004
