"""Images show so many millimetres around the foreground, whatever margins and voxels the scan has."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anomalib_patchgan.data.prepare.field_of_view import FieldOfView, extent
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.errors import DataError

RECIPE = VolumeRecipe(modalities=("flair",), field_mm=240.0, image_size=96)


def make_scan(spacing=(1.0, 1.0, 4.0)):
    """A smooth head of 140 x 180 mm off the middle of 240 x 240 mm, sampled at this spacing."""
    x, y, z = ((np.arange(round(size / step)) + 0.5) * step for size, step in zip((240, 240, 80), spacing, strict=True))
    x, y, z = np.meshgrid(x, y, z, indexing="ij")
    inside = ((x - 110) / 70) ** 2 + ((y - 130) / 90) ** 2 + ((z - 40) / 38) ** 2 < 1
    tissue = 500 + 150 * np.sin(x / 9) * np.cos(y / 11)
    return Volume(np.where(inside, tissue, 0).astype(np.int16), np.diag([-spacing[0], -spacing[1], spacing[2], 1]), 0)


def images(volume, recipe=RECIPE):
    scan = recipe.open({Path("a_flair.nii.gz"): volume})
    return scan.field, [scan.image(number) for number in scan.numbers]


def margins(volume, change):
    """The scan with other margins: negative ones are cut off."""
    voxels = volume.voxels
    for axis, (before, after) in enumerate(change):
        voxels = np.take(voxels, range(max(-before, 0), voxels.shape[axis] - max(-after, 0)), axis)
        width = [(0, 0)] * 3
        width[axis] = (max(before, 0), max(after, 0))
        voxels = np.pad(voxels, width)
    return Volume(voxels, volume.affine, 0)


@pytest.mark.parametrize(
    "change",
    [
        [(-39, -59), (-39, -19), (0, 0)],
        [(120, 7), (0, 33), (3, 1)],
        [(-30, 90), (1, -15), (0, 2)],
    ],
)
def test_margins_change_no_pixel(change):
    whole, pictures = images(make_scan())
    field, other = images(margins(make_scan(), change))
    assert np.array_equal(pictures, other)
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((96, 96)), 2).astype(np.float32)
    # Of the map, the scan with other margins shows the same at the same place of the body.
    rows, columns = change[1], change[0]
    first, second = whole.restore(values), field.restore(values)
    inner = [slice(max(-low, 0), len(first) - max(-high, 0)) for low, high in (rows, columns)]
    there = [
        slice(max(low, 0), max(low, 0) + part.stop - part.start)
        for (low, _), part in zip((rows, columns), inner, strict=True)
    ]
    kept, moved = first[tuple(inner)], second[tuple(there)]
    assert kept.std() > 0.01
    # Where the map ends differs by half a pixel with the border of the scan.
    assert np.abs(kept - moved)[2:-2, 2:-2].max() < 1e-4


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 4.0), (2.0, 2.0, 4.0), (1.0, 1.6, 4.0), (2.5, 0.8, 4.0)])
def test_other_voxels_show_nearly_the_same(spacing):
    _, pictures = images(make_scan())
    _, other = images(make_scan(spacing))
    assert len(pictures) == len(other)
    difference = np.abs(np.asarray(pictures, int) - np.asarray(other, int))
    assert difference.mean() < 4
    overlap = (np.asarray(pictures) > 0) & (np.asarray(other) > 0)
    assert overlap.sum() / (np.asarray(pictures) > 0).sum() > 0.95


def test_without_a_field_slices_are_stretched_as_before():
    old = VolumeRecipe.from_dict({"modalities": ["flair"], "image_size": 96})
    assert old.pixel_mm is None
    _, whole = images(make_scan(), old)
    _, cropped = images(margins(make_scan(), [(-40, -60), (-40, -20), (0, 0)]), old)
    assert np.mean(np.asarray(whole) > 0) < 0.6 * np.mean(np.asarray(cropped) > 0)


@pytest.mark.parametrize("side", [64, 200])
def test_whole_slices_are_as_bright_at_their_rim_as_inside(side):
    field = FieldOfView.whole((120, 90), side)
    for picture in (np.full((120, 90), 200, np.uint8), np.full((120, 90, 3), 200, np.uint8)):
        assert np.array_equal(field.image(picture), np.full((side, side, *picture.shape[2:]), 200))
    assert field.mask(np.ones((120, 90), bool)).all()
    for size in ((32, 48), (240, 240)):
        assert np.abs(field.restore(np.full(size, 0.5, np.float32)) - 0.5).max() < 1e-6


def test_voxels_of_the_wanted_size_are_kept_as_they_are():
    _, pictures = images(make_scan(), VolumeRecipe(field_mm=192.0))
    assert pictures[0].shape == (192, 192)
    voxels = make_scan().voxels
    grey = {value: set() for value in np.unique(voxels)}
    scan = VolumeRecipe(field_mm=192.0).open({Path("a.nii"): make_scan()})
    for number in scan.numbers:
        top, left = map(int, scan.field.box[:2])
        for value, pixel in zip(
            voxels[left : left + 192, top : top + 192, number].T.ravel(), scan.image(number).ravel(), strict=True
        ):
            grey[value].add(pixel)
    assert {len(found) for found in grey.values() if found} == {1}


def test_a_stray_voxel_does_not_move_the_field():
    volume = make_scan()
    voxels = volume.voxels.copy()
    voxels[3:5, 3, :2] = 900
    assert images(Volume(voxels, volume.affine, 0))[0].box == images(volume)[0].box
    assert extent(voxels.T != 0, 2) == extent(volume.voxels.T != 0, 2)


def test_masks_keep_their_place_and_area():
    scan = RECIPE.open({Path("a.nii"): make_scan()})
    mask = np.zeros(scan.field.shape, bool)
    mask[100:140, 90:120] = True
    small = scan.field.mask(mask)
    assert small.sum() * RECIPE.pixel_mm**2 == pytest.approx(1200, rel=0.1)
    back = scan.field.restore(small.astype(np.float32)) > 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.93


@pytest.mark.parametrize("factor", [1e-3, 1e2])
def test_units_that_cannot_be_are_refused(factor):
    volume = make_scan()
    wrong = Volume(volume.voxels, volume.affine * factor, 0)
    with pytest.raises(DataError, match=r"a_flair.nii.gz has pixels of .* mm .* images have 2.5 mm: check the units"):
        images(wrong)


@pytest.mark.parametrize("field_mm", [0, -1, 1001, True, "240", float("nan")])
def test_a_field_that_cannot_be_is_refused(field_mm):
    with pytest.raises(DataError, match="field_mm"):
        VolumeRecipe.from_dict({"field_mm": field_mm})
