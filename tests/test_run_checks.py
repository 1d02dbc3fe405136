"""What is refused before a results folder is made."""

import re
from pathlib import Path

import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.models import Padim
from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar

from anomalib_patchgan import PatchGan
from anomalib_patchgan.cli import main
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.failures import USAGE_ERROR
from anomalib_patchgan.run_checks import check_checkpoint_file, check_monitors, check_trainer, checkpoint_must_fit
from tests.fakes.prepared import write_prepared_folder

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def model():
    return PatchGan(width=4, depth=2, discriminator_widths=[4, 8])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"accelerator": "abacus"}, "abacus"),
        ({"accelerator": "tpu"}, "without accelerator=tpu"),
        ({"accelerator": "cpu", "devices": 0}, "devices"),
        ({"accelerator": "cpu", "devices": "many"}, "devices"),
        ({"strategy": "luck"}, "luck"),
        ({"precision": "7-bit"}, "7-bit"),
        ({"profiler": "guess"}, "profiler"),
        ({"max_epochs": -3}, "max_epochs"),
        ({"limit_train_batches": -1}, "limit_train_batches"),
    ],
)
def test_settings_that_lightning_refuses_are_one_line(model, settings, match):
    with pytest.raises(ConfigurationError, match=match):
        check_trainer(settings, model)


def test_settings_that_work_pass_and_say_nothing(model, caplog):
    check_trainer({"accelerator": "cpu", "devices": 2, "strategy": "auto", "enable_checkpointing": None}, model)
    assert caplog.text == ""


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
@pytest.mark.parametrize("name", ["image_AUROC", "val_image_F1Score", "pixel_AUROC"])
def test_a_measure_that_no_validation_has_is_refused_with_those_it_has(model, kind, name):
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__} watches monitor={name}, .*; take val_image_AUROC"):
        check_monitors([RichProgressBar(), kind(monitor=name)], model)


def test_a_model_without_validation_measures():
    with pytest.raises(ConfigurationError, match="no validation of Padim measures; take a loss"):
        check_monitors([EarlyStopping(monitor="image_AUROC")], Padim(pre_trained=False))


def test_a_model_from_elsewhere_may_log_what_it_likes(model):
    class Elsewhere(type(model)):
        """A model that nobody here knows."""

    check_monitors([EarlyStopping(monitor="val_loss")], Elsewhere(width=4, depth=2))


def test_measures_and_losses_that_may_exist_pass(model):
    check_monitors([EarlyStopping(monitor=name) for name in ("val_image_AUROC", "train_loss")], model)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {}, [1, 2], torch.zeros(3)])
def test_a_file_of_torch_that_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "weights.ckpt")
    with pytest.raises(ConfigurationError, match=r"weights.ckpt is no checkpoint of a training"):
        check_checkpoint_file(tmp_path / "weights.ckpt")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["train", "--trainer.accelerator", "tpu"], "without accelerator=tpu"),
        (["fit", "--trainer.callbacks", "lightning.pytorch.callbacks.EarlyStopping",
          "--trainer.callbacks.monitor", "image_AUROC"], "take val_image_AUROC"),
        (["test", "--trainer.devices", "0", "--trainer.accelerator", "cpu"], "devices"),
        (["test", "--ckpt_path", "best.ckpt"], "no checkpoint at .*best.ckpt"),
    ],
)  # fmt: skip
def test_the_command_line_refuses_and_writes_nothing(tmp_path, capsys, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    root = write_prepared_folder(tmp_path / "data", slices=1)
    subcommand, *others = arguments
    data = ["--data", "PreparedFolder", "--data.root", str(root), "--data.num_workers", "0"]
    assert main([subcommand, "--model", "PatchGan", *data, *others]) == USAGE_ERROR
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("anomalib-patchgan: error: ")
    assert re.search(match, line), line
    assert sorted(Path().iterdir()) == [Path("data")]


@pytest.mark.parametrize(
    "arguments", [["train"], ["test"], ["export", "--export_type", "openvino", "--compression_type", "INT8_PTQ"]]
)
def test_missing_images_are_asked_for(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    subcommand, *others = arguments
    assert main([subcommand, "--model", "PatchGan", *others]) == USAGE_ERROR
    assert f"{subcommand} needs images" in capsys.readouterr().err.splitlines()[-1]
    assert list(Path().iterdir()) == []


def test_weights_of_another_model_are_explained_and_other_errors_are_not():
    other = torch.nn.Linear(2, 3)
    refusal = pytest.raises(ConfigurationError, match="the checkpoint a.ckpt does not fit the model")
    with refusal, checkpoint_must_fit("a.ckpt"):
        other.load_state_dict(torch.nn.Linear(3, 3).state_dict())
    with pytest.raises(ConfigurationError, match="; give another$"), checkpoint_must_fit("a.ckpt", "give another"):
        other.load_state_dict(torch.nn.Linear(3, 3).state_dict())
    with pytest.raises(ZeroDivisionError), checkpoint_must_fit("a.ckpt"):
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="matrix|shapes"), checkpoint_must_fit("a.ckpt"):
        other(torch.ones(1, 5))
