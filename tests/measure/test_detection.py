"""Metrics of images and patients agree with brute force over all thresholds."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure.detection import f1_threshold, image_metrics, patient_metrics, stratum_metrics


@pytest.fixture(params=[5, 10**6], ids=["ties", "distinct"])
def case(request):
    """Scores beyond [0, 1], which clamping would tie."""
    generator = np.random.default_rng(request.param)
    labels = generator.random(300) < 0.4
    return (generator.integers(request.param, size=300) / request.param + 0.4 * labels) * 100, labels


def test_image_metrics(case):
    scores, labels = case
    metrics = image_metrics(scores, labels, threshold=70.0)
    assert metrics["image_AUROC"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-15)
    assert metrics["image_AP"] == pytest.approx(average_precision_score(labels, scores), abs=1e-15)
    assert metrics["image_F1"] == f1_score(labels, scores >= 70.0)
    for percent in (1, 5):
        rates = [((scores >= t)[~labels].mean(), (scores >= t)[labels].mean()) for t in [*np.unique(scores), np.inf]]
        expected = max(tpr for fpr, tpr in rates if fpr <= percent / 100)
        assert metrics[f"image_TPR_at_{percent}FPR"] == expected


def test_fpr_of_exactly_the_limit_counts():
    labels = np.arange(101) == 100
    scores = np.arange(101.0)
    scores[100] = 98.5
    assert image_metrics(scores, labels, None)["image_TPR_at_1FPR"] == 1.0
    scores[100] = 97.5
    assert image_metrics(scores, labels, None)["image_TPR_at_1FPR"] == 0.0


def test_f1_threshold_is_the_lowest_of_the_best(case):
    scores, labels = case
    candidates = np.unique(scores)
    f1 = np.array([f1_score(labels, scores >= threshold) for threshold in candidates])
    assert f1_threshold(scores, labels) == candidates[np.flatnonzero(np.isclose(f1, f1.max(), rtol=1e-12))[0]]


def test_f1_threshold_without_lesions_finds_no_validation_image():
    scores = np.array([0.3, 0.7, 0.5])
    threshold = f1_threshold(scores, np.zeros(3, dtype=bool))
    assert not (scores >= threshold).any()
    assert threshold == pytest.approx(0.7, rel=1e-15)


def test_f1_threshold_of_no_image():
    with pytest.raises(DataError, match="validation"):
        f1_threshold(np.zeros(0), np.zeros(0, dtype=bool))


@pytest.mark.parametrize("lesion", [False, True])
def test_one_class_is_undefined(lesion):
    labels = np.full(4, lesion)
    scores = np.arange(4.0)
    assert set(image_metrics(scores, labels, 1.0).values()) == {None}
    assert set(patient_metrics(scores, labels, np.array(["a", "a", "b", "b"])).values()) == {None}
    assert image_metrics(scores, np.arange(4) > 1, None)["image_F1"] is None


@pytest.mark.parametrize("compute", [image_metrics, patient_metrics, stratum_metrics, f1_threshold])
def test_nan_is_refused(compute):
    data = [np.array([0.0, np.nan, np.inf]), np.array([True, False, False])]
    extra = {image_metrics: [None], f1_threshold: []}.get(compute, [np.array(["a", "b", "c"])])
    with pytest.raises(DataError, match="2 of 3 scores"):
        compute(*data, *extra)


def test_patient_metrics():
    patients = np.array(["b", "a", "b", "a", "c", "c", "c", "c", "d"])
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 0, 0], dtype=bool)
    scores = np.array([6, 1, 4, 5, 0, 7, 1, 1, 3], dtype=float)
    # Abnormal: a (max 5, mean 3) and c (7, 2.25); normal: b (6, 5) and d (3, 3).
    assert patient_metrics(scores, labels, patients) == {
        "patient_AUROC_max": 0.75,
        "patient_AUROC_top3": pytest.approx((0.5 + 0 + 0 + 0) / 4),
    }


def test_patients_with_more_images_are_not_more_anomalous():
    """Healthy patients of thin slices and sick ones of thick slices whose scores are no higher: nothing to be found."""
    rng = np.random.default_rng(0)
    lengths = [120] * 60 + [30] * 60
    patients = np.repeat([f"p{index:03d}" for index in range(120)], lengths)
    labels = np.repeat(np.arange(120) >= 60, lengths)
    metrics = patient_metrics(rng.beta(2, 5, patients.size), labels, patients)
    assert metrics["patient_AUROC_max"] < 0.25
    assert metrics["patient_AUROC_top3"] == pytest.approx(0.5, abs=0.13)


def test_stratum_metrics(case):
    scores, labels = case
    strata = np.where(labels, np.where(np.arange(300) % 3 == 0, "large", "small"), "")
    strata[np.flatnonzero(labels)[0]] = ""
    metrics = stratum_metrics(scores, labels, strata)
    assert set(metrics) == {"large", "small"}
    for name, values in metrics.items():
        these = np.concatenate([scores[strata == name], scores[~labels]])
        truth = np.arange(these.size) < (strata == name).sum()
        assert values["image_AUROC"] == pytest.approx(roc_auc_score(truth, these), abs=1e-15)
        assert values["image_AP"] == pytest.approx(average_precision_score(truth, these), abs=1e-15)
    assert stratum_metrics(scores, labels, np.full(300, "")) == {}
