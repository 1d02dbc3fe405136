"""The three anatomical planes, as radiologists look at them."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from anomalib_patchgan.data.prepare.nifti import Volume

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
# For columns, rows and slices: the axis of the volume (left, back, top), and whether it runs the other way.
_AXES: dict[str, tuple[tuple[int, bool], ...]] = {
    "axial": ((0, False), (1, False), (2, False)),
    "coronal": ((0, False), (2, True), (1, False)),
    "sagittal": ((1, False), (2, True), (0, False)),
}


def slice_axis(plane: Plane) -> int:
    """Return the axis of a volume, to the patient's left, back and top, that counts the slices of a plane.

    Example:
        >>> slice_axis("axial"), slice_axis("coronal"), slice_axis("sagittal")
        (2, 1, 0)
    """
    return _AXES[plane][2][0]


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
    axes = _AXES[plane]
    voxels = volume.voxels.transpose([axis for axis, _ in axes])
    affine = np.column_stack([*(volume.affine[:, axis] for axis, _ in axes), volume.affine[:, 3]])
    for position, (_, flipped) in enumerate(axes):
        if flipped:
            voxels = np.flip(voxels, position)
            affine[:, 3] += affine[:, position] * (voxels.shape[position] - 1)
            affine[:, position] *= -1
    return replace(volume, voxels=voxels, affine=affine)


def turn_back(voxels: np.ndarray, plane: Plane) -> np.ndarray:
    """Turn `(columns, rows, slices)` of a plane back to the axes left, back and top.

    Example:
        >>> volume = Volume(np.arange(24).reshape(2, 3, 4), np.eye(4), 0)
        >>> bool((turn_back(turn_to_plane(volume, "sagittal").voxels, "sagittal") == volume.voxels).all())
        True
    """
    axes = _AXES[plane]
    voxels = np.flip(voxels, tuple(position for position, (_, flipped) in enumerate(axes) if flipped))
    return voxels.transpose(np.argsort([axis for axis, _ in axes]))
