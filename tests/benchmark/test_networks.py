"""Rows that take over networks: the scores are those of a training, and a lost file is made again."""

import json
import shutil
from dataclasses import replace

import checkpoints
import numpy as np
import pytest
import torch

from anomalib_patchgan import PreparedFolder
from anomalib_patchgan.benchmark.check import check_plan
from anomalib_patchgan.benchmark.job import train_and_test
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.benchmark.results import read_job, read_scores
from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy.predictor import load_checkpoint
from tests.fakes.comparison import PATCHGAN, job_files, write_comparison
from tests.fakes.prepared import write_prepared_folder

RESTORATION = {"class_path": "anomalib_patchgan.models.patchgan.evidence.Restoration"}
# The second needs no D, though D was trained.
CHANGES = {
    "ranking off": {"rank_weights": None},
    "restoration": {"evidences": [RESTORATION], "image_context": 0.0, "patch_size": 16},
}
SOURCE = {"name": "PatchGan", **PATCHGAN}

pytestmark = pytest.mark.usefixtures("clean_environment")


def write_rows(path, root, **more):
    """Write a comparison whose first rows change what comes after training."""
    arguments = PATCHGAN["init_args"]
    rows = [{**PATCHGAN, "name": name, "init_args": arguments | changes, **more} for name, changes in CHANGES.items()]
    return write_comparison(path, root, [*rows, SOURCE] if more else rows, validate_every=2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Discs whose brightness is comparable, which a model finds out when a training is set up."""
    folder = write_prepared_folder(tmp_path_factory.mktemp("discs"), slices=3)
    (folder / "manifest.json").write_text(json.dumps({"comparable_intensities": True}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, prepared):
    """A run in which two rows take over the networks of the third: the folder and the command."""
    folder = tmp_path_factory.mktemp("shared")
    config = write_rows(folder / "shared.yaml", prepared, networks_of="PatchGan")
    command = ["benchmark", "--config", str(config), "--out", str(folder / "run"), "--no-examples"]
    assert main(command) == 0
    return folder / "run", command


def job_of(run, name):
    """Stem of the files of a row's only job."""
    (path,) = (run / "jobs").glob(f"{name}--*.json")
    return path


def remove(run, name):
    for path in (run / "jobs").glob(f"{name}--*"):
        path.unlink()


def test_scores_are_those_of_a_training(run, prepared, tmp_path):
    plan = check_plan(read_plan(write_rows(tmp_path / "alone.yaml", prepared)))
    for name, spec in zip(("ranking-off", "restoration"), plan.jobs, strict=True):
        path = job_of(run[0], name)
        # Even its name is the same.
        assert spec.id == path.stem
        numbers, alone = train_and_test(replace(spec, measure_cost=False), tmp_path, device=0)
        shared = read_scores(path.with_suffix(".npz"))
        assert np.array_equal(alone.score, shared.score)
        assert np.array_equal(alone.positives, shared.positives)
        assert numbers["metrics"] == read_job(path).metrics
    rows = [read_scores(job_of(run[0], name).with_suffix(".npz")).score for name in ("patchgan", "restoration")]
    assert not np.allclose(*rows)


def test_the_result_says_whose_networks_they_are(run):
    result, source = (read_job(job_of(run[0], name)) for name in ("ranking-off", "patchgan"))
    assert result.training["networks_of"] == "PatchGan"
    assert result.training["epochs"] is result.cost["training_seconds"] is result.cost["peak_memory_MiB"] is None
    assert source.training["networks_of"] is None
    assert source.training["epochs"] == 2
    summary = (run[0] / "summary.md").read_text(encoding="utf-8")
    assert "With the networks of PatchGan, not trained again: ranking off; restoration." in summary


def test_networks_that_are_lost_are_trained_again_and_the_result_stays(run, tmp_path, caplog):
    folder, command = run
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "networks")
    before = job_files(copy)
    score = read_scores(job_of(copy, "restoration").with_suffix(".npz")).score
    command = [word if word != str(folder) else str(copy) for word in command]
    # What is finished needs no networks.
    assert main(command) == 0
    assert not (copy / "networks").exists()
    remove(copy, "restoration")
    caplog.set_level("INFO")
    assert main(command) == 0
    assert "trains again" in caplog.text
    after = job_files(copy)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if name.startswith("restoration")
    }
    assert np.array_equal(read_scores(job_of(copy, "restoration").with_suffix(".npz")).score, score)
    (written,) = (copy / "networks").iterdir()
    assert written.stem == job_of(copy, "patchgan").stem
    for content in (b"PK", None):
        remove(copy, "ranking-off")
        if content:
            written.write_bytes(content)
        else:
            torch.save({"networks": [{}, {}], "images": torch.zeros(1, 3, 64, 64)}, written)
        assert main(command) == 1
        result = read_job(job_of(copy, "ranking-off"))
        assert "holds no networks that fit" in result.error
        assert "\n" not in result.error


def test_kept_networks_make_a_checkpoint_with_the_scores_of_the_comparison(run, tmp_path, capsys):
    folder, _ = run
    out = tmp_path / "made" / "checkpoints"
    command = [str(folder), "--out", str(out)]
    assert checkpoints.main(command) == 0
    source = job_of(folder, "patchgan")
    path = out / f"{source.stem}.ckpt"
    assert capsys.readouterr().out.strip().endswith(str(path))
    # The folders of the engine are gone.
    assert list(out.iterdir()) == [path]
    content = torch.load(path, weights_only=True)["state_dict"]
    kept = torch.load(folder / "networks" / f"{source.stem}.pt", weights_only=True)["networks"]
    assert all(torch.equal(content[f"model.reconstructor.{name}"], value) for name, value in kept[0].items())
    module = load_checkpoint(path)
    data = PreparedFolder(**read_job(source).spec["data_config"]["init_args"])
    data.setup()
    (batch,) = data.test_dataloader()
    with torch.no_grad():
        found = module.model(module.pre_processor(batch.image)).pred_score.numpy()
    assert np.allclose(found, read_scores(source.with_suffix(".npz")).score, rtol=1e-4)
    # What is there stays.
    before = path.stat()
    assert checkpoints.main(command) == 0
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_run_without_networks_makes_no_checkpoint(tmp_path, capsys):
    assert checkpoints.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "keeps no networks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "{", '{"format": 2}'])
def test_networks_without_a_record_say_so(tmp_path, capsys, content):
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "a.pt").touch()
    record = tmp_path / "jobs" / "a.json"
    record.parent.mkdir()
    if content is not None:
        record.write_text(content, encoding="utf-8")
    assert checkpoints.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert str(record) in said
    assert said.count("\n") == 1


def test_networks_that_are_cut_off_say_so(run, tmp_path, capsys):
    shutil.copytree(run[0], tmp_path / "run")
    (kept,) = (tmp_path / "run" / "networks").iterdir()
    kept.write_bytes(kept.read_bytes()[:5000])
    assert checkpoints.main([str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 1
    assert f"{kept} holds no networks that fit" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
