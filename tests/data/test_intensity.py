"""Scaling of volumes to 8 bits: background 0, robust to single bright voxels, the same for every data type."""

from pathlib import Path

import numpy as np
import pytest

from anomalib_patchgan.data.prepare.intensity import GreyScale
from anomalib_patchgan.errors import DataError

PATH = Path("case_flair.nii.gz")


def to_grey(volume, scaling, path):
    return GreyScale(volume, scaling, path)(volume)


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    voxels = rng.integers(1, 1000, (30, 30, 30)).astype(np.int16)
    voxels[:10] = 0
    return voxels


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_data_type_gives_the_same_grey(volume, dtype):
    assert np.array_equal(to_grey(volume.astype(dtype), "robust", PATH), to_grey(volume, "robust", PATH))


def test_background_and_only_background_is_zero(volume):
    grey = to_grey(volume, "robust", PATH)
    assert grey.dtype == np.uint8
    assert np.array_equal(grey == 0, volume == 0)


def test_a_few_bright_voxels_change_nothing_else(volume):
    bright = volume.copy()
    bright[-1, -1, :3] = 32000
    difference = np.abs(to_grey(bright, "robust", PATH).astype(int) - to_grey(volume, "robust", PATH))
    difference[-1, -1, :3] = 0
    assert difference.max() <= 1
    assert np.median(to_grey(bright, "minmax", PATH)[bright > 0]) < 10


def test_another_gain_gives_the_same_grey(volume):
    assert (
        np.abs(to_grey(volume * np.int16(7), "robust", PATH).astype(int) - to_grey(volume, "robust", PATH)).max() <= 1
    )


def test_minmax_as_in_the_scripts():
    grey = to_grey(np.array([0, 100, 200, 400], np.int16), "minmax", PATH)
    assert grey.tolist() == [0, 64, 128, 255]


def test_z_scores_keep_their_order_and_the_background():
    values = np.linspace(-2, 3, 101).astype(np.float32)
    values[40] = 0  # background
    grey = to_grey(values, "robust", PATH).astype(int)
    assert grey[40] == 0
    assert (np.diff(np.delete(grey, 40)) >= 0).all()
    assert grey[0] >= 1
    assert grey[-1] == 255


@pytest.mark.parametrize("values", [np.full(50, -3, np.int16), np.r_[np.zeros(9), np.full(9, 7.5)], [5] * 20])
def test_a_constant_volume_is_refused(values):
    with pytest.raises(DataError, match=r"case_flair.nii.gz is constant"):
        to_grey(np.asarray(values), "robust", PATH)


def test_an_empty_volume_is_refused():
    with pytest.raises(DataError, match="no brain"):
        to_grey(np.zeros((4, 4, 4), np.int16), "robust", PATH)


@pytest.mark.parametrize("values", [[-5, -4, -3], [1, 1, 1, 2], [-1, 0, 1]])
def test_odd_ranges_stay_within_8_bits(values):
    grey = to_grey(np.array(values, np.int16), "robust", PATH)
    assert np.array_equal(grey == 0, np.array(values) == 0)


@pytest.mark.parametrize("values", [[-1.7e308, -1e308, 1e308, 1.7e308], [-1e300, -2e300, 1e300], [*[1e300] * 9, 2e300]])
@pytest.mark.filterwarnings("error")
def test_a_range_beyond_that_of_the_type(values):
    grey = to_grey(np.array(values), "robust", PATH)
    order = np.argsort(values, kind="stable")
    assert (np.diff(grey[order].astype(int)) >= 0).all()
    assert grey.max() == 255
