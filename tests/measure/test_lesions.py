"""Lesions that are hit and false spots, on volumes made by hand."""

import numpy as np
import pytest

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure.lesions import SpotCounts, count_spots, operating_point

THRESHOLDS = np.array([0.9, 0.7, 0.5, 0.3, 0.1])


def cube(volume, corner, side, value=True):
    """Set a cube of a volume."""
    x, y, z = corner
    volume[x : x + side, y : y + side, z : z + side] = value


@pytest.fixture
def lesion():
    """Two lesions of 27 voxels, and one of 8."""
    volume = np.zeros((20, 20, 20), bool)
    cube(volume, (2, 2, 2), 3)
    cube(volume, (12, 12, 12), 3)
    cube(volume, (2, 14, 2), 2)
    return volume


def test_hits_and_false_spots_at_each_threshold(lesion):
    values = np.zeros(lesion.shape)
    cube(values, (2, 2, 2), 3, 0.9)  # the first lesion
    cube(values, (14, 2, 2), 3, 0.7)  # nothing
    cube(values, (13, 13, 13), 3, 0.5)  # a part of the second lesion
    cube(values, (2, 14, 2), 3, 0.3)  # only the one that is too small
    cube(values, (17, 17, 2), 2, 0.1)  # a spot that is too small itself
    found = count_spots(values, lesion, THRESHOLDS, smallest=9)
    assert found.lesions == 2
    assert found.hits.tolist() == [1, 1, 2, 2, 2]
    assert found.false_spots.tolist() == [0, 1, 1, 1, 1]
    # If they count, it is a third lesion and a second false spot.
    found = count_spots(values, lesion, THRESHOLDS, smallest=8)
    assert found.lesions == 3
    assert found.hits.tolist() == [1, 1, 2, 3, 3]
    assert found.false_spots.tolist() == [0, 1, 1, 1, 2]


def test_corners_join(lesion):
    values = np.zeros(lesion.shape)
    cube(values, (2, 2, 2), 3, 1.0)
    cube(values, (5, 5, 5), 3, 1.0)  # joined at a corner, so no spot of its own
    found = count_spots(values, lesion, np.array([0.5]), smallest=9)
    assert (found.hits.tolist(), found.false_spots.tolist()) == ([1], [0])


def test_one_spot_may_hit_two_lesions_but_the_whole_volume_hits_none(lesion):
    values = np.zeros(lesion.shape)
    cube(values, (2, 2, 2), 13, 0.5)
    small = lesion.copy()
    cube(small, (2, 14, 2), 2, False)
    # 54 of 2,197 voxels lie in lesions.
    found = count_spots(values, small, np.array([0.5]), smallest=9)
    assert (found.hits.tolist(), found.false_spots.tolist()) == ([0], [1])
    bridge = small.copy()
    bridge[2, 2, 2:14] = bridge[2, 2:14, 13] = bridge[2:14, 13, 13] = True
    found = count_spots(bridge * 0.5, small, np.array([0.5]), smallest=9)
    assert (found.hits.tolist(), found.false_spots.tolist()) == ([2], [0])


def test_counting_stops_where_there_are_too_many_false_spots(lesion):
    values = np.zeros(lesion.shape)
    cube(values, (14, 2, 2), 3, 0.9)
    cube(values, (2, 2, 14), 3, 0.7)
    cube(values, (2, 2, 2), 3, 0.5)
    found = count_spots(values, lesion, THRESHOLDS, smallest=9, most_false=1)
    assert found.false_spots.tolist() == [1, 2, np.inf, np.inf, np.inf]
    assert found.hits.tolist() == [0, 0, 0, 0, 0]


def test_a_perfect_map_and_an_empty_one(lesion):
    assert count_spots(lesion * 1.0, lesion, THRESHOLDS, smallest=1).hits.tolist() == [3] * 5
    empty = count_spots(np.zeros(lesion.shape), lesion, THRESHOLDS, smallest=1)
    assert (empty.hits.sum(), empty.false_spots.sum()) == (0, 0)


def test_what_cannot_be_counted_is_refused(lesion):
    values = np.zeros(lesion.shape)
    with pytest.raises(DataError, match="resample one of them"):
        count_spots(values[:5], lesion, THRESHOLDS, smallest=1)
    with pytest.raises(DataError, match="sort them"):
        count_spots(values, lesion, THRESHOLDS[::-1], smallest=1)
    values[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        count_spots(values, lesion, THRESHOLDS, smallest=1)


def counts(lesions, hits, false_spots):
    return SpotCounts(lesions=lesions, hits=np.array(hits), false_spots=np.array(false_spots, np.float64))


def test_spots_that_grow_together_are_not_few():
    # At the lowest threshold one spot is left, but there were more on the way.
    flood = counts(2, [1, 1, 2, 2], [0, 1, 3, 0])
    point = operating_point([flood], THRESHOLDS[:4])
    assert (point.threshold, point.sensitivity.tolist(), point.false_spots.tolist()) == (0.9, [0.5], [0])


def test_the_mean_over_cases_counts_and_a_healthy_case_has_false_spots_only():
    cases = [counts(1, [0, 0, 1], [0, 2, 2]), counts(4, [1, 3, 4], [0, 0, 1]), counts(0, [0, 0, 0], [1, 1, 1])]
    point = operating_point(cases, THRESHOLDS[:3])
    assert point.threshold == 0.7
    assert point.false_spots.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(point.sensitivity, [0, 0.75, np.nan])
    point = operating_point(cases, THRESHOLDS[:3], false_per_case=4 / 3)
    assert point.threshold == 0.5


def test_nothing_is_found_where_every_threshold_has_too_many_false_spots():
    point = operating_point([counts(2, [1, 2], [2, 3])], THRESHOLDS[:2])
    assert (point.threshold, point.sensitivity.tolist(), point.false_spots.tolist()) == (None, [0], [0])


def test_cases_without_lesions_have_no_operating_point():
    with pytest.raises(DataError, match="No case has a lesion"):
        operating_point([counts(0, [0], [1])], THRESHOLDS[:1])
