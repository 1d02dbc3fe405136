"""Training finds the threshold of patients on validation patients and stores it; older checkpoints have none."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.components import RankPreservingPostProcessor
from anomalib_patchgan.models.validated_slices import ValidatedSlices
from anomalib_patchgan.patient import PatientThreshold, patient_score
from tests.models.conftest import load_checkpoint, make_data


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
    """A data module with a validation table."""

    def __init__(self, **columns):
        names = [f"p{index}.png" for index in range(4)]
        known = {"image_path": names, "label_index": 0, "patient_id": "p", "slice": range(4)} | columns
        self.val_data = self
        self.samples = pd.DataFrame({name: values for name, values in known.items() if values is not None}, range(4))


def find(data, threshold=0.25):
    """Threshold of four slices with the scores 0.1, 0.2, 0.3 and 0.4."""
    processor = RankPreservingPostProcessor()
    processor._image_threshold.fill_(threshold)
    slices = ValidatedSlices()
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
