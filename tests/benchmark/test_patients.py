"""What a job of a comparison says of patients: the threshold is of healthy validation patients, whatever the scale."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from anomalib_patchgan.benchmark.evaluate import Predictions, evaluate
from anomalib_patchgan.measure.patient_scores import ValidatedPatients


def split(patients, slices=4, shift=0.0):
    """Predictions and sample table of patients by name: those that begin with s have a lesion in their last slice."""
    names = np.repeat(patients, slices)
    number = np.tile(np.arange(slices), len(patients))
    label = np.array([name.startswith("s") for name in names]) & (number == slices - 1)
    paths = [f"{name}_{one:02d}.png" for name, one in zip(names, number, strict=True)]
    score = 100 + shift + 10 * np.repeat(np.arange(len(patients)), slices) + number
    table = pd.DataFrame({"image_path": paths, "patient_id": names, "label_index": label.astype(int)})
    found = Predictions(image_path=paths, label=label.tolist(), score=score.tolist())
    return found, SimpleNamespace(samples=table)


def run(test, validation, **of_test):
    (tested, test_data), (validated, val_data) = split(test, **of_test), split(validation)
    data = SimpleNamespace(test_data=test_data, val_data=val_data)
    return evaluate(tested, validated, data, examples=False)[0]


def test_healthy_validation_patients_give_the_threshold():
    found = run(["h0", "h1", "s2", "s3"], ["h0", "s1"], shift=5.0)
    # The mean of the three highest of 100 to 103.
    assert found["thresholds"]["patient"] == 102
    assert found["metrics"]["patient_AUROC_top3"] == 1
    # All test patients score 5 more, so that even the first is above.
    assert (found["metrics"]["patient_sensitivity"], found["metrics"]["patient_specificity"]) == (1, 0)
    lower = run(["h0", "h1", "s2", "s3"], ["h0", "s1"], shift=-10.0)["metrics"]
    assert (lower["patient_sensitivity"], lower["patient_specificity"]) == (1, 1)


def test_without_healthy_patients_there_is_no_threshold():
    found = run(["h0", "s1"], ["s0", "s1"])
    assert found["thresholds"]["patient"] is None
    assert "patient_specificity" not in found["metrics"]
    assert found["metrics"]["patient_AUROC_max"] == 1
    only_sick = run(["s0", "s1"], ["h0", "s1"])["metrics"]
    assert only_sick["patient_AUROC_top3"] is only_sick["patient_specificity"] is None


def test_the_threshold_fits_scans_of_another_length():
    """Test patients of a hundred slices are not above that of validation patients of twenty for having more."""
    rng = np.random.default_rng(0)
    val, test = (np.repeat([f"h{index}" for index in range(50)], length) for length in (20, 100))
    threshold = ValidatedPatients.of(rng.normal(50, 9, val.size), np.zeros(val.size, bool), val)
    labels = np.zeros(test.size, bool)
    labels[-1] = True
    scores = rng.normal(50, 9, test.size)
    assert threshold.judge(scores, labels, test)["patient_specificity"] > 0.9
    plain = [np.sort(scores[test == name])[-3:].mean() for name in np.unique(test)]
    assert np.mean(np.array(plain) > threshold.value) > 0.2
