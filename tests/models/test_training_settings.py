"""Settings that change how PatchGan is trained."""

from pathlib import Path

import pytest
import yaml
from anomalib.data import Folder
from lightning.pytorch import Callback

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.patchgan.corruption import ZeroRectangles
from tests.models.conftest import load_checkpoint, make_data, make_engine, make_model


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": "rmsprop", "clip_value": 1.0, "scheduler": None, "lr": 2e-3, "lr_discriminator": 2e-3},
        {"adversarial_weight": 0.0, "averaging": None},
        {"adversarial_weight": 0.0, "discriminator": "conditional", "evidences": None},
        {"corruption": ZeroRectangles(), "network": "plain", "skip_connections": False, "downscale": 2},
        {"rank_weights": None, "foreground_threshold": None, "patch_weight": 1.0, "distance": "l1"},
    ],
)
def test_other_settings_train(prepared, tmp_path, arguments):
    engine = make_engine(tmp_path, max_epochs=1)
    model = make_model(**arguments)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    engine.fit(model, datamodule=make_data(prepared))
    moved = {name.split(".")[0] for name, value in model.model.state_dict().items() if not value.equal(before[name])}
    trains_d = arguments.get("adversarial_weight") != 0 or "evidences" in arguments
    learned = {"reconstructor", "evidences", "score_scale", "map_scale"}
    assert moved == learned | ({"discriminator"} if trains_d else set())
    assert ("train_loss_discriminator" in engine.trainer.callback_metrics) == trains_d


@pytest.mark.parametrize("name", ["patchgan", "patchgan_paper"])
def test_presets_train(prepared, repo_root, tmp_path, name):
    preset = yaml.safe_load((repo_root / "configs" / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert preset["class_path"] == "anomalib_patchgan.PatchGan"
    model, data = PatchGan(**preset["init_args"]), make_data(prepared)
    engine = make_engine(tmp_path, max_epochs=1)
    engine.fit(model, datamodule=data)
    metrics = engine.trainer.callback_metrics
    assert metrics.keys() >= {"train_loss_reconstruction", "train_loss_adversarial"}
    assert "train_loss_discriminator" in metrics  # it plays in one, and is asked in the other
    assert 0 <= float(metrics["val_image_AUROC"]) <= 1
    data.setup()
    batch = next(iter(data.test_dataloader()))
    prediction = model.eval()(batch.image)
    assert prediction.anomaly_map.shape[-2:] == model.input_size
    assert 0 < prediction.pred_score.min() < prediction.pred_score.max() < 1


class LargestGradients(Callback):
    """Records the largest gradient with which each optimizer steps."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        """Record it."""
        del trainer, pl_module
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        self.values.append(max(float(gradient.abs().max()) for gradient in gradients))


def test_clip_value_limits_every_gradient(prepared, tmp_path):
    recorder = LargestGradients()
    engine = make_engine(tmp_path, max_epochs=1, callbacks=[recorder])
    engine.fit(make_model(clip_value=1e-6), datamodule=make_data(prepared))
    assert recorder.values == pytest.approx([1e-6] * len(recorder.values))
    assert len(recorder.values) == engine.trainer.global_step > 0


class LearningRates(Callback):
    """Records the learning rates of both networks in each epoch."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []

    def on_train_epoch_end(self, trainer, pl_module):
        """Record them."""
        del pl_module
        self.values.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])


@pytest.mark.parametrize(("scheduler", "shares"), [("cosine", [1, 0.75, 0.25]), (None, [1, 1, 1])])
def test_learning_rates_follow_the_schedule(prepared, tmp_path, scheduler, shares):
    recorder = LearningRates()
    model = make_model(lr=0.01, lr_discriminator=0.002, scheduler=scheduler)
    make_engine(tmp_path, max_epochs=3, callbacks=[recorder]).fit(model, datamodule=make_data(prepared))
    assert [rates[0] for rates in recorder.values] == pytest.approx([0.01 * share for share in shares])
    assert [rates[1] for rates in recorder.values] == pytest.approx([0.002 * share for share in shares])


@pytest.mark.parametrize(
    "trainer",
    [
        {"max_epochs": 3, "check_val_every_n_epoch": 2},
        {"max_epochs": 2, "check_val_every_n_epoch": 2, "limit_val_batches": 0},
    ],
)
def test_a_training_that_would_end_without_a_checkpoint_does_not_start(prepared, tmp_path, trainer):
    with pytest.raises(ConfigurationError, match="without a checkpoint of the last epochs.*check_val_every_n_epoch=1"):
        make_engine(tmp_path, **trainer).fit(make_model(), datamodule=make_data(prepared))


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": 0.0},
        {"clip_value": 0.0},
        {"lr_discriminator": -1.0},
        {"adversarial_weight": -1.0},
        {"patch_weight": float("nan")},
        {"distance": "L1"},
        {"scheduler": "step"},
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        make_model(**arguments)


def test_image_size_is_checked_when_the_model_is_made():
    with pytest.raises(DataError, match=r"100x100 pixels.*image_size '\[96, 96\]'"):
        make_model(image_size=(100, 100))


def test_folder_of_anomalib_works_too(prepared, tmp_path):
    data = Folder(
        name="brains",
        root=prepared,
        normal_dir="train/normal",
        abnormal_dir="test/abnormal",
        normal_test_dir="test/normal",
        mask_dir="test/mask",
        num_workers=0,
    )
    engine = make_engine(tmp_path, max_epochs=1)
    (metrics,) = engine.train(make_model(), datamodule=data)
    assert metrics.keys() >= {"image_AUROC", "pixel_AUROC"}


def test_without_validation(prepared, tmp_path):
    model = make_model()
    engine = make_engine(tmp_path, max_epochs=1, limit_val_batches=0)
    engine.fit(model, datamodule=make_data(prepared))
    assert float(model.model.score_scale) != 1
    saved = load_checkpoint(Path(engine.best_model_path))["state_dict"]
    assert float(saved["model.score_scale"]) == float(model.model.score_scale)
    (metrics,) = make_engine(tmp_path / "test").test(model, datamodule=make_data(prepared), verbose=False)
    assert 0 <= metrics["image_AUROC"] <= 1


@pytest.mark.parametrize("again", [{}, {"val_check_interval": 0.5}])
def test_every_validation_in_training_is_calibrated_anew(prepared, tmp_path, again):
    model, data = make_model(), make_data(prepared)
    make_engine(tmp_path / "first", max_epochs=1).fit(model, datamodule=data)
    before = float(model.model.score_scale)
    seen = []

    class Scales(Callback):
        def on_validation_end(self, trainer, pl_module):
            del trainer
            seen.append(float(pl_module.model.score_scale))

    make_engine(tmp_path / "second", max_epochs=1, callbacks=[Scales()], **again).fit(model, datamodule=data)
    assert len({before, *seen}) == 1 + len(seen) == (3 if again else 2)
