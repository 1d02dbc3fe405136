"""Skin in photographs: the same under another lamp or of another tone, and without the lesion in it."""

from collections.abc import Iterator

import numpy as np

# Of the pixels of each channel. Skin is brighter than most lesions, so that a high percentile is skin unless the lesion
# fills the image; the brightest pixels are reflections, gel bubbles and rulers.
PERCENTILE = 75
# Where the percentile goes, as a share of white: high enough to keep dark colours apart, with room for reflections.
TARGET = 0.75
# In shares of the image's side. Masks are drawn tight, so that a lesion's edge may lie outside; a thinner strip shows
# hardly any skin; and the outermost pixels of a photograph are often a frame, which would be repeated.
MARGIN, THINNEST, FRAME = 1 / 32, 1 / 8, 1 / 64


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


def without_lesion(image: np.ndarray, lesion: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Make images of the healthy skin on each side of a lesion, at the scale of the whole image.

    The image is turned until the side lies on top, and the strip above the lesion is continued by reflection down to
    the lower border: skin has the size, and corners have the shade, that whole images have. Turned, because the left
    half would otherwise mirror the right one, as it does in no photograph.

    Args:
        image: `(S, S, 3)` uint8.
        lesion: `(S, S)` bool.

    Yields:
        Quarter turns (0 to 3), and image `(S, S, 3)` uint8. None where a lesion leaves no strip of an eighth of the
        side, and the image itself where there is no lesion.

    Example:
        >>> lesion = np.zeros((64, 64), bool)
        >>> lesion[20:60, 30:60] = True
        >>> [turns for turns, _ in without_lesion(np.zeros((64, 64, 3), np.uint8), lesion)]
        [0, 3]
    """
    if not lesion.any():
        yield 0, image
        return
    side = len(image)
    margin, thinnest, frame = (round(side * share) for share in (MARGIN, THINNEST, FRAME))
    for turns in range(4):
        end = int(np.rot90(lesion, turns).any(axis=1).argmax()) - margin
        if end - frame >= thinnest:
            strip = np.rot90(image, turns)[frame:end, frame : side - frame]
            yield turns, np.pad(strip, [(frame, side - end), (frame, frame), (0, 0)], mode="reflect")
