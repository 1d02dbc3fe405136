"""Training finds the threshold of patients on validation patients and stores it; older checkpoints have none."""

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import InferenceBatch
from PIL import Image

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.components.post_processor import RankPreservingPostProcessor
from anomalib_patchgan.models.components.slice_scores import SliceScores
from anomalib_patchgan.patient import PatientThreshold, patient_score
from tests.fakes.prepared import write_prepared_folder
from tests.models.conftest import load_checkpoint, make_data, make_engine


def test_checkpoint_holds_the_score_of_the_validation_patients(trained, prepared):
    data = make_data(prepared)
    data.setup()
    module = trained.load()
    table = data.val_data.samples
    scores = {}
    for patient, rows in table.groupby("patient_id"):
        images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in rows.image_path])
        with torch.inference_mode():
            found = module(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).pred_score.numpy()
        scores[patient] = patient_score(found[(rows.label_index == 0).to_numpy()], len(rows))
    assert module.patient_threshold.source == "lesion-free slices"
    assert module.patient_threshold.patients == len(scores)
    assert module.patient_threshold.slices == 8
    assert module.patient_threshold.value == pytest.approx(max(scores.values()), abs=1e-5)


def test_checkpoint_without_it_still_loads(trained, tmp_path):
    content = load_checkpoint(trained.checkpoint)
    for name in [name for name in content if name.startswith("patient_threshold")]:
        del content[name]
    torch.save(content, tmp_path / "old.ckpt")
    assert PatchGan.load_from_checkpoint(tmp_path / "old.ckpt", map_location="cpu").patient_threshold is None


class Data:
    """A data module whose validation and test have one table."""

    def __init__(self, **columns):
        names = [f"p{index}.png" for index in range(4)]
        known = {"image_path": names, "label_index": 0, "patient_id": "p", "slice": range(4)} | columns
        self.val_data = self.test_data = self
        self.samples = pd.DataFrame({name: values for name, values in known.items() if values is not None}, range(4))


def find(data, threshold=0.25):
    """Threshold of four slices with the scores 0.1, 0.2, 0.3 and 0.4."""
    processor = RankPreservingPostProcessor()
    processor._image_threshold.fill_(threshold)
    slices = SliceScores()
    slices.add([f"p{index}.png" for index in range(4)], torch.tensor([0.1, 0.2, 0.3, 0.4]))
    return slices.find_threshold(data, processor)


def test_scores_are_normalised_as_at_inference():
    expected = np.mean([0.4, 0.5 + 0.5 * 0.05 / 0.75, 0.5 + 0.5 * 0.15 / 0.75])
    assert find(Data()).value == pytest.approx(expected, abs=1e-6)
    assert isinstance(find(Data()), PatientThreshold)


@pytest.mark.parametrize(
    "columns", [{"patient_id": None}, {"slice": None}, {"slice": [0, 0, 1, 2]}, {"patient_id": list("abcd")}]
)
def test_images_that_are_no_slices_of_patients_give_none(columns):
    """No patients, no slice numbers, several tiles of a slice, and single images."""
    assert find(Data(**columns)) is None


def test_scans_of_a_patient_may_share_slice_numbers():
    found = find(Data(slice=[0, 1, 2, 0], case=["a", "a", "a", "b"]))
    assert (found.patients, found.slices) == (1, 3)


def test_without_a_threshold_of_slices_there_is_none():
    assert find(Data(), threshold=float("nan")) is None


def judge(threshold=None, **columns):
    """Test metrics of patients of two slices each, the scores of which rise from image to image."""
    count = len(columns["patient_id"])
    names = [f"p{index}.png" for index in range(count)]
    known = {"image_path": names, "slice": [index % 3 for index in range(count)]} | columns
    data = Data()
    data.samples = pd.DataFrame(known)
    slices = SliceScores()
    slices.add(names, torch.linspace(0.1, 0.9, count))
    return slices.patient_metrics(data, threshold)


def patients_of(healthy, sick):
    names = [f"h{index}" for index in range(healthy)] + [f"s{index}" for index in range(sick)]
    labels = np.repeat([name.startswith("s") for name in names], 3).astype(int)
    return {"patient_id": np.repeat(names, 3), "label_index": labels}


def test_healthy_patients_of_the_test_are_told_from_others():
    threshold = PatientThreshold(value=0.3, source="healthy patients", patients=3, slices=3)
    found = judge(threshold, **patients_of(6, 6))
    assert found == {
        "patient_AUROC": 1.0,
        "patient_AUROC_low": 1.0,
        "patient_AUROC_high": 1.0,
        "patient_sensitivity": 1.0,
        # Of six healthy patients the scores of the last three are above.
        "patient_specificity": pytest.approx(0.5),
    }
    assert judge(threshold, **patients_of(2, 3)).keys() == {
        "patient_AUROC",
        "patient_sensitivity",
        "patient_specificity",
    }
    assert judge(None, **patients_of(6, 6)).keys() == {"patient_AUROC", "patient_AUROC_low", "patient_AUROC_high"}


def test_without_healthy_patients_or_for_tiles_nothing_is_measured_of_patients():
    assert judge(**patients_of(0, 6)) == {}
    assert judge(**patients_of(6, 6), slice=0) == {}
    assert SliceScores().patient_metrics(None, None) == {}


def test_scans_of_other_lengths_have_no_verdict():
    threshold = PatientThreshold(value=0.3, source="healthy patients", patients=3, slices=60)
    found = judge(threshold, **patients_of(6, 6))
    assert "patient_specificity" not in found
    assert found["patient_AUROC"] == 1


@pytest.fixture
def with_healthy(tmp_path):
    """A prepared folder whose test has six healthy patients beside two others, of eight slices each."""
    folder = write_prepared_folder(tmp_path / "data", seed=0)
    others = write_prepared_folder(
        tmp_path / "others", patients=[f"H{index}" for index in range(6)], slices=8, seed=1, train_lesions=False
    )
    for path in (others / "train" / "normal").iterdir():
        path.rename(folder / "test" / "normal" / path.name)
    return folder


def test_a_test_logs_patients_beside_images_and_pixels(trained, with_healthy, tmp_path):
    data, module = make_data(with_healthy), trained.load()
    (metrics,) = make_engine(tmp_path / "run").test(module, datamodule=data, ckpt_path=trained.checkpoint)
    threshold, scores = module.patient_threshold, {}
    for patient, rows in data.test_data.samples.groupby("patient_id"):
        images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in rows.image_path])
        with torch.inference_mode():
            raw = module.model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).pred_score
        scores[patient] = patient_score(module.post_processor(InferenceBatch(pred_score=raw)).pred_score.numpy())
    healthy = [score for patient, score in scores.items() if patient.startswith("H")]
    sick = [score for patient, score in scores.items() if patient.startswith("T")]
    assert (len(healthy), len(sick)) == (6, 2)
    assert metrics["patient_AUROC"] == pytest.approx(np.mean(np.greater.outer(sick, healthy)))
    assert metrics["patient_specificity"] == pytest.approx(np.mean(np.array(healthy) <= threshold.value))
    assert metrics["patient_sensitivity"] == pytest.approx(np.mean(np.array(sick) > threshold.value))
    assert metrics["image_AUROC"] > 0.5
    # Two patients with a lesion are too few for an interval.
    assert "patient_AUROC_low" not in metrics


def test_a_test_without_healthy_patients_logs_none(trained, prepared, tmp_path):
    (metrics,) = make_engine(tmp_path).test(trained.load(), datamodule=make_data(prepared))
    assert not any(name.startswith("patient") for name in metrics)
