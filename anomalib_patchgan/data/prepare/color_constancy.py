"""Colour constancy of photographs: the same skin under another lamp, or skin of another tone, looks the same."""

import numpy as np

# Of the pixels of each channel. Skin is brighter than most lesions, so that a high percentile is skin unless the lesion
# fills the image; the brightest pixels are reflections, gel bubbles and rulers.
PERCENTILE = 75
# Where the percentile goes, as a share of white: high enough to keep dark colours apart, with room for reflections.
TARGET = 0.75


def balance_colors(image: np.ndarray) -> np.ndarray:
    """Scale each channel so that its 75th percentile is 0.75 (von Kries' diagonal model, a robust "white patch").

    A tile cut from the image afterwards carries what it lacked alone: how its colour differs from its image's skin.

    Source: Barata, Celebi, Marques, Improving Dermoscopy Image Classification Using Color Constancy, IEEE Journal of
    Biomedical and Health Informatics 19 (2015), for colour constancy in dermoscopy; the percentile is ours.

    Args:
        image: Whole image, `(H, W, 3)` uint8. A channel that is 0 in three quarters of it stays as it is.

    Returns:
        `(H, W, 3)` uint8; what gets brighter than 255 is 255.

    Example:
        >>> skin = np.full((8, 8, 3), (200, 150, 100), np.uint8)
        >>> balance_colors(skin)[0, 0].tolist()
        [191, 191, 191]
    """
    reference = np.percentile(image, PERCENTILE, axis=(0, 1))
    gain = np.where(reference > 0, TARGET * 255 / np.maximum(reference, 1), 1.0)
    return np.minimum(image * gain + 0.5, 255).astype(np.uint8)
