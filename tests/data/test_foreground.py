"""Heads told from the air around them, and planes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.data.prepare.foreground import check_skull_stripped, find_foreground, without_air
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.planes import turn_back, turn_to_plane
from anomalib_patchgan.errors import DataError
from tests.fakes.cohort import write_head

PATH = Path("x.nii")


@pytest.mark.parametrize("scale", [1, 1e-300, 1e300])
@pytest.mark.parametrize("offset", [0, -500])
def test_the_head_with_its_dark_parts(tmp_path, scale, offset):
    voxels = (np.asarray(nib.load(write_head(tmp_path / "x.nii.gz")).dataobj).astype(float) + offset) * scale
    # A few saturated voxels, and a bright one far from the head.
    voxels[30, 30, 8] = 32767 * scale
    voxels[1, 1, 1] = 500 * scale
    head = find_foreground(voxels, PATH)
    assert head[32, 32, 8]
    assert not head[1, 1, 1]
    assert not head[:4].any()
    assert 0.25 < head.mean() < 0.45


def test_a_constant_volume_has_no_head():
    with pytest.raises(DataError, match="x.nii is constant"):
        find_foreground(np.full((4, 4, 4), 7), PATH)


def test_two_values_of_which_one_is_rare():
    voxels = np.zeros((20, 20, 20))
    voxels[3, 3, 3] = 9
    assert find_foreground(voxels, PATH).sum() == 1


def test_noise_or_tissue_all_around_is_not_skull_stripped(tmp_path):
    head = np.asarray(nib.load(write_head(tmp_path / "x.nii.gz")).dataobj).astype(float)
    with pytest.raises(DataError, match="is not skull-stripped, the background is not 0 but noise of up to"):
        check_skull_stripped(head, PATH)
    with pytest.raises(DataError, match="is not skull-stripped, no background was found at the border"):
        check_skull_stripped(head[26:38, 26:38, 6:10], PATH)
    voxels = np.where(find_foreground(head, PATH), head, -7)
    check_skull_stripped(voxels, PATH)


@pytest.mark.parametrize("offset", [0.0, -300.0, 25.0])
def test_a_head_counts_from_its_background_on(tmp_path, offset):
    head = np.asarray(nib.load(write_head(tmp_path / "x.nii.gz")).dataobj).astype(np.float32)
    usual, moved = (without_air(Volume(head + by, np.eye(4), 0), PATH).voxels for by in (0, np.float32(offset)))
    assert np.abs(usual - moved).max() < 0.01
    assert (usual == 0).mean() > 0.5


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_turned_volume_has_its_voxels_at_their_places(plane):
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    affine = np.array([[-1.0, 0.1, 0, 5], [0, -2, 0, 6], [0.2, 0, 3, 7], [0, 0, 0, 1]])
    turned = turn_to_plane(Volume(voxels, affine, 0, orientation="unknown"), plane)
    assert turned.orientation == "unknown"
    for place in np.ndindex(turned.voxels.shape):
        world = turned.affine @ [*place, 1]
        original = np.rint(np.linalg.solve(affine, world)[:3]).astype(int)
        assert voxels[tuple(original)] == turned.voxels[place]
    assert np.array_equal(turn_back(turned.voxels, plane), voxels)
