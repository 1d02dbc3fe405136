"""One image of ISIC 2016: read with its mask, and cut into tiles or freed from its lesion."""

from collections.abc import Iterator

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.color_constancy import balance_colors
from anomalib_patchgan.data.prepare.isic2016.files import source_of
from anomalib_patchgan.data.prepare.isic2016.spec import IsicSpec
from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.data.prepare.resizing import resize_image, resize_mask
from anomalib_patchgan.data.prepare.tiles import Tile, choose_tiles, cut_tiles
from anomalib_patchgan.data.prepare.writing import PreparedSlice
from anomalib_patchgan.files import ReadLimits, read_bytes

# In shares of the image's side. Masks are drawn tight, so that a lesion's edge may lie outside; a thinner strip shows
# hardly any skin; and the outermost pixels of a photograph are often a frame, which would be repeated.
MARGIN, THINNEST, FRAME = 1 / 32, 1 / 8, 1 / 64


def make_samples(spec: IsicSpec, limits: ReadLimits, case: Case) -> Iterator[PreparedSlice]:
    """Make the samples of one image.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The image, with split and diagnosis in its `plan`, or for the paper's protocol the tiles before it.

    Yields:
        Tiles row by row, images without their lesion, or the whole image.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be used.
    """
    if spec.protocol == "diagnosis":
        image = _read_image(spec, limits, case)[0]
        if not (case.plan["malignant"] and case.plan["split"] == "train"):
            yield PreparedSlice(split=case.plan["split"], stem=case.name, image=image, abnormal=case.plan["malignant"])
        return
    image, lesion = _read(spec, limits, case)
    if spec.protocol == "images":
        yield from _images(image, lesion, case)
        return
    tiles: Iterator[tuple[int, Tile]] = ((0, tile) for tile in cut_tiles(image, lesion))
    for split, _, tile in choose_tiles(tiles, spec.tiles, case.plan):
        yield tile.sample(split, case.name, {})


def count_tiles(spec: IsicSpec, limits: ReadLimits, case: Case) -> tuple[int, int]:
    """Count the normal and the novel tiles of an image for the paper's protocol."""
    image, lesion = _read(spec, limits, case)
    strata = [tile.stratum for tile in cut_tiles(image, lesion)]
    return strata.count(""), strata.count("large")


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


def _images(image: np.ndarray, lesion: np.ndarray, case: Case) -> Iterator[PreparedSlice]:
    """Train on images without their lesions, validate and test on whole images with their masks."""
    split = case.plan["split"]
    if split != "train":
        mask = lesion if lesion.any() else None
        yield PreparedSlice(split=split, stem=case.name, image=image, mask=mask)
        return
    for turns, skin in without_lesion(image, lesion):
        yield PreparedSlice(split=split, stem=f"{case.name}_side-{turns}", image=skin)


def _read(spec: IsicSpec, limits: ReadLimits, case: Case) -> tuple[np.ndarray, np.ndarray]:
    image, size = _read_image(spec, limits, case)
    path = source_of(case, mask=True)
    lesion = read_mask(read_bytes(path, limits), path, size, source_of(case), limits)
    return image, resize_mask(lesion, spec.image_size)


def _read_image(spec: IsicSpec, limits: ReadLimits, case: Case) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the resized image, `(S, S, 3)` uint8, and the width and height it had."""
    path = source_of(case)
    photograph = read_photograph(read_bytes(path, limits), path, limits)
    image = resize_image(np.asarray(photograph), spec.image_size)
    if spec.balances_colors:
        image = balance_colors(image)
    return image, photograph.size
