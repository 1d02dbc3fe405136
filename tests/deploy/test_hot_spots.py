"""Hot spots lie apart in millimetres, whatever voxels measure and wherever axes run to."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anomalib_patchgan.deploy.hot_spots import PatchGrid, find_hot_spots

SIDE = 8


def blobs(spacing, places, shape_mm=(96, 96, 60), radius=6.0):
    """Map `(Z, H, W)` of balls at places in millimetres along columns, rows and slices, each weaker than the last."""
    columns, rows, slices = (round(size / step) for size, step in zip(shape_mm, spacing, strict=True))
    z, y, x = np.mgrid[:slices, :rows, :columns].astype(float)
    grid = np.stack([x * spacing[0], y * spacing[1], z * spacing[2]], axis=-1)
    maps = np.zeros((slices, rows, columns), np.float32)
    for number, place in enumerate(places):
        distance = np.linalg.norm(grid - place, axis=-1)
        maps = np.maximum(maps, np.clip(1 - distance / (3 * radius), 0, 1) * (0.9 - 0.3 * number))
    return maps.astype(np.float32)


def find(spacing, places, side=SIDE, turn=None):
    affine = np.diag([*spacing, 1.0])
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
        affine[:3, 3] = (10, -20, 5)
    maps = blobs(spacing, places)
    return find_hot_spots(maps, affine, side, range(len(maps)), count=len(places))


PLACES = np.array([[20.0, 24.0, 20.0], [70.0, 24.0, 20.0], [20.0, 70.0, 40.0]])


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 5), (0.5, 2, 1), (2, 0.5, 1), (0.5, 2, 5), (4 / 3, 0.75, 3)])
def test_the_same_lesions_on_any_grid(spacing):
    """Pixels of another form, of the same area, and thick slices show the same places in the same order."""
    spots = find(spacing, PLACES)
    assert len(spots) == len(PLACES)
    for spot, place in zip(spots, PLACES, strict=True):
        # The pixel nearest to the middle, as far as the grid has one.
        assert np.linalg.norm(spot.world_mm - place) <= np.linalg.norm(spacing)


def test_transposed_pixels_give_transposed_places():
    flat = find((0.5, 2, 3), PLACES)
    upright = find((2, 0.5, 3), PLACES[:, [1, 0, 2]])
    for one, other in zip(flat, upright, strict=True):
        assert one.world_mm[[1, 0, 2]] == pytest.approx(other.world_mm)


@pytest.mark.parametrize("axes", [[0.4, 0, 0], [0.3, -0.5, 0.7], [0, 0, np.pi / 2]])
def test_oblique_slices_give_turned_places(axes):
    turn = Rotation.from_rotvec(axes).as_matrix()
    straight, oblique = find((0.5, 2, 5), PLACES), find((0.5, 2, 5), PLACES, turn=turn)
    for one, other in zip(straight, oblique, strict=True):
        assert other.score == one.score
        assert other.world_mm == pytest.approx(turn @ one.world_mm + (10, -20, 5))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1, 1, 5), (0.5, 2, 5), (2, 0.5, 2.5)])
@pytest.mark.parametrize(("apart_mm", "expected"), [(12, 1), (22, 2)])
def test_distance_is_in_millimetres_along_every_axis(axis, spacing, apart_mm, expected):
    """Two patch sides are 16 mm: single pixels nearer than that are one place, along columns, rows and slices."""
    second = round(apart_mm / spacing[axis])
    maps = np.zeros((30, 64, 64), np.float32)
    index = [3, 3, 3]
    maps[tuple(index[::-1])] = 1.0
    index[axis] += second
    maps[tuple(index[::-1])] = 0.5
    spots = find_hot_spots(maps, np.diag([*spacing, 1.0]), SIDE, range(30))
    # Patches that hold both pixels have one peak.
    assert len(spots) == expected
    distances = [np.linalg.norm(spot.world_mm - spots[0].world_mm) for spot in spots[1:]]
    assert distances == [pytest.approx(second * spacing[axis])] * (expected - 1)


def test_thin_slices_repeat_a_lesion_and_far_slices_do_not():
    maps = np.zeros((4, 16, 16), np.float32)
    maps[:, 8, 8] = (0.9, 0.8, 0.7, 0.6)
    numbers = {
        height: [spot.slice_index for spot in find_hot_spots(maps, np.diag([1, 1, height, 1.0]), SIDE, range(4))]
        for height in (1.0, 5.0, 8.0, 16.0)
    }
    assert numbers == {1.0: [0], 5.0: [0], 8.0: [0, 2], 16.0: [0, 1, 2, 3]}


def test_sheared_pixels_have_the_area_of_the_parallelogram():
    affine = np.eye(4)
    affine[:3, 1] = (1.0, 1.0, 0.0)
    assert PatchGrid.of(affine, SIDE) == PatchGrid(columns=8, rows=6, side_mm=8.0)


def test_a_patch_is_never_less_than_a_pixel():
    patches = PatchGrid.of(np.diag([0.1, 20.0, 1.0, 1.0]), 2)
    assert patches.rows == 1
    assert patches.pixels((3, 4)).reshape(3, -1)[:, :4].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_patches_of_the_border_have_the_pixels_that_are_there():
    patches = PatchGrid(columns=2, rows=2, side_mm=2.0)
    assert patches.pixels((3, 3)).tolist() == [[0, 1, 3, 4], [2, -1, 5, -1], [6, 7, -1, -1], [8, -1, -1, -1]]
    maps = np.zeros((1, 3, 3), np.float32)
    maps[0, 2, 2] = 0.25
    (spot,) = find_hot_spots(maps, np.eye(4), 2, [0])
    assert (spot.score, spot.world_mm.tolist()) == (0.25, [2.0, 2.0, 0.0])


def test_a_large_lesion_hides_no_other_of_its_slice():
    """Its patches are the best of the slice by far, and more than may be returned."""
    maps = np.full((1, 128, 128), 1e-3, np.float32)
    maps[0, :64, :64] = np.random.default_rng(0).uniform(0.8, 1, (64, 64))
    maps[0, 110, 110] = 0.5
    spots = find_hot_spots(maps, np.eye(4), SIDE, [0])
    assert len(spots) == 10
    assert any(spot.world_mm[:2].tolist() == [110, 110] for spot in find_hot_spots(maps, np.eye(4), SIDE, [0], 64))


def test_nothing_found_is_nothing():
    assert find_hot_spots(np.zeros((2, 16, 16), np.float32), np.eye(4), SIDE, range(2)) == []
    assert find_hot_spots(np.ones((2, 16, 16), np.float32), np.eye(4), SIDE, []) == []
