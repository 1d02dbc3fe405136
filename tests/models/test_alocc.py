"""ALOCC's networks, score and game."""

import numpy as np
import pytest
import torch

from anomalib_patchgan import Alocc
from anomalib_patchgan.errors import ConfigurationError, TrainingDivergedError
from anomalib_patchgan.models.alocc.torch_model import AloccModel
from tests.models.conftest import SIZE, make_data, make_engine

SMALL = {"width": 4, "depth": 2, "discriminator_widths": (4, 8)}


@pytest.fixture
def model() -> AloccModel:
    torch.manual_seed(0)
    return Alocc(None, smoothing=0, **SMALL).model.eval()


def test_score_follows_the_negative_log_probability_of_the_restoration(model):
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        restored = model.reconstructor(images)
        logits = model.discriminator(restored).numpy()
        prediction = model(images)
    assert logits.shape[0] == 4
    surprise = np.log1p(np.exp(-logits.mean((1, 2, 3))))
    np.testing.assert_allclose(prediction.pred_score, surprise / (surprise + 1), atol=1e-6)
    residual = np.abs((images - restored).numpy()).mean(1)
    np.testing.assert_allclose(prediction.anomaly_map[:, 0], residual / (residual + 1), atol=1e-6)


def test_calibration_changes_the_map_and_not_the_score(model):
    images = torch.rand(4, 3, 32, 32)
    before = model(images)
    model.calibrate(images)
    after = model(images)
    assert torch.equal(before.pred_score, after.pred_score)
    assert not torch.equal(before.anomaly_map, after.anomaly_map)


def test_noise_has_its_standard_deviation_and_is_for_training_only(model):
    images = torch.zeros(8, 3, 64, 64)
    torch.manual_seed(0)
    assert float(model.disturb(images).std()) == pytest.approx(0.155, rel=0.02)
    assert torch.equal(model(images).pred_score, model(images).pred_score)


def test_one_logit_for_the_whole_image(model):
    images = torch.rand(2, 3, 32, 32)
    far = images.clone()
    far[0, :, -4:, -4:] = 0
    with torch.no_grad():
        first, second = model.discriminate(images), model.discriminate(far)
    assert first.shape == (2,)
    assert first[0] != second[0]
    assert first[1] == second[1]


def test_both_networks_train_and_all_losses_are_logged(prepared, tmp_path):
    torch.manual_seed(0)
    module = Alocc(SIZE, **SMALL, visualizer=False)
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    engine = make_engine(tmp_path, max_epochs=1)
    engine.fit(module, datamodule=make_data(prepared))
    moved = {name.split(".")[0] for name, value in module.model.state_dict().items() if not value.equal(before[name])}
    assert moved == {"reconstructor", "discriminator", "score_scale", "map_scale"}
    metrics = {name: float(value) for name, value in engine.trainer.callback_metrics.items()}
    expected = 0.2 * metrics["train_loss_reconstruction"] + metrics["train_loss_adversarial"]
    assert metrics["train_loss"] == pytest.approx(expected, rel=1e-4)
    assert metrics["train_loss_discriminator"] > 0


def test_message_names_the_arguments_to_lower(prepared, tmp_path):
    module = Alocc(SIZE, **SMALL, lr_discriminator=1e30)
    with pytest.raises(TrainingDivergedError, match="lower lr or lr_discriminator, or set clip_value"):
        make_engine(tmp_path, max_epochs=10).fit(module, datamodule=make_data(prepared))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -0.1}, "sigma must not be negative"),
        ({"lambda_reconstruction": -1.0}, "lambda_reconstruction must not be negative"),
        ({"lr_discriminator": 0.0}, "lr_discriminator must be positive"),
        ({"discriminator_widths": ()}, "discriminator_widths must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Alocc(**arguments)
