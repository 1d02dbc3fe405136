"""Training through the command line: seeds, saved configurations, and how a failing run ends."""

import shutil
from pathlib import Path

import onnx
import pytest
import torch
import yaml

from anomalib_patchgan import PatchGan
from anomalib_patchgan.cli import main
from anomalib_patchgan.cli.anomalib import CHECKPOINT_VARIABLE, PatchGanCLI
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR
from tests.fakes.prepared import write_prepared_folder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A configuration that trains a tiny model for one epoch on tiny images."""
    folder = tmp_path_factory.mktemp("config")
    content = {
        "model": {
            "class_path": "PatchGan",
            "init_args": {
                "width": 4,
                "depth": 2,
                "discriminator": "patch",
                "discriminator_widths": [4, 8],
                "adversarial_weight": 0.01,
            },
        },
        "data": {
            "class_path": "PreparedFolder",
            "init_args": {
                "root": str(write_prepared_folder(folder / "data", slices=2, size=64, seed=0)),
                "train_batch_size": 4,
                "num_workers": 0,
            },
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run_folder(root: Path) -> Path:
    """The one folder that a training left in `root`."""
    (checkpoint,) = [path for path in root.rglob("model.ckpt") if "latest" not in path.parts]
    return checkpoint.parents[2]


def train(config: Path, root: Path, *arguments: str, subcommand: str = "fit") -> dict:
    """Train, and return the weights and buffers that were saved."""
    assert main([subcommand, "--config", str(config), "--default_root_dir", str(root), *arguments]) == 0
    return weights(run_folder(root))


def weights(folder: Path) -> dict:
    """The weights and buffers that a run saved."""
    checkpoint = folder / "weights" / "lightning" / "model.ckpt"
    return torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    """The folder of one training, in which nothing may be changed."""
    root = tmp_path_factory.mktemp("finished")
    train(config, root)
    return root


def copy_training(finished: Path, root: Path) -> Path:
    """Copy what a training left, to go on from there; returns the folder of its run."""
    shutil.copytree(finished, root, symlinks=True, dirs_exist_ok=True)
    folder = run_folder(root)
    # anomalib's link holds a whole path, that of the original.
    (folder.parent / "latest").unlink()
    (folder.parent / "latest").symlink_to(folder)
    return folder


def same(first: dict, second: dict) -> bool:
    """Whether two state dicts are equal bit by bit."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) if isinstance(first[name], torch.Tensor) else first[name] == second[name]
        for name in first
    )


def test_same_seed_gives_the_same_weights_and_another_seed_others(config, tmp_path):
    first = train(config, tmp_path / "first", "--seed_everything", "3")
    torch.rand(7)  # the second run must not depend on the state that the process is in
    assert same(first, train(config, tmp_path / "second", "--seed_everything", "3", subcommand="train"))
    other = train(config, tmp_path / "other", "--seed_everything", "4")
    names = [name for name in first if name.endswith("weight")]
    assert names
    assert not any(torch.equal(first[name], other[name]) for name in names)


def test_a_seed_that_was_drawn_is_saved_and_repeats_the_run(config, tmp_path, monkeypatch):
    drawn = train(config, tmp_path / "drawn")
    saved = run_folder(tmp_path / "drawn") / "config.yaml"
    seed = yaml.safe_load(saved.read_text(encoding="utf-8"))["seed_everything"]
    assert type(seed) is int
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert same(drawn, train(saved, tmp_path / "again"))


def test_test_leaves_the_configuration_of_the_training(config, finished, tmp_path):
    folder = copy_training(finished, tmp_path)
    before = (folder / "config.yaml").read_text(encoding="utf-8")
    checkpoint = folder / "weights" / "lightning" / "model.ckpt"
    arguments = ["--config", str(config), "--default_root_dir", str(tmp_path), "--ckpt_path", str(checkpoint)]
    assert main(["test", *arguments]) == 0
    assert (folder / "config.yaml").read_text(encoding="utf-8") == before
    assert (folder / "config-test.yaml").is_file()


def test_a_resumed_training_tests_the_weights_that_it_ends_with(config, finished, tmp_path, monkeypatch):
    old = weights(copy_training(finished, tmp_path))
    tested = {}

    def remember(module):
        tested.update({name: value.clone() for name, value in module.state_dict().items() if "model." in name})

    monkeypatch.setattr(PatchGan, "on_test_start", remember)
    # `latest` leads to the new run once it has begun.
    (latest,) = tmp_path.rglob("latest")
    arguments = ["--ckpt_path", str(latest / "weights/lightning/model.ckpt"), "--trainer.max_epochs", "2"]
    assert main(["train", "--config", str(config), "--default_root_dir", str(tmp_path), *arguments]) == 0
    checkpoint = latest / "weights" / "lightning" / "model.ckpt"
    new = torch.load(checkpoint, weights_only=True, map_location="cpu")
    assert new["epoch"] == 1
    assert tested
    assert same(tested, {name: new["state_dict"][name] for name in tested})
    assert not same(tested, {name: old[name] for name in tested})
    assert list((latest / "images").rglob("*.png"))


