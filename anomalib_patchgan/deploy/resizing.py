"""Resizing images to the size of a model as its graph would, without torch."""

import numpy as np
from numpy.typing import NDArray


def resize_as_graph(images: np.ndarray, size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize images as the pre-processor in the graph does: bilinear, not antialiased, pixels as squares.

    That is `torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)`.

    Args:
        images: `(..., H, W)` of any type and range.
        size: Height and width in pixels.

    Returns:
        `(..., h, w)` in the same range.

    Example:
        >>> resize_as_graph(np.array([[0, 2], [4, 6]]), (2, 4))[0].tolist()
        [0.0, 0.5, 1.5, 2.0]
    """
    if images.shape[-2:] == size:
        return images.astype(np.float32)
    (above, below, down), (left, right, across) = map(_neighbours, images.shape[-2:], size)
    # Rows first and in their own type: of a large photograph only few are needed.
    down = down[:, None]
    upper, lower = (images[..., lines, :].astype(np.float32) for lines in (above, below))
    rows = upper + (lower - upper) * down
    return rows[..., left] + (rows[..., right] - rows[..., left]) * across


def _neighbours(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each new pixel of a line the two old ones around its middle, and the weight of the second."""
    middles = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, None)
    first = middles.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (middles - first).astype(np.float32)
