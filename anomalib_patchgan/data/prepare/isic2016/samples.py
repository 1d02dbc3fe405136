"""One image of ISIC 2016: read with its mask, and cut into tiles or crops."""

from collections.abc import Iterator

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.color_constancy import balance_colors
from anomalib_patchgan.data.prepare.isic2016.files import source_of
from anomalib_patchgan.data.prepare.isic2016.spec import IsicSpec
from anomalib_patchgan.data.prepare.nifti import ReadLimits, read_bytes
from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.data.prepare.resizing import resize_image, resize_mask
from anomalib_patchgan.data.prepare.tiles import Tile, choose_tiles, cut_tiles
from anomalib_patchgan.data.prepare.writing import PreparedSlice

# Crops along each side of the image: large enough for hair and texture, small enough to fit beside most lesions.
CROPS_PER_SIDE = 4


def make_samples(spec: IsicSpec, limits: ReadLimits, case: Case) -> Iterator[PreparedSlice]:
    """Make the samples of one image.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The image, with split and diagnosis in its `plan`, or for the paper's protocol the tiles before it.

    Yields:
        Tiles or crops row by row, or the whole image.

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


def lesion_free_crops(image: np.ndarray, lesion: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cut an image into a grid of 4x4 crops and keep those without lesion.

    Args:
        image: `(S, S, 3)` uint8.
        lesion: `(S, S)` bool.

    Yields:
        Number in the grid, row by row, and crop `(S // 4, S // 4, 3)` uint8.

    Example:
        >>> lesion = np.zeros((64, 64), bool)
        >>> lesion[:, 10:] = True
        >>> lesion[48:, :] = False
        >>> [number for number, _ in lesion_free_crops(np.zeros((64, 64, 3), np.uint8), lesion)]
        [12, 13, 14, 15]
    """
    side = len(image) // CROPS_PER_SIDE
    for number in range(CROPS_PER_SIDE**2):
        row, column = (side * index for index in divmod(number, CROPS_PER_SIDE))
        window = slice(row, row + side), slice(column, column + side)
        if not lesion[window].any():
            yield number, image[window]


def _images(image: np.ndarray, lesion: np.ndarray, case: Case) -> Iterator[PreparedSlice]:
    """Train on lesion-free crops, validate and test on whole images with their masks."""
    split = case.plan["split"]
    if split != "train":
        mask = lesion if lesion.any() else None
        yield PreparedSlice(split=split, stem=case.name, image=image, mask=mask)
        return
    for number, crop in lesion_free_crops(image, lesion):
        yield PreparedSlice(split=split, stem=f"{case.name}_crop-{number:02d}", image=crop)


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
