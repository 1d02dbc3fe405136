"""What was written with the names that arguments had before: checkpoints load, everything else is told the new name."""

import logging

import pytest
import torch
import yaml

from anomalib_patchgan import PatchGan
from anomalib_patchgan.cli import main
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.evidence import Restoration
from anomalib_patchgan.renamed import RENAMED, with_new_names
from tests.models.conftest import make_data, make_engine, make_model

SETTINGS = {"intensity_normalization": 0.3, "clean_fraction": 0.5}


@pytest.fixture
def old_checkpoint(tmp_path, prepared):
    """A checkpoint as version 0.1 wrote it, and the model that is in it."""
    engine = make_engine(tmp_path, max_epochs=1)
    model = make_model(**SETTINGS, evidences=[Restoration(mirror=0.0)])
    engine.fit(model, datamodule=make_data(prepared))
    content = torch.load(engine.best_model_path, weights_only=True, map_location="cpu")
    old_names = {new: old for old, new in RENAMED.items()}
    assert set(SETTINGS) == set(old_names)
    content["hyper_parameters"] = {old_names.get(name, name): v for name, v in content["hyper_parameters"].items()}
    torch.save(content, tmp_path / "old.ckpt")
    return tmp_path / "old.ckpt", model.eval()


def test_a_checkpoint_with_old_names_loads_with_its_settings(old_checkpoint):
    path, model = old_checkpoint
    loaded = PatchGan.load_from_checkpoint(path, map_location="cpu").eval()
    assert {name: loaded.hparams[name] for name in SETTINGS} == SETTINGS
    assert not set(RENAMED) & set(loaded.hparams)
    assert loaded.model.intensity_normalization == SETTINGS["intensity_normalization"]
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded(images).anomaly_map, model(images).anomaly_map)


def test_a_checkpoint_with_old_names_is_tested_without_a_warning(old_checkpoint, tmp_path, prepared, caplog):
    path, _ = old_checkpoint
    model = make_model(**SETTINGS, evidences=[Restoration(mirror=0.0)])
    with caplog.at_level(logging.WARNING, logger="anomalib_patchgan"):
        make_engine(tmp_path / "test").test(model, datamodule=make_data(prepared), ckpt_path=path)
    assert "other settings" not in caplog.text


def test_a_setting_that_no_version_knows_any_more_is_left_out(old_checkpoint):
    path, _ = old_checkpoint
    content = torch.load(path, weights_only=True, map_location="cpu")
    content["hyper_parameters"]["hide"] = "boxes"
    torch.save(content, path)
    assert "hide" not in PatchGan.load_from_checkpoint(path, map_location="cpu").hparams


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_code_is_told_the_new_name_of_an_argument(old, new):
    with pytest.raises(ConfigurationError, match=f"PatchGan takes no argument '{old}'; it is called {new} now$"):
        PatchGan(**{old: 0.5})
    assert with_new_names({old: 1, "width": 2}) == {new: 1, "width": 2}


def test_an_argument_that_never_was_is_refused():
    with pytest.raises(ConfigurationError, match="PatchGan takes no argument 'widht'$"):
        PatchGan(widht=8)


@pytest.mark.parametrize("way", ["config", "option"])
def test_the_command_line_is_told_the_new_name(tmp_path, capsys, way):
    if way == "config":
        config = tmp_path / "old.yaml"
        model = "{class_path: anomalib_patchgan.PatchGan, init_args: {spared: 0.5}}"
        config.write_text(f"model: {model}\n", encoding="utf-8")
        arguments = ["--config", str(config), "--data", "BrainPhantom"]
    else:
        arguments = ["--model", "PatchGan", "--model.init_args.spared", "0.5", "--data", "BrainPhantom"]
    assert main(["train", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "'spared' is not accepted; it is called clean_fraction now" in line


def test_a_benchmark_is_told_the_new_name_once(tmp_path, prepared, capsys):
    data = {"class_path": "PreparedFolder", "init_args": {"root": str(prepared)}}
    model = {"class_path": "PatchGan", "init_args": {"spared": 0.5}}
    config = tmp_path / "old.yaml"
    config.write_text(yaml.safe_dump({"benchmark": {"data": data, "model": model}}), encoding="utf-8")
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "'spared' is not accepted" in line
    assert line.count("it is called clean_fraction now") == 1
