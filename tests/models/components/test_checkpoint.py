"""The post-processor that keeps the order of scores, and the check of a checkpoint's weights."""

import math

import pytest
import torch
from anomalib.data import InferenceBatch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.models.components.checkpoint import check_checkpoint
from anomalib_patchgan.models.components.post_processor import RankPreservingPostProcessor


def normalize(scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Normalised scores of a post-processor whose validation scores were in a narrow range."""
    post_processor = RankPreservingPostProcessor()
    post_processor._image_threshold.fill_(threshold)
    post_processor.image_min.fill_(0.3)
    post_processor.image_max.fill_(0.4)
    return post_processor(InferenceBatch(pred_score=scores, anomaly_map=scores.view(-1, 1, 1, 1))).pred_score


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=3, unique=True), st.floats(0.01, 0.99))
def test_order_survives(numbers, threshold):
    scores = torch.tensor(sorted(numbers)) / 1000
    assert (normalize(scores, threshold).diff() > 0).all()


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.35, 0.95, 1.0, math.nan])
def test_auroc_is_the_same_before_and_after(threshold):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    scores = (0.3 + 0.2 * torch.rand(200, generator=generator) + 0.1 * labels).clamp(0, 1)
    before = binary_auroc(scores, labels)
    assert 0.5 < before < 1
    assert float(binary_auroc(normalize(scores, threshold), labels)) == pytest.approx(float(before), abs=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7, 1.0])
def test_threshold_goes_to_one_half_and_the_ends_stay(threshold):
    result = normalize(torch.tensor([0.0, threshold, 1.0]), threshold).tolist()
    assert result[0] == pytest.approx(0, abs=1e-6) or threshold == 0
    assert result[1] == pytest.approx(0.5, abs=0.5 if threshold in {0, 1} else 1e-6)
    assert result[2] == pytest.approx(1, abs=1e-6)
    assert all(0 <= value <= 1 for value in result)


def test_without_a_threshold_scores_stay():
    scores = torch.tensor([0.1, 0.5, 0.9])
    assert torch.equal(normalize(scores, math.nan), scores)


def test_label_says_on_which_side_of_the_threshold_a_score_lies():
    post_processor = RankPreservingPostProcessor()
    post_processor._image_threshold.fill_(0.02)
    scores = torch.tensor([0.01, 0.0199, 0.0201, 0.9])
    labels = post_processor(InferenceBatch(pred_score=scores, anomaly_map=scores.view(-1, 1, 1, 1))).pred_label
    assert labels.tolist() == [False, False, True, True]


SETTINGS = {"image_size": (32, 32), "downscale": 1, "width": 4, "depth": 2, "discriminator_widths": (4, 4)}


@pytest.fixture
def model() -> PatchGan:
    return PatchGan(**SETTINGS)


def checkpoint_of(model: PatchGan) -> dict:
    return {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}


def test_own_checkpoint_passes(model):
    check_checkpoint(model, checkpoint_of(model))


@pytest.mark.parametrize("state", [{}, {"model.backbone.weight": torch.ones(3)}, {"other": torch.ones(3)}])
def test_checkpoint_of_another_model(model, state):
    with pytest.raises(
        DataError, match="holds none of the weights of PatchGan, it is another model's; give one of PatchGan"
    ) as caught:
        check_checkpoint(model, {"state_dict": state})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("width", 8), ("depth", 3), ("network", "plain")])
def test_checkpoint_of_other_settings_names_them(model, name, value):
    other = PatchGan(**(SETTINGS | {name: value}))
    with pytest.raises(DataError, match=f"does not fit.*{name}={value!r} \\(now {model.hparams[name]!r}\\)") as caught:
        check_checkpoint(model, checkpoint_of(other))
    assert "\n" not in str(caught.value)


def test_settings_that_change_scores_but_not_weights_are_warned_of(model, caplog):
    other = PatchGan(**SETTINGS, patch_size=5, rank_weights=[1.0, 0.5])
    check_checkpoint(model, checkpoint_of(other))
    assert "patch_size=5 (now " in caplog.text
    assert "rank_weights=" in caplog.text
    assert "discriminator_widths" not in caplog.text


def test_message_about_settings_stays_one_line_with_components(model):
    other = PatchGan(**(SETTINGS | {"width": 8}), post_processor=RankPreservingPostProcessor())
    with pytest.raises(DataError, match="width=8") as caught:
        check_checkpoint(model, checkpoint_of(other))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_broken_weights(model, bad):
    checkpoint = checkpoint_of(model)
    name = "model.reconstructor.head.bias"
    checkpoint["state_dict"][name] = torch.full_like(checkpoint["state_dict"][name], bad)
    with pytest.raises(DataError, match=f"NaN or infinite.*{name}.*use an earlier one"):
        check_checkpoint(model, checkpoint)
