"""How the scans of a cohort are split, and how each is read, turned to a plane, and cut into slices or tiles."""

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.foreground import check_skull_stripped
from anomalib_patchgan.data.prepare.lesion_masks import check_extent, check_mask_values
from anomalib_patchgan.data.prepare.lesion_stack import LesionStack, read_volume, tile_samples
from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid
from anomalib_patchgan.data.prepare.samples import PreparedSlice
from anomalib_patchgan.data.prepare.tiles import choose_tiles
from anomalib_patchgan.data.prepare.volume_folder.cohort import (
    ABNORMAL,
    NORMAL,
    WEAK,
    are_weak,
    choose_scans,
    read_participants,
    split_scans,
)
from anomalib_patchgan.data.prepare.volume_folder.find import Scan, find_scans
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits

logger = logging.getLogger(__name__)

_OPTION = "--data.mask"
_FOREGROUND = {
    True: "every voxel that is not 0, or not the one value that the background of these skull-stripped images has",
    False: "the largest component above Otsu's threshold of each volume, with skull and scalp",
}


def plan_volume_folder(root: Path, spec: VolumeFolderSpec, limits: ReadLimits) -> Preparation:
    """Find the scans of a cohort and say how they are to be prepared.

    Args:
        root: The folder.
        spec: What to make of it.
        limits: Bounds of what is read.

    Returns:
        The preparation, for `prepare_folder`. Its remarks have the `patients` of the cases, what `foreground` is, and
        why which scans are `left_out`.

    Raises:
        DatasetNotFoundError: There is no image, or no table of participants or split file where one is given.
        DataError: Two images are one scan's, or a table is not valid.
        ConfigurationError: A pattern is not valid, or no scan, or too few patients can be used.
    """
    scans = find_scans(root, spec)
    table = spec.participants
    if table is None and spec.image is None and (root / "participants.tsv").is_file():
        table = root / "participants.tsv"
    participants = {} if table is None else read_participants(table, strict=spec.participants is not None)
    used = choose_scans(scans, participants, spec)
    splits = split_scans(scans, spec, table)
    plans = {
        scan.name: {"split": splits[scan.name], "group": scan.group, "mask": next(iter(scan.masks), None)}
        for scan in used
        if scan.name in splits
    }
    return Preparation(
        generator=f"volumes-{spec.protocol}",
        parameters=spec.parameters | {"plans": plans},
        cases=[_case(scan, root, spec, plans[scan.name]) for scan in used if scan.name in plans],
        make_case=partial(cut_scan, spec, limits),
        remarks={
            "patients": {scan.name: scan.patient for scan in used if scan.name in plans},
            "leaks_patients": False,
            "foreground": _FOREGROUND[spec.skull_stripped],
            "left_out": {scan.name: scan.left_out for scan in scans if scan.left_out},
            COMPARABLE: spec.protocol == "tiles",
            **({"warning": WEAK} if are_weak(used) else {}),
        },
    )


def _case(scan: Scan, root: Path, spec: VolumeFolderSpec, plan: Mapping[str, object]) -> Case:
    problem = scan.problem(root, spec)
    if problem is not None:
        return Case(name=scan.name, plan=plan, problem=problem)
    names = [*(scan.images[name] for name in spec.modalities), *scan.masks]
    return Case(name=scan.name, sources={name: root / name for name in names}, plan=plan)


def cut_scan(spec: VolumeFolderSpec, limits: ReadLimits, case: Case) -> Iterable[PreparedSlice]:
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
    stack = _read_stack(spec, limits, case)
    split = case.plan["split"]
    if spec.protocol == "slices":
        weak = case.plan["mask"] is None and case.plan["group"] == ABNORMAL
        return stack.prepared(case.name, split, abnormal=weak)
    tiles = stack.tiles(healthy_slices=not stack.lesion.any())
    return tile_samples(case.name, choose_tiles(tiles, case.plan))


def _read_stack(spec: VolumeFolderSpec, limits: ReadLimits, case: Case) -> LesionStack:
    """Read and check the volumes of a scan."""
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
        check_mask_values(mask, path, _OPTION)
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
