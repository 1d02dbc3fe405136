"""A scan that is unlike those of the training is found by contrast, voxels and extent; one like them is not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.scan_profile import ScanProfile, TrainingScans, choose_slices
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.errors import DataError

RECIPE = VolumeRecipe(field_mm=240, image_size=96)


def make_profile(seed=0, *, size=1.0, spacing=(3.0, 3.0, 3.0), gain=1.0, contrast=0.25):
    """Of an ellipsoid of about 130 x 160 x 110 mm with tissue of two kinds."""
    rng = np.random.default_rng(seed)
    sides = [round(side / step) for side, step in zip((240, 240, 180), spacing, strict=True)]
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in sides), indexing="ij")
    inside = np.sqrt((x * 240 / 130) ** 2 + (y * 240 / 160) ** 2 + (z * 180 / 110) ** 2) < size * rng.uniform(
        0.96, 1.04
    )
    tissue = gain * (1 + contrast * np.sign(np.cos(40 * y)) + rng.normal(0, 0.05 + 0.02 * rng.random(), x.shape))
    volume = Volume(np.where(inside, 400 * tissue, 0).astype(np.float32), np.diag([*spacing, 1]), 0)
    return RECIPE.open({Path("a.nii"): volume}).profile()


@pytest.fixture(scope="module")
def training():
    return TrainingScans.of(make_profile(seed) for seed in range(8))


@pytest.mark.parametrize("seed", range(20, 30))
def test_scans_like_those_of_the_training(training, seed):
    assert training.differences(make_profile(seed)) == {}


def test_another_gain_is_no_difference(training):
    assert training.differences(make_profile(20, gain=7.5)) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"contrast": 0.6}, {"intensity": "% on average, usual are up to "}),
        ({"spacing": (3.0, 3.0, 9.0)}, {"spacing": "voxels of 3 x 3 x 9 mm, in training 3 x 3 x 3 mm (3 times)"}),
        ({"spacing": (1.5, 1.5, 3.0)}, {"spacing": "voxels of 1.5 x 1.5 x 3 mm, in training 3 x 3 x 3 mm (2 times)"}),
        ({"size": 1.4}, {"field of view": "mm across, in training "}),
        ({"size": 0.6}, {"field of view": "mm down, in training "}),
    ],
)
def test_what_is_unlike_is_named_with_how_much(training, changes, expected):
    found = training.differences(make_profile(20, **changes))
    # Finer voxels average less of the noise.
    assert found.keys() - {"intensity"} == expected.keys() - {"intensity"}
    for name, text in expected.items():
        assert text in found[name]


def test_few_scans_say_nothing_about_intensities():
    few = TrainingScans.of(make_profile(seed) for seed in range(2))
    assert few.distance_limit is None
    assert few.differences(make_profile(5, contrast=0.9)) == {}
    assert TrainingScans.of([]) is None


def test_records_come_back_and_the_recipe_carries_them(training):
    record = json.loads(json.dumps(training.as_dict()))
    assert TrainingScans.from_dict(record) == training
    profile = make_profile()
    assert ScanProfile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile
    recipe = VolumeRecipe(modalities=("flair",), field_mm=240, training=training)
    assert VolumeRecipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"scans": 0},
        {"scans": True},
        {"histogram": [[0.5] * 47]},
        {"histogram": [["0.5"] * 48]},
        {"histogram": [[float("nan")] * 48]},
        {"histogram": 3},
        {"distance_limit": -1},
        {"spacing_mm": [[1, 1, 1]]},
        {"extent_mm": [[1, 1, 1], [1, 1, None]]},
        {"extent_mm": [[1, 1, 1], [1, 1]]},
    ],
)
def test_a_damaged_record_is_refused_in_one_line(training, changes):
    with pytest.raises(DataError, match="statistics of the training's scans are not valid") as caught:
        VolumeRecipe.from_dict({"training": training.as_dict() | changes})
    assert "\n" not in str(caught.value)


def test_a_recipe_with_something_else_for_statistics_is_refused():
    with pytest.raises(DataError, match="training is"):
        VolumeRecipe.from_dict({"training": [1]})


def test_slices_are_evenly_spread():
    assert choose_slices([4, 5, 6]) == [4, 5, 6]
    chosen = choose_slices(list(range(100, 200)))
    assert len(chosen) == 24
    assert (chosen[0], chosen[-1]) == (100, 199)
    assert set(np.diff(chosen)) <= {4, 5}


def test_ranges_of_slices_are_put_together():
    recipe = replace(RECIPE, slice_range=(20, 29))
    volumes = []
    for first in (5, 9):
        voxels = np.zeros((80, 80, 60), np.float32)
        voxels[20:60, 20:60, first:50] = np.random.default_rng(0).normal(400, 30, (40, 40, 50 - first))
        volumes.append(Volume(voxels, np.diag([3.0, 3.0, 2.0, 1.0]), 0))
    profiles = [recipe.open({Path("a.nii"): volume}).profile() for volume in volumes]
    assert [profile.range_mm for profile in profiles] == [(30.0, 50.0), (22.0, 42.0)]
    training = TrainingScans.of(profiles)
    assert training.range_mm == (26.0, 46.0)
    assert TrainingScans.from_dict(json.loads(json.dumps(training.as_dict()))) == training
    records = [profile.as_dict() for profile in profiles]
    del records[1]["range_mm"]  # prepared by an older version
    assert TrainingScans.of(map(ScanProfile.from_dict, records)).range_mm is None
    for wrong in ([1.0], "ab", [0, None], 3, [0.0, 1e9]):
        with pytest.raises(DataError, match="range_mm|not valid"):
            TrainingScans.from_dict(training.as_dict() | {"range_mm": wrong})
