"""One scan of a cohort: its volumes read, turned to a plane, and cut into slices or tiles."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.foreground import check_skull_stripped
from anomalib_patchgan.data.prepare.lesion_masks import check_extent, check_mask
from anomalib_patchgan.data.prepare.lesion_stack import LesionStack, read_volume, tile_samples
from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid
from anomalib_patchgan.data.prepare.tiles import choose_for_split
from anomalib_patchgan.data.prepare.volume_folder.participants import ABNORMAL, NORMAL
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.data.prepare.writing import PreparedSlice
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits

logger = logging.getLogger(__name__)

_OPTION = "--data.mask"


def make_samples(spec: VolumeFolderSpec, limits: ReadLimits, case: Case) -> Iterable[PreparedSlice]:
    """Make the samples of one scan.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The scan: its images in the order of the modalities, then its mask; `plan` has split, group and mask.

    Returns:
        Slices or tiles in the order of the slices.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be used, or the mask contradicts the group.
    """
    stack = read_stack(spec, limits, case)
    split = case.plan["split"]
    if spec.protocol == "slices":
        weak = case.plan["mask"] is None and case.plan["group"] == ABNORMAL
        return stack.prepared(case.name, split, abnormal=weak)
    tiles = stack.tiles(healthy_slices=not stack.lesion.any())
    return tile_samples(case.name, choose_for_split(tiles, split))


def read_stack(spec: VolumeFolderSpec, limits: ReadLimits, case: Case) -> LesionStack:
    """Read and check the volumes of a scan; see `make_samples`."""
    mask_name = case.plan["mask"]
    volumes: dict[Path, Volume] = {}
    for name, path in case.sources.items():
        if name != mask_name:
            volume = read_volume(path, limits, strict=spec.strict)
            if spec.skull_stripped:
                check_skull_stripped(volume.voxels, path)
            for other_path, other in list(volumes.items())[:1]:
                check_same_grid(other, volume, other_path, path)
            volumes[path] = volume
    first_path, first = next(iter(volumes.items()))
    lesion = np.zeros(first.voxels.shape, dtype=bool)
    if mask_name is not None:
        path = case.sources[mask_name]
        mask = read_volume(path, limits, strict=spec.strict)
        check_same_grid(first, mask, first_path, path)
        check_mask(mask, path, _OPTION)
        lesion = mask.voxels != 0
        _check_group(case, path, is_lesion_free=not lesion.any())
    stack = LesionStack.of(spec.recipe, volumes, Volume(lesion, first.affine, 0))
    if mask_name is not None:
        # There is some brain, or the scan could not have been scaled.
        check_extent(stack.lesion, stack.images.slices.brain, case.sources[mask_name], _OPTION)
    return stack


def _check_group(case: Case, path: Path, *, is_lesion_free: bool) -> None:
    group = case.plan["group"]
    if is_lesion_free and group == ABNORMAL:
        msg = f"{path} marks no voxel, but the group of {case.name} is abnormal: correct the mask or the group."
        raise DataError(msg)
    if not is_lesion_free and group == NORMAL:
        msg = f"{path} marks a lesion, but the group of {case.name} is normal: correct the mask or the group."
        raise DataError(msg)
    if is_lesion_free:
        logger.warning("%s marks no voxel: all of %s is taken for healthy", path, case.name)
