"""Draws a heat map over an image, with Pillow alone."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.deploy.model_card import THRESHOLD

# Of the map's values: normal tissue comes close to the threshold, and would be coloured all over.
_CLEAR_BELOW, _FULL_FROM = 0.8 * THRESHOLD, 1.2 * THRESHOLD
_OPACITY = 0.6
_VALUES = np.linspace(0, 1, 256)
_COLOURS = np.rint(255 * np.clip(3 * _VALUES[:, None] - [0, 1, 2], 0, 1)).astype(np.uint8)
_OPACITIES = np.rint(255 * _OPACITY * np.clip((_VALUES - _CLEAR_BELOW) / (_FULL_FROM - _CLEAR_BELOW), 0, 1)).astype(int)


def resize_map(anomaly: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a map to the size of its image, bilinear.

    Args:
        anomaly: `(h, w)` float32.
        size: Height and width of the image in pixels.
    """
    height, width = size
    return np.asarray(Image.fromarray(anomaly).resize((width, height), Image.Resampling.BILINEAR))


def draw_overlay(image: Image.Image, anomaly: NDArray[np.float32]) -> Image.Image:
    """Draw a map over its image: nothing below 0.4, faint orange at the threshold, yellow to white above.

    Args:
        image: RGB.
        anomaly: `(H, W)` of the same size, in [0, 1]; 0.5 is the threshold.

    Returns:
        RGB image of the same size.

    Example:
        >>> black = Image.new("RGB", (3, 1))
        >>> drawn = draw_overlay(black, np.array([[0.2, 0.5, 1.0]], np.float32))
        >>> np.asarray(drawn).tolist()
        [[[0, 0, 0], [78, 39, 0], [153, 153, 153]]]
    """
    values = Image.fromarray(np.rint(np.clip(anomaly, 0, 1) * 255).astype(np.uint8))
    opacity = values.point(_OPACITIES.tolist())
    values.putpalette(_COLOURS.tobytes())
    return Image.composite(values.convert("RGB"), image, opacity)
