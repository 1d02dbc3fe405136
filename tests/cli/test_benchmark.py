"""`anomalib-patchgan benchmark`: jobs that fail alone, results that survive, numbers that are the raw scores'."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_patchgan.benchmark.job import train_and_test
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.benchmark.results import read_job, read_run, read_scores, write_job
from anomalib_patchgan.cli import main
from tests.fakes.comparison import MEAN, PATCHGAN, SIZE, job_files, write_comparison

MARK = "BENCHMARK_TEST_RUN"
# Seconds after which a process that should have ended never will.
GIVE_UP = 300
PADIM = {
    "class_path": "Padim",
    "init_args": {
        "backbone": "efficientnet_lite0_imagenet",
        "layers": ["blocks.1", "blocks.2"],
        "n_features": 20,
        "pre_processor": {
            "class_path": "anomalib.pre_processing.PreProcessor",
            "init_args": {
                "transform": {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [96, 96]}}
            },
        },
    },
}
# Its type is right and its value is not, which only building it can tell.
BROKEN = {"name": "broken", "class_path": "PatchGan", "init_args": {"image_size": [63, 63]}}
KILLED = {"name": "killed", "class_path": "tests.fakes.killed.KilledModel", "init_args": {"image_size": SIZE}}
DIVERGED = {"name": "diverged", "class_path": "tests.fakes.nan_scores.NanScores", "init_args": {"image_size": SIZE}}
FAILING = {"broken", "killed", "diverged"}

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def run(tmp_path_factory, prepared):
    """A run with failing jobs in the middle, its folder and exit code."""
    folder = tmp_path_factory.mktemp("benchmark")
    config = write_comparison(folder / "discs.yaml", prepared, [PATCHGAN, BROKEN, KILLED, DIVERGED, PADIM])
    code = main(["benchmark", "--config", str(config), "--out", str(folder / "run")])
    return folder / "run", config, code


def processes_of(run):
    """Living processes that were started with the mark of a run in their environment, and their commands (Linux)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={run}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found[int(path.name)] = (path / "cmdline").read_bytes()
    return found


def wait_for_the_end_of(processes):
    """Wait for processes that others have started, however busy the machine is; one that stays is an error."""
    for number, command in processes.items():
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(number)
            try:
                ended, _, _ = select.select([process], [], [], GIVE_UP)
            finally:
                os.close(process)
            assert ended, command


def test_failing_models_take_no_other_down(run):
    folder, _, code = run
    assert code == 1
    errors = {result.model: result.error for result in read_run(folder)[1]}
    assert {model for model, error in errors.items() if error is None} == {"PatchGan", "Padim"}
    assert errors.keys() == {"PatchGan", "Padim"} | FAILING
    assert "63" in errors["broken"]
    assert "\n" not in errors["broken"]
    assert errors["killed"] == "the job's process was killed; most likely it ran out of memory"
    assert "broken" in (folder / "summary.md").read_text(encoding="utf-8")
    assert (folder / "report.html").is_file()


def test_scores_that_are_no_numbers_are_no_result(run):
    diverged = read_job(next((run[0] / "jobs").glob("diverged--*.json")))
    assert "finite" in diverged.error
    assert not diverged.metrics
    assert not list((run[0] / "jobs").glob("diverged--*.npz"))


@pytest.mark.parametrize("model", ["patchgan", "padim"])
def test_metrics_are_those_of_the_raw_scores(run, model):
    path = next((run[0] / "jobs").glob(f"{model}--*.json"))
    result, scores = read_job(path), read_scores(path.with_suffix(".npz"))
    assert len(scores.score) == 16
    assert result.metrics["image_AUROC"] == pytest.approx(roc_auc_score(scores.label, scores.score))
    assert result.metrics["image_AP"] == pytest.approx(average_precision_score(scores.label, scores.score))
    assert set(scores.patient) == {"T01", "T02"}
    assert [name.split("/")[0] == "abnormal" for name in scores.image] == scores.label.tolist()
    pixels = int(np.prod(SIZE))
    assert scores.pixel_patient.tolist() == ["T01", "T02"]
    assert (scores.positives.sum(1) + scores.negatives.sum(1)).tolist() == [8 * pixels, 8 * pixels]
    assert (scores.positives.sum(1) > 0).all()
    assert result.metrics["pixel_AUROC"] > 0.5
    assert result.cost["openvino_p50_ms"] > 0


def test_scores_are_neither_normalised_nor_clamped(run):
    path = next((run[0] / "jobs").glob("padim--*.npz"))
    # Mahalanobis distances: anomalib's post-processor would have brought them into [0, 1].
    assert read_scores(path).score.min() > 1


def test_the_table_says_which_backbone_ran(run):
    result = read_job(next((run[0] / "jobs").glob("padim--*.json")))
    assert result.training["backbone"] == "EfficientNet-Lite0, ImageNet"
    assert (result.cost["image_height"], result.cost["image_width"]) == (96, 96)


def test_the_same_seed_gives_the_same_scores_and_another_one_does_not(run, tmp_path):
    folder, config, _ = run
    spec = next(job for job in read_plan(config).jobs if job.model == "PatchGan")
    # In another process than that of the run.
    same, other = (
        train_and_test(replace(spec, seed=seed, measure_cost=False), tmp_path, device=0)[1].score for seed in (0, 1)
    )
    first = read_scores(next((folder / "jobs").glob("patchgan--*.npz"))).score
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)


