"""Writes tiny NIfTI volumes of brains as in `tests.fakes.prepared`, one with a bright lesion at a known place."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

SHAPE = (64, 64, 10)
# Middle of the lesion, in voxels of the axes left, back and top.
LESION = (40, 24, 6)
AFFINE = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 50], [0, 0, 5.0, -20], [0, 0, 0, 1]])


def make_voxels(*, lesion: bool = True, seed: int = 0) -> np.ndarray:
    """Voxels `(X, Y, Z)` int16 along left, back and top: noisy discs, empty first and last slices."""
    rng = np.random.default_rng(seed)
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = np.hypot(x - 31.5, y - 31.5) < 25
    tissue = 430 + 60 * np.cos(12 * y / 63) + rng.normal(0, 20, SHAPE)
    if lesion:
        # Scaled to 8 bits by the lesion, the tissue is as bright as in those folders.
        tissue = np.where(lesion_voxels(), tissue * 2.2, tissue)
    return np.where(inside & (z > 0) & (z < SHAPE[2] - 1), tissue, 0).astype(np.int16)


def lesion_voxels() -> np.ndarray:
    """Where the lesion is, `(X, Y, Z)` bool along left, back and top."""
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (np.hypot(x - LESION[0], y - LESION[1]) < 6) & (abs(z - LESION[2]) < 2)


def lesion_mm() -> np.ndarray:
    """Middle of the lesion in millimetres right, anterior and superior."""
    return (AFFINE @ [*LESION, 1])[:3]


def write_volume(path: Path, voxels: np.ndarray, axes: str = "LPS") -> Path:
    """Write voxels along left, back and top with the axes of the file in another order, at the same places."""
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(tuple(axes)))
    turned = nib.orientations.apply_orientation(voxels, turn)
    affine = AFFINE @ inv_ornt_aff(turn, voxels.shape)
    assert (io_orientation(affine) == axcodes2ornt(tuple(axes))).all()
    image = nib.Nifti1Image(turned, affine)
    image.set_sform(affine, code=2)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return path
