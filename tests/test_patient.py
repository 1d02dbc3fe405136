"""The score of a patient, and what a threshold for it may claim."""

import numpy as np
import pytest

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.patient import (
    PatientThreshold,
    ValidatedSlice,
    comparable_scores,
    find_patient_threshold,
    patient_score,
    rank_of_threshold,
)


def scan(patient, scores, lesions=(), name=""):
    """Slices of a scan, of which some show a lesion."""
    return [ValidatedSlice(patient, name, score, index in lesions) for index, score in enumerate(scores)]


def test_score_is_the_mean_of_the_highest_three():
    scores = np.random.default_rng(0).random(50)
    assert patient_score(scores) == pytest.approx(np.sort(scores)[-3:].mean())
    assert patient_score([0.2, 0.4]) == pytest.approx(0.3)
    assert patient_score([0.7]) == 0.7


def test_part_of_a_scan_scores_as_the_whole_would():
    """The plain mean of three rises with the number of slices; that of an equal share does not."""
    rng = np.random.default_rng(0)
    wholes = rng.beta(2, 5, (2000, 120))
    whole, part, plain = (
        np.mean([patient_score(*arguments) for arguments in cases])
        for cases in (
            [(one,) for one in wholes],
            [(one[:50], 120) for one in wholes],
            [(one[:50],) for one in wholes],
        )
    )
    assert abs(part - whole) < 0.4 * abs(plain - whole)


def test_longer_and_shorter_scans_score_alike():
    rng = np.random.default_rng(0)
    scores = {length: comparable_scores(rng.beta(2, 5, (1000, length))) for length in (30, 60, 120)}
    mixed = comparable_scores([rng.beta(2, 5, length) for length in (30, 60, 120) * 1000])
    plain = {length: np.mean(found) for length, found in scores.items()}
    equal = {length: np.mean(mixed[start::3]) for start, length in enumerate((30, 60, 120))}
    assert max(equal.values()) - min(equal.values()) < 0.4 * (plain[120] - plain[30])


def test_scans_of_one_length_score_as_each_alone():
    scans = np.random.default_rng(0).random((5, 40))
    assert comparable_scores(list(scans)) == [pytest.approx(patient_score(scan)) for scan in scans]
    assert comparable_scores([]) == []


def test_threshold_is_of_equal_shares_of_validation_scans():
    """A thin-sliced healthy patient is not above the others for having many slices."""
    rng = np.random.default_rng(0)
    thick = [one for name in range(9) for one in scan(f"thick{name}", rng.beta(2, 5, 40))]
    thin = scan("thin", rng.beta(2, 5, 400))
    found = find_patient_threshold(thick + thin)
    assert (found.patients, found.slices) == (10, 40)
    assert found.value < patient_score([one.score for one in thin]) - 0.05


def test_threshold_keeps_what_it_claims():
    """New healthy patients exceed it as rarely as it says, for few calibration patients and for many."""
    rng = np.random.default_rng(0)
    for patients, claimed in ((1, 1 / 2), (4, 1 / 5), (39, 0.05)):
        exceeded = []
        for _ in range(1500):
            scores = rng.random(patients + 1)
            slices = [one for name in range(patients) for one in scan(str(name), [scores[name]] * 3)]
            threshold = find_patient_threshold(slices)
            exceeded.append(scores[-1] > threshold.value)
        assert threshold.expected_fpr == pytest.approx(claimed)
        assert np.mean(exceeded) == pytest.approx(claimed, abs=0.04)


def test_place_of_the_threshold():
    assert [rank_of_threshold(number) for number in (1, 2, 18, 19, 20, 38, 39)] == [1, 2, 18, 19, 20, 38, 38]


def test_healthy_patients_come_first():
    sick = scan("sick", [0.9, 0.9, 0.9, 0.2, 0.2, 0.2], lesions={0, 1, 2})
    healthy = scan("healthy", [0.5, 0.3, 0.4, 0.1])
    found = find_patient_threshold(sick + healthy)
    assert (found.source, found.patients, found.slices) == ("healthy patients", 1, 4)
    assert found.value == pytest.approx(0.4)


def test_lesion_free_slices_stand_in_and_lesions_never_count():
    low = scan("a", [0.9, 0.9, 0.3, 0.2, 0.2, 0.1], lesions={0, 1})
    high = scan("b", [0.9, 0.9, 0.4, 0.4, 0.4, 0.4], lesions={0, 1})
    found = find_patient_threshold(low + high)
    assert (found.source, found.patients, found.slices) == ("lesion-free slices", 2, 6)
    assert found.value == pytest.approx(0.4)
    assert found.expected_fpr == pytest.approx(1 / 3)


def test_patient_with_two_scans_is_one_patient():
    found = find_patient_threshold(scan("a", [0.2] * 5, name="1") + scan("a", [0.6] * 9, name="2"))
    assert (found.patients, found.value, found.slices) == (1, pytest.approx(0.6), 7)


@pytest.mark.parametrize(
    "slices",
    [
        [],
        scan("a", [0.5, 0.5]),
        scan("a", [0.5] * 4, lesions=range(4)),
        scan("a", [0.5] * 20, lesions=range(3, 20)),
    ],
)
def test_too_little_gives_no_threshold(slices):
    assert find_patient_threshold(slices) is None


def test_scan_of_another_length_cannot_be_judged():
    threshold = PatientThreshold(value=0.5, source="healthy patients", patients=2, slices=60)
    assert [bool(threshold.misfit(slices)) for slices in (20, 40, 60, 90, 91)] == [True, False, False, False, True]


def test_record_comes_back_and_a_wrong_one_is_refused():
    threshold = PatientThreshold(value=0.5, source="lesion-free slices", patients=2, slices=60)
    record = threshold.as_record()
    assert PatientThreshold.from_record(record) == threshold
    assert PatientThreshold.from_record({}) is None
    for name, value in (
        ("patient_threshold", float("nan")),
        ("patient_threshold", True),
        ("patient_threshold", "0.5"),
        ("patient_threshold_from", ["healthy patients"]),
        ("patient_threshold_from", "the test"),
        ("patient_threshold_patients", 0),
        ("patient_threshold_slices", 1.5),
    ):
        with pytest.raises(DataError, match=f"{name} is out of its range"):
            PatientThreshold.from_record({**record, name: value})
