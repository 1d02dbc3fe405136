"""Patients judged as a whole, and lesion-free parts where nobody is healthy."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anomalib_patchgan.measure.patients import JudgedScan, judge_patients, patient_auroc


def scan(scores, lesions=(), verdict=None, patient=None):
    return JudgedScan(
        slice_scores=dict(enumerate(scores)), lesion_slices=frozenset(lesions), is_anomalous=verdict, patient=patient
    )


def test_healthy_and_sick_patients():
    scans = [
        scan([0.1, 0.2, 0.3], verdict=False),
        scan([0.6, 0.6, 0.6], verdict=True),
        scan([0.9, 0.9, 0.9, 0.1], lesions=[0, 1, 2], verdict=True),
    ]
    found = judge_patients(scans, 0.5)
    assert (found["patients"], found["healthy_patients"], found["patients_with_lesion"]) == (3, 2, 1)
    assert (found["patient_AUROC"], found["false_positive_rate"], found["sensitivity"]) == (1, 0.5, 1)
    # One slice is no part of a scan that could stand for it.
    assert found["lesion_free_parts"] == 0
    assert found["undefined"].keys() == {"false_positive_rate_of_lesion_free_parts"}


def test_lesion_free_parts_where_all_patients_have_a_lesion():
    low = scan([0.9, 0.9, 0.9, 0.2, 0.2, 0.2], lesions=[0, 1, 2], verdict=True)
    high = scan([0.9, 0.9, 0.9, 0.7, 0.7, 0.7], lesions=[0, 1, 2], verdict=True)
    found = judge_patients([low, high], 0.5)
    assert found["patient_AUROC"] is None
    assert found["false_positive_rate"] is None
    assert "all patients have a lesion" in found["undefined"]["patient_AUROC"]
    assert found["undefined"]["false_positive_rate"] == "no healthy patient"
    assert found["false_positive_rate_of_lesion_free_parts"] == pytest.approx(0.5)


def test_without_a_threshold_there_is_no_rate():
    found = judge_patients([scan([0.9, 0.2, 0.2, 0.2], lesions=[0]), scan([0.1, 0.2, 0.3])], None)
    assert found["patient_AUROC"] == 1
    assert found["patients_without_verdict"] == 2
    names = {"sensitivity", "false_positive_rate", "false_positive_rate_of_lesion_free_parts"}
    assert {found[name] for name in names} == {None}
    assert found["undefined"] == dict.fromkeys(names, "the model has no threshold of patients")


def test_auroc_is_that_of_scikit_learn_and_its_interval_narrows_with_patients():
    rng = np.random.default_rng(0)
    widths = []
    for patients in (20, 80):
        labels = np.arange(patients) % 2 == 0
        scores = np.round(rng.normal(labels, 1.0), 1)
        auroc, (low, high) = patient_auroc(scores[None], labels)
        assert auroc == pytest.approx(roc_auc_score(labels, scores))
        assert 0 <= low < auroc < high <= 1
        widths.append(high - low)
    assert widths[1] < 0.7 * widths[0]


@pytest.mark.parametrize(("healthy", "known"), [(4, False), (5, True)])
def test_no_interval_from_a_few_patients_of_one_kind(healthy, known):
    """However many patients of the other kind there are."""
    scores = np.random.default_rng(0).random(40)
    auroc, interval = patient_auroc(scores[None], np.arange(40) >= healthy)
    assert auroc is not None
    assert (interval is not None) == known


def test_interval_of_several_trainings_holds_their_randomness():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2 == 0
    same = np.repeat(rng.normal(labels, 1.0)[None], 3, axis=0)
    other = rng.normal(labels * [[0.2], [1.2], [2.4]], 1.0)
    widths = [high - low for _, (low, high) in (patient_auroc(one, labels) for one in (same, other))]
    assert widths[1] > 1.5 * widths[0]


def test_scans_of_a_patient_count_as_one():
    scans = [
        scan([0.1, 0.1, 0.1], verdict=False, patient="a"),
        scan([0.9, 0.9, 0.9], lesions=[0], verdict=True, patient="a"),
        scan([0.5, 0.5, 0.5], verdict=False, patient="b"),
        scan([0.4, 0.4, 0.4], verdict=None, patient="b"),
    ]
    found = judge_patients(scans, 0.6)
    assert (found["patients"], found["healthy_patients"], found["patients_without_verdict"]) == (2, 1, 0)
    assert (found["patient_AUROC"], found["sensitivity"], found["false_positive_rate"]) == (1, 1, 0)


def test_scans_of_many_slices_are_not_more_anomalous():
    """Healthy scans of thin slices and sick ones of thick slices with the same scores: nothing to be found."""
    rng = np.random.default_rng(0)
    scans = [scan(rng.beta(2, 5, 120)) for _ in range(60)]
    scans += [scan(rng.beta(2, 5, 30), lesions=[3]) for _ in range(60)]
    found = judge_patients(scans, None)
    assert found["patient_AUROC"] == pytest.approx(0.5, abs=0.13)
    low, high = found["patient_AUROC_interval"]
    assert low < 0.5 < high
    plain = [np.sort(list(one.slice_scores.values()))[-3:].mean() for one in scans]
    assert roc_auc_score(np.arange(120) >= 60, plain) < 0.3