def test_further_processes_take_the_checkpoint_that_the_first_one_found(config, tmp_path, monkeypatch):
    """`latest` leads to the new run's folder when they start."""
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2"}, tmp_path / "old.ckpt")
    (tmp_path / "latest").symlink_to("old.ckpt")
    arguments = ["fit", "--config", str(config), "--ckpt_path", str(tmp_path / "latest")]
    monkeypatch.setenv(CHECKPOINT_VARIABLE, "")
    PatchGanCLI(arguments, run=False)
    (tmp_path / "latest").unlink()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert PatchGanCLI(arguments, run=False).config["fit"]["ckpt_path"] == str(tmp_path / "old.ckpt")


@pytest.mark.parametrize("subcommand", ["fit", "train"])
@pytest.mark.parametrize("key", ["model.init_args.colour", "data.init_args.colour", "trainer.colour", "colour"])
def test_unknown_key_in_a_configuration(config, tmp_path, capsys, subcommand, key):
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    *parents, name = key.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[name] = "red"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main([subcommand, "--config", str(wrong)]) == USAGE_ERROR
    message = capsys.readouterr().err
    assert "colour" in message
    assert "anomalib-patchgan: error: " in message
    assert message.count("\n") == 1, message
    assert "Subtypes" not in message


def last_line(capsys) -> str:
    """The last line on the error stream; anomalib's log lines may stand before it."""
    return capsys.readouterr().err.splitlines()[-1]


def test_empty_data_folder(config, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["--data.init_args.root", str(tmp_path / "empty"), "--default_root_dir", str(tmp_path / "results")]
    assert main(["train", "--config", str(config), *arguments]) == FAILURE
    assert last_line(capsys).startswith("anomalib-patchgan: error: ")


@pytest.mark.parametrize(
    "option", [["--optimizer", "Adam"], ["--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "3"]]
)
def test_optimizers_of_the_command_line_are_refused(config, capsys, option):
    assert main(["fit", "--config", str(config), *option]) == USAGE_ERROR
    assert f"{option[0]} has no effect" in last_line(capsys)


def test_model_argument_out_of_range(config, capsys):
    assert main(["fit", "--config", str(config), "--model.init_args.width", "0"]) == USAGE_ERROR
    message = last_line(capsys)
    assert message.startswith("anomalib-patchgan: error: width ")
    assert "Union" not in message
    assert "Namespace" not in message


def test_missing_checkpoint(config, tmp_path, capsys):
    missing = tmp_path / "no.ckpt"
    assert main(["test", "--config", str(config), "--ckpt_path", str(missing)]) == USAGE_ERROR
    assert f"no checkpoint at {missing}" in last_line(capsys)


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_checkpoint_that_is_cut_off(config, tmp_path, capsys, share):
    whole = tmp_path / "whole.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, whole)
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    assert main(["test", "--config", str(config), "--ckpt_path", str(cut)]) == USAGE_ERROR
    assert f"{cut} is no checkpoint, or only the beginning of one" in last_line(capsys)


def test_checkpoint_that_does_not_fit(config, finished, tmp_path, capsys):
    checkpoint = str(run_folder(finished) / "weights" / "lightning" / "model.ckpt")
    arguments = ["--ckpt_path", checkpoint, "--default_root_dir", str(tmp_path)]
    assert main(["test", "--config", str(config), "--model.init_args.width", "8", *arguments]) == FAILURE
    assert "does not fit this PatchGan" in last_line(capsys)

    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["model"] = {"class_path": "Ganomaly"}
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["test", "--config", str(other), *arguments]) == USAGE_ERROR
    assert "does not fit the model: it belongs to another model" in last_line(capsys)


def test_export_writes_the_onnx_version_that_it_asks_for(finished, tmp_path, caplog):
    checkpoint = run_folder(finished) / "weights" / "lightning" / "model.ckpt"
    arguments = ["--model", "PatchGan", "--ckpt_path", str(checkpoint), "--export_root", str(tmp_path / "exported")]
    assert main(["export", "--export_type", "onnx", *arguments]) == 0
    (path,) = (tmp_path / "exported").rglob("model.onnx")
    assert [opset.version for opset in onnx.load(path).opset_import if opset.domain == ""] == [18]
    assert "Failed to convert" not in caplog.text


def test_commands_of_the_readme_follow_a_training(config, tmp_path):
    """Test, predict and export with what a training left, as the README says."""
    root = ["--default_root_dir", str(tmp_path)]
    callbacks = (
        "[{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: val_image_AUROC, mode: max}}"
    )
    callbacks += ", {class_path: anomalib.callbacks.ModelCheckpoint, init_args: {monitor: val_image_AUROC, mode: max}}]"
    assert main(["fit", "--config", str(config), *root, "--trainer.callbacks", callbacks]) == 0
    (checkpoint,) = {path.resolve() for path in tmp_path.rglob("*.ckpt")}
    saved = str(next(iter(tmp_path.rglob("latest"))).resolve() / "config.yaml")
    images = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["init_args"]["root"] + "/test/abnormal"
    assert main(["test", "--config", saved, "--ckpt_path", str(checkpoint), *root]) == 0
    assert main(["predict", "--config", saved, "--data", images, "--ckpt_path", str(checkpoint), *root]) == 0
    assert len(list(tmp_path.rglob("images/**/*.png"))) >= len(list(Path(images).iterdir()))
    export = ["export", "--model", "PatchGan", "--ckpt_path", str(checkpoint), "--export_type", "openvino"]
    assert main([*export, "--export_root", str(tmp_path)]) == 0
    assert len(list(tmp_path.rglob("model.xml"))) == 1
