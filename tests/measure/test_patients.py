"""Patients judged as a whole, and lesion-free parts where nobody is healthy."""

import pytest

from anomalib_patchgan.measure.patients import JudgedScan, judge_patients


def scan(scores, lesions=(), verdict=None):
    return JudgedScan(slice_scores=dict(enumerate(scores)), lesion_slices=frozenset(lesions), is_anomalous=verdict)


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
