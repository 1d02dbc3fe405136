"""The background is found, whatever its value, and is no brain."""

from pathlib import Path

import numpy as np
import pytest

from anomalib_patchgan.data.prepare.background import Background
from anomalib_patchgan.data.prepare.foreground import check_skull_stripped
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.planes import turn_back
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe


def make_head(seed=0):
    """A brain `(X, Y, Z)` of some hundreds with dark fluid in it, and where it is."""
    x, y, z = np.mgrid[:64, :72, :16]
    inside = np.hypot((x - 30) / 24, (y - 36) / 30) < 1
    inside &= (z > 1) & (z < 14)
    tissue = 400 + 60 * np.cos(y / 5) + np.random.default_rng(seed).normal(0, 25, x.shape)
    tissue[np.hypot(x - 30, y - 36) < 4] = 60
    return np.where(inside, tissue, 0), inside


def images(voxels):
    volume = Volume(voxels, np.diag([-3.0, -3, 3, 1]), 0)
    scan = VolumeRecipe(field_mm=240, image_size=96).open({Path("a_flair.nii"): volume})
    return scan, np.stack([scan.image(number) for number in scan.numbers])


@pytest.mark.parametrize(("gain", "offset"), [(1.0, -0.5), (0.004, -2.25), (3.0, 1e-5), (1.0, 1000.0)])
def test_a_constant_is_the_background_and_changes_no_image(gain, offset):
    voxels, inside = make_head()
    moved = voxels * gain + offset
    background = Background.of(moved)
    assert background.kind == "constant"
    assert background.level == pytest.approx(offset)
    assert np.array_equal(background.foreground(moved), inside)
    _, expected = images(voxels)
    scan, found = images(moved)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(scan.slices.remarks) == 1
    share = f"{np.count_nonzero(inside) / inside.size:.1%} of the voxels count as brain"
    assert f"a_flair.nii: the background is {offset:.3g}, and {share}" in scan.slices.remarks


def test_scaled_integers_give_what_floats_give():
    voxels, inside = make_head()
    scores = np.where(inside, (voxels - voxels[inside].mean()) / voxels[inside].std(), 0)
    slope = (scores.max() - scores.min()) / 65535
    inter = scores.min() + 32768 * slope
    stored = np.rint((scores - inter) / slope).astype(np.int16) * np.float32(slope) + np.float32(inter)
    assert stored[0, 0, 0] != 0
    # A voxel of tissue may be stored as the background is.
    assert (Background.of(stored).foreground(stored) != inside).sum() < 1e-3 * inside.sum()
    assert np.percentile(np.abs(images(stored)[1].astype(int) - images(scores)[1]), 99.9) <= 1


@pytest.mark.parametrize(("offset", "margin"), [(-0.5, 0.0), (0.0, -1000.0), (7.0, -3.0)])
def test_a_padding_of_another_value_is_background_too(offset, margin):
    voxels, _ = make_head()
    padded = np.pad(voxels + offset, ((9, 5), (4, 12), (0, 2)), constant_values=margin)
    background = Background.of(padded)
    assert (background.level, background.margin) == (offset, margin)
    scan, found = images(padded)
    assert np.abs(found.astype(int) - images(voxels)[1]).max() <= 1
    assert f"within a margin of {margin:.3g}" in scan.slices.remarks[0]


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_a_slab_cut_out_closely_has_its_background_in_every_plane(plane):
    voxels, inside = (part[7:54, 7:66, 4:12] for part in make_head())
    volume = Volume(voxels - 2, np.diag([-3.0, -3, 3, 1]), 0)
    check_skull_stripped(volume.voxels, Path("a_flair.nii"))
    scan = VolumeRecipe(plane=plane, field_mm=240, image_size=96).open({Path("a_flair.nii"): volume})
    assert np.array_equal(turn_back(scan.slices.brain.T, plane), inside)
    share = f"{inside.mean():.1%} of the voxels count as brain"
    assert scan.slices.remarks == [f"a_flair.nii: the background is -2, and {share}"]


def test_tissue_of_one_value_is_no_margin():
    voxels = np.zeros((72, 72, 16))
    voxels[12:60, 9:63, 2:14] = 500
    voxels[15:57, 12:60, 2:14] = np.random.default_rng(0).normal(700, 50, (42, 48, 12))
    assert Background.of(voxels).kind == "zero"
    assert Background.of(voxels).foreground(voxels).sum() == 48 * 54 * 12


@pytest.mark.parametrize("level", [0.0, 25.0, -3.0])
def test_noise_is_told_from_tissue(level):
    voxels, inside = make_head()
    noisy = voxels + level + np.random.default_rng(1).normal(0, 6, voxels.shape)
    background = Background.of(noisy)
    assert background.kind == "noise"
    assert background.level == pytest.approx(level, abs=1)
    found = background.foreground(noisy)
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.98
    # Fluid inside is darker than the brain, and still brain.
    assert found[30, 36, 8]
    scan, pictures = images(noisy)
    assert "noise" in scan.slices.remarks[0]
    assert np.abs(pictures.astype(int) - images(voxels)[1]).mean() < 6


def test_noise_of_which_a_scanner_cleared_the_rim():
    voxels, inside = make_head()
    noisy = np.abs(voxels + np.random.default_rng(1).normal(0, 6, voxels.shape)) + 1
    noisy[:6], noisy[-6:], noisy[:, :4], noisy[:, -4:] = 0, 0, 0, 0
    background = Background.of(noisy)
    assert (background.kind, background.level) == ("noise", 0)
    found = background.foreground(noisy)
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.97


@pytest.mark.parametrize("cut", [(slice(6, 55), slice(6, 67)), (slice(0, 64), slice(0, 72))])
def test_the_closest_cut_has_the_same_background(cut):
    voxels, inside = make_head()
    background = Background.of(voxels[cut])
    assert background.kind == "zero"
    assert np.array_equal(background.foreground(voxels[cut]), inside[cut])


def test_a_brain_in_z_scores_keeps_its_dark_half():
    voxels, inside = make_head()
    scores = np.where(inside, (voxels - voxels[inside].mean()) / voxels[inside].std(), 0)
    assert Background.of(scores).kind == "zero"
    assert np.array_equal(Background.of(scores).foreground(scores), inside)


def test_a_border_of_tissue_is_no_background():
    voxels, _ = make_head()
    inner = voxels[18:42, 20:52, 4:10]
    assert Background.of(inner).kind == "none"
    assert Background.of(inner).foreground(inner).all()
    assert "no background was found" in Background.of(inner).describe()
