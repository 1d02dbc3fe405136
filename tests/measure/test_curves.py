"""Metrics from cumulative counts agree with scikit-learn, for one curve and for a stack of them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure import curves


def best_f1(labels, scores, weights):
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights)
    return np.nan_to_num(2 * precision * recall / np.maximum(precision + recall, 1e-30)).max()


@pytest.mark.parametrize("levels", [3, 1000])
def test_stack_of_weighted_curves(levels):
    generator = np.random.default_rng(levels)
    labels = generator.random(80) < 0.3
    scores = generator.integers(levels, size=80) + levels * 0.2 * labels
    weights = generator.integers(0, 4, size=(6, 80))
    thresholds = np.unique(scores)[::-1]
    above = scores[:, None] >= thresholds
    true_positives, false_positives = (weights * labels) @ above * 1.0, (weights * ~labels) @ above * 1.0
    for row, weight in enumerate(weights):
        expected = (
            roc_auc_score(labels, scores, sample_weight=weight),
            average_precision_score(labels, scores, sample_weight=weight),
            best_f1(labels, scores, weight),
        )
        values = [
            compute(true_positives, false_positives)[row]
            for compute in (curves.auroc, curves.average_precision, curves.best_dice)
        ]
        np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("compute", [curves.auroc, curves.average_precision, curves.best_dice])
def test_one_class_is_nan(compute):
    some, none = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    assert np.isnan(compute(some, none)).all()
    assert np.isnan(compute(none, some)).all()
    assert np.isnan(compute(none, none)).all()
    assert np.isfinite(compute(some, some)).all()


def test_require_finite_counts_the_bad_values():
    curves.require_finite(np.zeros(3), "scores")
    with pytest.raises(DataError, match="2 of 4 scores"):
        curves.require_finite(np.array([0, np.nan, -np.inf, 1]), "scores")
