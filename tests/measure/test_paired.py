"""A model beside a rule on the same patients."""

import numpy as np
import pytest
from scipy import stats

from anomalib_patchgan.measure.paired import pair
from anomalib_patchgan.measure.statistics import Scores, bootstrap, bootstrap_mean


def test_the_interval_of_one_training_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    rule = rng.uniform(0.3, 0.9, 12)
    model = rule + rng.normal(0.05, 0.04, 12)
    found = pair(model[None], rule)
    low, high = stats.ttest_rel(model, rule).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high), abs=0.003)
    assert found.difference == pytest.approx((model - rule).mean())
    assert (found.above, found.equal, found.patients) == ((model > rule).sum(), 0, 12)


def test_trainings_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    rule = rng.uniform(0.3, 0.9, 12)
    model = rule + 0.05 + rng.normal(0, 0.01, 12)
    alike = pair(np.stack([model] * 3), rule)
    apart = pair(np.stack([model - 0.05, model, model + 0.05]), rule)
    assert alike.difference == pytest.approx(apart.difference)
    widths = [np.diff(one.interval)[0] for one in (pair(model[None], rule), alike, apart)]
    assert widths[0] == pytest.approx(widths[1], rel=0.01)
    assert widths[2] > 5 * widths[1]


def test_patients_without_a_value_are_left_out():
    model = np.array([[0.5, np.nan, 0.5, 0.2, 0.5, 0.5]])
    found = pair(model, np.array([0.25, 0.1, 0.5, np.nan, 0.75, 0.25]))
    assert (found.patients, found.above, found.equal) == (4, 2, 1)
    assert found.model == 0.5
    # Too few patients to know of others.
    assert found.interval is None
    assert pair(np.full((1, 3), np.nan), np.zeros(3)) is None


def test_the_mean_is_resampled_with_the_same_draws_as_a_metric():
    names = np.array(["a", "b", "c", "d", "e"])
    values = np.array([0.1, 0.9, 0.4, 0.3, 0.8])
    # Two images each, so that the AUROC of a patient alone is 1 or 0: the mean over jobs of one patient is the mean.
    right = values > 0.35
    jobs = [
        Scores(
            patients=np.array([name, name]),
            labels=np.array([False, True]),
            scores=np.array([0.0, 1.0 if good else -1.0]),
        )
        for name, good in zip(names, right, strict=True)
    ]
    expected = bootstrap(jobs, "image_AUROC", resamples=100)
    np.testing.assert_allclose(bootstrap_mean(right.astype(float), resamples=100), expected)
