"""Masks of lesions as volumes: what may be in them, and the grid that they have to lie on."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits, read_bytes

logger = logging.getLogger(__name__)

# Labels of parts of a lesion; intensities of an image and the labels of an atlas are above.
MAX_LABEL = 255
# Of the foreground. The largest gliomas fill a quarter of the brain; masks of the brain or its tissues fill all of it.
MAX_LESION = 0.6


def read_lesion(
    path: Path, scan: Volume, scan_path: Path, limits: ReadLimits = DEFAULT_LIMITS, *, option: str = "--masks"
) -> NDArray[np.bool_]:
    """Read the lesion of a scan from a file that was not checked yet.

    Args:
        path: NIfTI file of the mask.
        scan: The scan.
        scan_path: Its file.
        limits: Bounds of what is read.
        option: Option that gives masks, for messages.

    Returns:
        Voxels of the lesion, `(X, Y, Z)` on the grid of the scan.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is damaged, lies on another grid, or holds other values than a mask does.
    """
    mask = parse_nifti(read_bytes(path, limits), path, limits)
    if mask.nonfinite:
        logger.warning("%s: %d NaN or infinite voxels taken for no lesion", path, mask.nonfinite)
    check_same_grid(scan, mask, scan_path, path)
    check_mask_values(mask, path, option)
    return mask.voxels != 0


def check_mask_values(mask: Volume, path: Path, option: str) -> None:
    """Refuse a mask with values that are no labels.

    Args:
        mask: The mask.
        path: Its file.
        option: Option that gives masks, for the message.

    Raises:
        DataError: A value is negative, no whole number, or above 255.

    Example:
        >>> check_mask_values(Volume(np.full((1, 1, 1), 0.5), np.eye(4), 0), Path("a_seg.nii"), "--masks")
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a_seg.nii is no mask, it holds 0.5: every voxel must be 0, or a whole \
number to 255 for lesion, so threshold it or give another --masks.
    """
    labelled = mask.voxels[mask.voxels != 0]
    wrong = (labelled < 0) | (labelled > MAX_LABEL) | (labelled != np.rint(labelled))
    if wrong.any():
        msg = (
            f"{path} is no mask, it holds {labelled[wrong][0]:g}: every voxel must be 0, or a whole number to "
            f"{MAX_LABEL} for lesion, so threshold it or give another {option}."
        )
        raise DataError(msg)


def check_extent(lesion: NDArray[np.bool_], brain: NDArray[np.bool_], path: Path, option: str) -> None:
    """Refuse the mask of a brain or its tissues, which is none of lesions.

    Args:
        lesion: Voxels of the mask.
        brain: Voxels of the foreground, of the same shape, at least one.
        path: File of the mask.
        option: Option that gives masks, for the message.

    Raises:
        DataError: More than 60 % of the foreground are lesion.
    """
    share = float(lesion[brain].mean())
    if share > MAX_LESION:
        msg = (
            f"{path} marks {share:.0%} of the foreground as lesion: is it a mask of the brain or its tissues? Give "
            f"that of the lesion with {option} PATTERN."
        )
        raise DataError(msg)
