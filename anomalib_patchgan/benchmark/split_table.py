"""What a data module's sample table says about the images of its test split."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.data.mask_files import read_lesion
from anomalib_patchgan.errors import DataError

EXAMPLE_COUNT = 48
EXAMPLE_SIDE = 128


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """The images of a split, each array of length N.

    Args:
        image_path: Paths.
        name: Paths below the folder that all images have in common.
        patient: Patients (or photographs), what a bootstrap resamples.
        stratum: Stratum of the lesion; "" for none.
        mask_path: Paths of the masks; "" for none.
    """

    image_path: NDArray[np.str_]
    name: NDArray[np.str_]
    patient: NDArray[np.str_]
    stratum: NDArray[np.str_]
    mask_path: NDArray[np.str_]


def read_split(samples: pd.DataFrame, image_paths: Sequence[str]) -> SplitTable:
    """Look up images in a sample table.

    Args:
        samples: Sample table with `image_path`, and `mask_path`, `case`, `patient_id` and `stratum` where it has them.
        image_paths: The images, in the order asked for.

    Returns:
        Their rows. The patient is `patient_id` or `case`, whichever holds more images together (some protocols split by
        tile and name the tile `patient_id`; some patients have several cases), else the image itself.

    Raises:
        DataError: An image is not in the table.
    """
    table = samples.drop_duplicates("image_path").set_index("image_path")
    if missing := set(image_paths) - set(table.index):
        msg = f"{min(missing)} is not in the sample table of its data module."
        raise DataError(msg)
    table = table.loc[list(image_paths)]
    known = [name for name in ("patient_id", "case") if name in table.columns]
    patient = min(known, key=lambda name: table[name].nunique(), default=None)
    root = _common_parent(image_paths)

    def column(name: str) -> list[str]:
        return table[name].fillna("").astype(str).tolist() if name in table.columns else [""] * len(table)

    return SplitTable(
        image_path=np.array(image_paths, np.str_),
        name=np.array([Path(path).relative_to(root).as_posix() for path in image_paths], np.str_),
        patient=np.array(column(patient) if patient else image_paths, np.str_),
        stratum=np.array(column("stratum"), np.str_),
        mask_path=np.array(column("mask_path"), np.str_),
    )


def read_masks(table: SplitTable, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Read the lesion masks of a split.

    Args:
        table: The images.
        size: Height and width to which masks are brought, by nearest neighbour.

    Returns:
        Masks of shape `(N, H, W)`, empty for images without one; `None` when no image has one.

    Raises:
        DataError: A mask cannot be read, or could be read in more than one way.
    """
    if not any(table.mask_path):
        return None
    masks = np.zeros((len(table.mask_path), *size), bool)
    for mask, path in zip(masks, table.mask_path, strict=True):
        if path:
            lesion = Image.fromarray(read_lesion(Path(path)).astype(np.uint8))
            mask[:] = np.asarray(lesion.resize(size[::-1], Image.Resampling.NEAREST)) > 0
    return masks


def choose_lesion_images(label: NDArray[np.bool_], count: int = EXAMPLE_COUNT) -> NDArray[np.int64]:
    """Choose lesion images evenly from the split, the same for every model.

    Example:
        >>> choose_lesion_images(np.array([False, True, True, True, True]), 2)
        array([1, 4])
    """
    lesions = np.flatnonzero(label)
    return lesions[np.unique(np.linspace(0, len(lesions) - 1, min(count, len(lesions))).round().astype(int))]


def read_examples(
    table: SplitTable, chosen: NDArray[np.int64], maps: NDArray[np.float32], masks: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Small copies of some images, their masks and maps for the report.

    Args:
        table: The images of the split.
        chosen: Indices of the examples, `(M,)`.
        maps: Raw maps of the split, `(N, H, W)`; N is 0 for a model without maps.
        masks: Masks of the split, `(N, H, W)`; `None` without.

    Returns:
        Images `(M, h, w, 3)`, masks `(M, h, w)` and maps `(M, h, w)` scaled to 0-255 between the median and the largest
        value of the split; all with M = 0 if the model has no maps or the data no masks.
    """
    if not len(maps) or masks is None or not len(chosen):
        return np.empty((0, 0, 0, 3), np.uint8), np.empty((0, 0, 0), bool), np.empty((0, 0, 0), np.uint8)
    height, width = maps.shape[1:]
    scale = min(1.0, EXAMPLE_SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    low, high = float(np.median(maps[:: max(len(maps) // 50, 1)])), float(maps.max())
    images, small_masks, small_maps = [], [], []
    for index in chosen:
        with Image.open(table.image_path[index]) as image:
            images.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR)))
        mask = Image.fromarray(masks[index]).resize(size, Image.Resampling.NEAREST)
        small_masks.append(np.asarray(mask).astype(bool))
        bytes_ = np.clip((maps[index] - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
        small_maps.append(np.asarray(Image.fromarray(bytes_).resize(size, Image.Resampling.BILINEAR)))
    return np.stack(images), np.stack(small_masks), np.stack(small_maps)


def _common_parent(paths: Sequence[str]) -> Path:
    """Return the deepest folder that holds all of some files."""
    levels = zip(*(Path(path).parent.parts for path in paths), strict=False)
    return Path(*(parts[0] for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, levels)))
