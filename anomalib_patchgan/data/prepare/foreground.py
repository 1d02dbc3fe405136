"""Telling a head from the air around it, in volumes that are not skull-stripped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.filters import threshold_otsu

from anomalib_patchgan.data.prepare.background import Background, largest_piece
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.errors import DataError

# Of the voxels: a skull-stripped brain that was cropped as closely as can be still has this much around it.
MIN_BACKGROUND = 0.05
# Otsu's method is to tell dark from bright; a few voxels far above all others would be the bright ones.
_BRIGHTEST = 99.0


def find_foreground(voxels: np.ndarray, path: Path) -> np.ndarray:
    """Find the head: the largest component above Otsu's threshold, with the holes in its slices filled.

    Args:
        voxels: `(X, Y, Z)`, finite.
        path: Their file, for messages.

    Returns:
        `(X, Y, Z)` bool. Skull and scalp belong to it.

    Raises:
        DataError: All voxels have one value.

    Example:
        >>> voxels = np.random.default_rng(0).normal(20, 5, (24, 24, 8))
        >>> voxels[6:18, 6:18] += 200
        >>> voxels[10:14, 10:14] -= 200  # a ventricle
        >>> int(find_foreground(voxels, Path("x.nii"))[:, :, 4].sum())
        144
    """
    lowest, highest = float(voxels.min()), float(np.percentile(voxels, _BRIGHTEST))
    if lowest == highest:
        highest = float(voxels.max())
    # Halves, because the range of a damaged file may be beyond that of its type.
    half = highest / 2 - lowest / 2
    if half == 0:
        msg = f"{path} is constant ({lowest:g} in all voxels): replace the file or remove its case."
        raise DataError(msg)
    share = np.clip((voxels / 2 - lowest / 2) / half, 0, 1)
    # In one row, or few slices would be taken for colours.
    bright = share > threshold_otsu(share.ravel())
    return largest_piece(bright)


def without_air(volume: Volume, path: Path) -> Volume:
    """Set what is not head to 0, as skull-stripping leaves it, and count intensities from the background on.

    Args:
        volume: Not skull-stripped.
        path: Its file, for messages.

    Returns:
        The same volume with a background of exactly 0.

    Raises:
        DataError: All voxels have one value.
    """
    head = find_foreground(volume.voxels, path)
    level = Background.of(volume.voxels).level
    voxels = volume.voxels - np.float32(level) if level else volume.voxels
    return replace(volume, voxels=np.where(head, voxels, 0))


def check_skull_stripped(voxels: np.ndarray, path: Path) -> None:
    """Check that a volume has a constant background, as skull-stripping leaves it.

    Args:
        voxels: `(X, Y, Z)`, finite.
        path: Their file, for messages.

    Raises:
        DataError: There is noise around the head, or hardly any background.

    Example:
        >>> check_skull_stripped(np.eye(3)[..., None], Path("x.nii"))
    """
    background = Background.of(voxels)
    share = float(background.is_air(voxels).mean())
    if background.kind in {"noise", "none"} or share < MIN_BACKGROUND:
        msg = (
            f"{path} is not skull-stripped, {background.describe()} ({share:.1%} of the voxels): pass "
            "--data.skull_stripped false, or give skull-stripped images."
        )
        raise DataError(msg)
