"""Reads the pixels of a series into a NIfTI volume on the grid of its images."""

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.deploy.dicom.files import load_file
from anomalib_patchgan.deploy.dicom.frames import Frame, refusal
from anomalib_patchgan.deploy.dicom.geometry import Stack
from anomalib_patchgan.deploy.dicom.library import quiet_dicom
from anomalib_patchgan.deploy.dicom.series import Series, text_of
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.files import ReadLimits

if TYPE_CHECKING:
    from pydicom import FileDataset


def read_voxels(series: Series, stack: Stack, limits: ReadLimits) -> NDArray[np.generic]:
    """Read the intensities of a series, rescaled by its slopes and intercepts.

    Args:
        series: The series.
        stack: Its images as slices.
        limits: Bounds of what is read from a file.

    Returns:
        `(X, Y, Z)` along the axes of the stack: int16 or uint16 where they hold every value, otherwise float32.

    Raises:
        DataError: A file has gone or changed, is damaged, or is larger than the limits.
    """
    columns, rows, depth = stack.shape
    voxels = np.empty((depth, rows, columns), np.float32)
    loaded: dict[str, FileDataset] = {}
    with quiet_dicom():
        for number, frame in enumerate(stack.frames):
            key = str(frame.file.path)
            if key not in loaded:
                # One file at a time; one of several frames stays for all of them.
                loaded = {key: _load(series, frame, limits)}
            voxels[number] = _read_frame(series, frame, loaded[key], (rows, columns))
    low, high = float(voxels.min()), float(voxels.max())
    whole = np.isfinite([low, high]).all() and all(bool((one == np.rint(one)).all()) for one in voxels)
    types = [kind for kind in (np.int16, np.uint16) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return voxels.astype(types[0] if whole and types else np.float32, copy=False).transpose(2, 1, 0)


def to_nifti(voxels: NDArray[np.generic], stack: Stack, description: str) -> bytes:
    """Make a NIfTI file of a series, not compressed.

    Args:
        voxels: `(X, Y, Z)` along the axes of the stack.
        stack: Where they lie.
        description: At most 79 characters.
    """
    image = nib.Nifti1Image(voxels, stack.affine)
    image.set_sform(stack.affine, code="scanner")
    image.set_qform(stack.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    return image.to_bytes()


def _load(series: Series, frame: Frame, limits: ReadLimits) -> "FileDataset":
    path = frame.file.path
    try:
        return load_file(path, limits)
    except PatchGanError as error:
        # Its first words, which may be a letter that others hold, too.
        said = str(error).replace(str(path), frame.name, 1)
        msg = f"series {series.describe()} cannot be used, {said}"
    # As below; the header alone could be read.
    except Exception as error:
        reason = f"{frame.name} cannot be read ({type(error).__name__}: {one_line(error)[:160]})"
        raise refusal(series, reason, "copy or export the series again") from error
    # Outside of `except`: an error that leads back to the first one would tell the name of the file, too.
    raise DataError(msg)


def _read_frame(series: Series, frame: Frame, dataset: "FileDataset", shape: tuple[int, int]) -> NDArray[np.float32]:
    from pydicom.pixels import apply_modality_lut, pixel_array  # type: ignore[attr-defined]

    if str(dataset.get("SOPInstanceUID")) != text_of(frame.file, "SOPInstanceUID"):
        raise refusal(series, f"{frame.name} was replaced while it was read", "start again")
    try:
        pixels = pixel_array(dataset, index=frame.index)
        values = np.asarray(apply_modality_lut(pixels, frame.values), np.float32)
    # Decoders raise nearly anything when a file is damaged.
    except Exception as error:
        reason = f"the pixels of {frame.name} cannot be read ({type(error).__name__}: {one_line(error)[:160]})"
        raise refusal(series, reason, "copy or export the series again") from error
    if values.shape != shape:
        reason = f"{frame.name} has {'x'.join(map(str, values.shape))} pixels, unlike its header"
        raise refusal(series, reason, "export it again")
    return values
