"""One case of BraTS: its volumes read, scaled to 8 bits, and cut into axial slices or tiles."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.brats.files import source_of
from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.nifti import (
    ReadLimits,
    Volume,
    check_labels,
    check_same_grid,
    parse_nifti,
    read_bytes,
)
from anomalib_patchgan.data.prepare.tiles import Tile, choose_tiles, cut_tiles
from anomalib_patchgan.data.prepare.volume_recipe import ScanImages
from anomalib_patchgan.data.prepare.writing import PreparedSlice
from anomalib_patchgan.errors import DataError

logger = logging.getLogger(__name__)

LABELS_TO_2021 = frozenset({0, 1, 2, 4})
# Enhancing tumour is 4 to 2021 and 3 since; after treatment, 4 is the cavity of a resection.
LABELS = frozenset(range(5))
_CHANGED = 2023
# Smaller cross-sections only graze the lesion: such a slice is neither normal nor a fair test.
MIN_LESION_MM2 = 20.0


@dataclass(frozen=True, kw_only=True)
class AxialStack:
    """Axial slices of one case with their lesion.

    Args:
        images: The slices, and what their images show.
        lesion: `(Z, H, W)` bool.
        pixel_mm2: Area of a pixel.
    """

    images: ScanImages
    lesion: np.ndarray
    pixel_mm2: float


def make_samples(spec: BratsSpec, limits: ReadLimits, case: Case) -> Iterator[PreparedSlice]:
    """Make the samples of one case.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The case, with the split in its `plan`, or for the paper's protocol the tiles before it.

    Yields:
        Slices or tiles from bottom to top.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be used.
    """
    stack = read_stack(spec, limits, case)
    if spec.protocol == "slices":
        yield from _slices(stack, case)
        return
    tiles = _tiles(stack)
    for split, index, tile in choose_tiles(tiles, spec.tiles, case.plan):
        yield tile.sample(split, f"{case.name}_slice-{index:03d}", {"slice": index})


def count_tiles(spec: BratsSpec, limits: ReadLimits, case: Case) -> tuple[int, int]:
    """Count the normal and the novel tiles of a case for the paper's protocol."""
    strata = [tile.stratum for _, tile in _tiles(read_stack(spec, limits, case))]
    return strata.count(""), strata.count("large")


def read_stack(spec: BratsSpec, limits: ReadLimits, case: Case) -> AxialStack:
    """Read and check the volumes of a case; see `make_samples`."""
    seg_path = source_of(case, "seg")
    segmentation = parse_nifti(read_bytes(seg_path, limits), seg_path, limits, strict=spec.strict)
    _check_labels(spec, case, segmentation, seg_path)
    volumes = {}
    for modality in spec.modalities:
        path = source_of(case, modality)
        volume = volumes[path] = parse_nifti(read_bytes(path, limits), path, limits, strict=spec.strict)
        check_same_grid(volume, segmentation, path, seg_path)
        if volume.nonfinite:
            logger.warning("%s: %d NaN or infinite voxels taken for background", path, volume.nonfinite)
    width, height, _ = segmentation.spacing_mm
    return AxialStack(
        images=spec.recipe.open(volumes),
        lesion=(segmentation.voxels != 0).T,
        pixel_mm2=width * height,
    )


def _check_labels(spec: BratsSpec, case: Case, segmentation: Volume, path: Path) -> None:
    check_labels(segmentation, path, LABELS_TO_2021 if spec.name == "brats2019" else LABELS)
    name = parse_case(case.name)
    if name and name.year < _CHANGED and all((segmentation.voxels == label).any() for label in (3, 4)):
        msg = f"{path} holds both labels 3 and 4, each of which is enhancing tumour: use the original segmentation."
        raise DataError(msg)


def _slices(stack: AxialStack, case: Case) -> Iterator[PreparedSlice]:
    lesion_mm2 = np.count_nonzero(stack.lesion, axis=(1, 2)) * stack.pixel_mm2
    split = case.plan["split"]
    for index in stack.images.numbers:
        if 0 < lesion_mm2[index] < MIN_LESION_MM2:
            continue
        mask = stack.images.field.mask(stack.lesion[index]) if lesion_mm2[index] else None
        if mask is not None and (split == "train" or not mask.any()):
            continue
        yield PreparedSlice(
            split=split,
            stem=f"{case.name}_slice-{index:03d}",
            image=stack.images.image(index),
            mask=mask,
            details={"slice": index, "lesion_mm2": round(float(lesion_mm2[index]), 1)},
        )


def _tiles(stack: AxialStack) -> Iterator[tuple[int, Tile]]:
    """Cut the tiles of the slices that have lesion, as the scripts do."""
    has_lesion = np.count_nonzero(stack.lesion, axis=(1, 2)) > 0
    field = stack.images.field
    for index in stack.images.numbers:
        if has_lesion[index]:
            background = ~field.mask(stack.images.slices.brain[index])
            for tile in cut_tiles(stack.images.image(index), field.mask(stack.lesion[index]), background):
                yield index, tile
