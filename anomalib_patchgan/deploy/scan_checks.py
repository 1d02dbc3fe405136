"""What is unusual about a scan, so that nobody believes the map of one that the model does not know."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.scan_profile import ScanProfile, TrainingScans
from anomalib_patchgan.data.prepare.volume_recipe import ScanImages, VolumeRecipe
from anomalib_patchgan.errors import DataError

# The largest axial section of an adult's brain is below, that of a head with skull and scalp usually above.
MAX_BRAIN_CM2 = 220.0
# Slices with fewer pixels along a side show no anatomy.
MIN_SIDE = 32
# What is as wide shows a whole head.
MIN_HEAD_MM = 80.0
# Different values of a segmentation, with the background; an image has hundreds.
MAX_LABELS = 8
UNLIKE = "unlike the training data"


def check_volume(path: Path, volume: Volume, recipe: VolumeRecipe) -> None:
    """Refuse a volume that is no image, or too small or coarse to show anatomy.

    Args:
        path: Its file, for messages.
        volume: The volume.
        recipe: How it is to become images.

    Raises:
        DataError: It is a segmentation, or has fewer than 32 voxels along a side of its slices and the model was not
            trained on scans as coarse.

    Example:
        >>> check_volume(Path("a.nii"), Volume(np.eye(40).reshape(40, 40, 1), np.eye(4), 0), VolumeRecipe())
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.nii holds only the values 0, 1, as a segmentation does: give the image.
    """
    turned = recipe.turn(volume)
    sides = turned.voxels.shape[:2]
    is_known = recipe.training is not None and recipe.training.is_as_coarse(turned.spacing_mm[:2])
    if min(sides) < MIN_SIDE and not (is_known and _shows_head(turned)):
        remedy = "give a whole scan"
        if _shows_head(turned):
            # Slices of another plane, far apart.
            voxel = " x ".join(f"{mm:.3g}" for mm in turned.spacing_mm)
            remedy = f"its voxels measure {voxel} mm there, so resample it to cubes of about 1 mm"
        shape = "x".join(map(str, sides))
        msg = f"{path} has {recipe.plane} slices of {shape} voxels, fewer than {MIN_SIDE}: {remedy}."
        raise DataError(msg)
    # Sorting every voxel of an image, to find that it has many values, would take longer than to read it.
    if np.unique(volume.voxels[::7, ::7, ::3]).size <= MAX_LABELS:
        values = np.unique(volume.voxels)
        if 1 < values.size <= MAX_LABELS and (values == np.rint(values)).all():
            listing = ", ".join(f"{value:g}" for value in values)
            msg = f"{path} holds only the values {listing}, as a segmentation does: give the image."
            raise DataError(msg)


def _shows_head(volume: Volume) -> bool:
    """Tell whether slices, of the first two axes, are wide enough for a whole head."""
    return all(side * mm >= MIN_HEAD_MM for side, mm in zip(volume.voxels.shape, volume.spacing_mm[:2], strict=False))


def describe_scan(
    volumes: Mapping[Path, Volume], scan: ScanImages, profile: ScanProfile, recipe: VolumeRecipe
) -> list[str]:
    """Say what is unusual about a scan, one line each; nothing for a usual one.

    Args:
        volumes: Its files.
        scan: What the model gets to see of them.
        profile: Statistics of the scan.
        recipe: How they became that.
    """
    remarks: list[str] = []
    for path, volume in volumes.items():
        remarks += volume.remarks(path.name)
    remarks += scan.slices.remarks
    if recipe.slice_range is not None and (recipe.training is None or recipe.training.range_mm is None):
        first, last = recipe.slice_range
        remarks.append(f"the model takes slices {first} to {last}, counted from the first one of a whole scan")
    if scan.is_cut:
        remarks.append("the foreground is larger than what images show, its rim is not looked at")
    kinds = {scale.background.kind for _, scale in scan.slices.channels}
    too_large = recipe.plane == "axial" and scan.largest_cm2 > MAX_BRAIN_CM2
    too_large |= recipe.training is not None and recipe.training.is_larger(profile)
    if recipe.skull_stripped and (too_large or kinds & {"noise", "none"}):
        share = np.count_nonzero(scan.slices.brain) / scan.slices.brain.size
        remarks.append(
            f"{share:.0%} of the voxels are taken for brain, {scan.largest_cm2:.0f} cm2 in the largest slice, and the "
            "model was trained on skull-stripped scans: strip the skull first if this is a whole head"
        )
    return remarks


def compare_with_training(profile: ScanProfile, training: TrainingScans | None) -> dict[str, Any]:
    """Say in what a scan is unlike those of the training, for the record of a result.

    Args:
        profile: Statistics of the scan.
        training: Those of the training; `None` if they are not known.

    Returns:
        `like`: whether it is like them, `None` if the model does not know what they were like. `differences`: each with
        what it amounts to. `note`: the same as one sentence, or `None`.
    """
    if training is None:
        return {"like": None, "differences": {}, "note": None}
    differences = training.differences(profile)
    listing = "; ".join(f"{name} ({amount})" for name, amount in differences.items())
    note = f"{UNLIKE} in {listing}" if differences else None
    return {"like": not differences, "differences": differences, "note": note}