def test_again_does_only_what_failed(run, capsys):
    folder, config, _ = run
    before = job_files(folder)
    assert main(["benchmark", "--config", str(config), "--out", str(folder), "--resume"]) == 1
    after = job_files(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert {name.split("--")[0] for name in changed} == FAILING
    assert "failed: broken--" in capsys.readouterr().err


def test_force_does_everything_again(prepared, tmp_path):
    config = write_comparison(tmp_path / "mean.yaml", prepared, [MEAN])
    command = ["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    before = job_files(tmp_path / "run")
    assert main(command) == 0
    assert job_files(tmp_path / "run") == before
    assert main([*command, "--force"]) == 0
    assert all(
        job_files(tmp_path / "run")[name] != content for name, content in before.items() if name.endswith("json")
    )


def test_results_of_older_code_count_when_they_are_accepted(prepared, tmp_path, capsys):
    models = [MEAN, {"class_path": "StandardDeviation"}]
    run = tmp_path / "run"
    command = ["benchmark", "--out", str(run), "--no-examples", "--config"]
    assert main([*command, str(write_comparison(tmp_path / "one.yaml", prepared, models[:1]))]) == 0
    (path,) = (run / "jobs").glob("*.json")
    name = path.stem.rsplit("--", 1)[0] + "--"
    # As the same settings would have been named by other code.
    result, scores = read_job(path), read_scores(path.with_suffix(".npz"))
    spec = read_plan(tmp_path / "one.yaml").jobs[0]
    old = replace(spec, code={**result.code, "model": "anomalib_patchgan 0"})
    write_job(run, replace(result, id=old.id, code=old.code), scores)
    for file in (path, path.with_suffix(".npz")):
        file.unlink()
    before = job_files(run)
    command += [str(write_comparison(tmp_path / "two.yaml", prepared, models)), "--accept_older_code"]
    assert main([*command, "--force"]) == 2
    assert "give one of the two" in capsys.readouterr().err
    assert main(command) == 0
    assert {file: content for file, content in job_files(run).items() if file.startswith(name)} == before
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert "1 of 2 jobs are of older code of the model" in summary
    assert "(MeanIntensity)" in summary
    assert main(command[:-1]) == 0
    assert len([file for file in job_files(run) if file.startswith(name) and file.endswith(".json")]) == 2
    assert "older code of the model" not in (run / "summary.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_killed_and_resumed_without_loss(prepared, tmp_path):
    models = [{"name": f"mean {n}", "class_path": "MeanIntensity", "init_args": {"image_size": [64, 64 + 32 * n]}}
              for n in range(4)]  # fmt: skip
    config = write_comparison(tmp_path / "mean.yaml", prepared, models)
    run = tmp_path / "run"
    command = ["benchmark", "--config", str(config), "--out", str(run)]
    with (tmp_path / "log").open("w") as log:
        environment = os.environ | {MARK: str(run)}
        process = subprocess.Popen(
            [sys.executable, "-m", "anomalib_patchgan", *command], stdout=log, stderr=log, env=environment
        )
        while process.poll() is None and not list(run.glob("jobs/*.json")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text(encoding="utf-8")
    # Nothing goes on unseen: neither a job nor the server that starts them.
    while left := processes_of(run):
        wait_for_the_end_of(left)
    done = {name: value for name, value in job_files(run).items() if name.endswith(".json")}
    assert 1 <= len(done) < 4
    assert not (run / "report.html").exists()
    assert main(command) == 0
    after = job_files(run)
    assert all(after[name] == value for name, value in done.items())
    assert sum(name.endswith(".json") for name in after) == 4
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["models"] == [model["name"] for model in models]
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nothing.yaml"], "nothing.yaml cannot be read"),
        (["--config", "{config}", "--out", "{config}"], "cannot be written to"),
    ],
)
def test_mistakes_end_in_one_line(prepared, tmp_path, capsys, arguments, message):
    config = write_comparison(tmp_path / "mean.yaml", prepared, [MEAN])
    assert main(["benchmark", *(word.format(config=config) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("anomalib-patchgan: error: ")
    assert message in error


@pytest.mark.slow
def test_the_shipped_comparison_shortened(repo_root, tmp_path):
    text = (repo_root / "benchmarks" / "phantom.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace("[192, 192]", "[96, 96]"))
    benchmark = config["benchmark"]
    small = {"train_subjects": 3, "val_subjects": 2, "test_subjects": 3, "slices_per_subject": 4}
    benchmark["data"]["init_args"] |= {"cache_dir": str(tmp_path / "phantom"), **small}
    benchmark |= {"seed": 0, "trainer": {"max_epochs": 1, "limit_train_batches": 1}}
    (tmp_path / "phantom.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "models").symlink_to(repo_root / "benchmarks" / "models")
    run = tmp_path / "run"
    assert main(["benchmark", "--config", str(tmp_path / "phantom.yaml"), "--out", str(run)]) == 0
    names = list(dict.fromkeys(job.model for job in read_plan(tmp_path / "phantom.yaml").jobs))
    description, results = read_run(run)
    assert description["models"] == names
    assert sorted(result.model for result in results) == sorted(names)
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert all(name in summary for name in names)
    assert (run / "report.html").stat().st_size > 10_000
    # Only the rule that needs more than the image has no export.
    exported = {result.model for result in results if result.cost["openvino_p50_ms"] is not None}
    assert exported == set(names) - {"SlicePosition"}
