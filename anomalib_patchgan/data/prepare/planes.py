"""The three anatomical planes, as radiologists look at them."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from anomalib_patchgan.data.prepare.nifti import Volume

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
# Of volumes here, and where columns, rows and slices of a plane run to.
_VOLUME = "LPS"
_AXES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}


def slice_axis(plane: Plane) -> int:
    """Return the axis of a volume, to the patient's left, back and top, that counts the slices of a plane.

    Example:
        >>> slice_axis("axial"), slice_axis("coronal"), slice_axis("sagittal")
        (2, 1, 0)
    """
    return _VOLUME.index(_AXES[plane][2])


def turn_to_plane(volume: Volume, plane: Plane) -> Volume:
    """Turn a volume so that its third axis counts the slices of a plane.

    Args:
        volume: Its axes run to the patient's left, back and top.
        plane: `axial` slices count from the bottom, with the front up and the patient's right at the left; `coronal`
            ones from the front, with the top up and the right at the left; `sagittal` ones from the patient's right,
            with the top up and the front at the left.

    Returns:
        The same voxels at the same places: axes are columns, rows and slices of the plane.

    Example:
        >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4), 0)
        >>> turn_to_plane(volume, "coronal").voxels[:, :, 1].T.tolist()  # from top to bottom, from right to left
        [[7, 19], [6, 18], [5, 17], [4, 16]]
    """
    turn = ornt_transform(axcodes2ornt(_VOLUME), axcodes2ornt(_AXES[plane]))
    affine = volume.affine @ inv_ornt_aff(turn, volume.voxels.shape)
    return replace(volume, voxels=apply_orientation(volume.voxels, turn), affine=affine)


def turn_back(voxels: np.ndarray, plane: Plane) -> np.ndarray:
    """Turn `(columns, rows, slices)` of a plane back to the axes left, back and top.

    Example:
        >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4), 0)
        >>> bool((turn_back(turn_to_plane(volume, "sagittal").voxels, "sagittal") == volume.voxels).all())
        True
    """
    return apply_orientation(voxels, ornt_transform(axcodes2ornt(_AXES[plane]), axcodes2ornt(_VOLUME)))
