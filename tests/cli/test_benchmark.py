"""`anomalib-patchgan benchmark`: jobs that fail alone, results that survive, numbers that are the raw scores'."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from anomalib.data import Folder
from lightning.pytorch import seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_patchgan.benchmark.check import set_up
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.benchmark.results import read_result, read_run, read_scores, write_job
from anomalib_patchgan.cli import main
from tests.fakes.prepared import write_prepared_folder

MARK = "BENCHMARK_TEST_RUN"
SIZE = [64, 64]
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
PATCHGAN = {"class_path": "PatchGan", "init_args": {"image_size": SIZE, "depth": 2, "downscale": 1, "width": 8}}
# Its type is right and its value is not, which only building it can tell.
BROKEN = {"name": "broken", "class_path": "PatchGan", "init_args": {"image_size": [63, 63]}}

pytestmark = pytest.mark.usefixtures("clean_environment")


def write_config(path, root, models, seed=0):
    """Write a benchmark of a prepared folder."""
    data = {
        "name": "discs",
        "class_path": "PreparedFolder",
        "init_args": {"root": str(root), "train_batch_size": 8, "num_workers": 0, "val_split_ratio": 0.4},
    }
    trainer = {"max_epochs": 2, "check_val_every_n_epoch": 1}
    benchmark = {"seed": seed, "evaluation_size": SIZE, "trainer": trainer, "data": data, "model": {"grid": models}}
    path.write_text(yaml.safe_dump({"accelerator": ["cpu"], "benchmark": benchmark}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Discs with bright lesions."""
    return write_prepared_folder(tmp_path_factory.mktemp("discs"), slices=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory, prepared):
    """A run with a failing job in the middle, its folder and exit code."""
    folder = tmp_path_factory.mktemp("benchmark")
    config = write_config(folder / "discs.yaml", prepared, [PATCHGAN, BROKEN, PADIM])
    code = main(["benchmark", "--config", str(config), "--out", str(folder / "run")])
    return folder / "run", config, code


def processes_of(run):
    """Living processes that were started with the mark of a run in their environment (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={run}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes())
    return found


def files(folder):
    """Content and time of every job file."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted((folder / "jobs").iterdir())}


def test_a_failing_model_takes_no_other_down(run):
    folder, _, code = run
    _, results = read_run(folder)
    assert code == 1
    assert {result.model: result.error is None for result in results} == {
        "PatchGan": True, "broken": False, "Padim": True
    }  # fmt: skip
    broken = next(result for result in results if result.error)
    assert "63" in broken.error
    assert "\n" not in broken.error
    assert "broken" in (folder / "summary.md").read_text(encoding="utf-8")
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("model", ["patchgan", "padim"])
def test_metrics_are_those_of_the_raw_scores(run, model):
    path = next((run[0] / "jobs").glob(f"{model}--*.json"))
    result, scores = read_result(path), read_scores(path.with_suffix(".npz"))
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
    result = read_result(next((run[0] / "jobs").glob("padim--*.json")))
    assert result.training["backbone"] == "EfficientNet-Lite0, ImageNet"
    assert (result.cost["image_height"], result.cost["image_width"]) == (96, 96)


def test_the_same_seed_gives_the_same_scores_and_another_one_does_not(run, prepared, tmp_path):
    config = write_config(tmp_path / "again.yaml", prepared, [PATCHGAN], seed={"grid": [0, 1]})
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    first = read_scores(next((run[0] / "jobs").glob("patchgan--*.npz"))).score
    same, other = (
        read_scores(next((tmp_path / "run" / "jobs").glob(f"patchgan--discs--seed-{seed}--*.npz"))).score
        for seed in (0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)


def test_again_does_only_what_failed(run, capsys):
    folder, config, _ = run
    before = files(folder)
    assert main(["benchmark", "--config", str(config), "--out", str(folder), "--resume"]) == 1
    after = files(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert {name.split("--")[0] for name in changed} == {"broken"}
    assert "failed: broken--" in capsys.readouterr().err


def test_force_does_everything_again(prepared, tmp_path):
    config = write_config(tmp_path / "mean.yaml", prepared, [{"class_path": "MeanIntensity"}])
    command = ["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    before = files(tmp_path / "run")
    assert main(command) == 0
    assert files(tmp_path / "run") == before
    assert main([*command, "--force"]) == 0
    assert all(files(tmp_path / "run")[name] != content for name, content in before.items() if name.endswith("json"))


def test_results_of_older_code_count_when_they_are_accepted(prepared, tmp_path, capsys):
    models = [{"class_path": "MeanIntensity"}, {"class_path": "StandardDeviation"}]
    run = tmp_path / "run"
    command = ["benchmark", "--out", str(run), "--no-examples", "--config"]
    assert main([*command, str(write_config(tmp_path / "one.yaml", prepared, models[:1]))]) == 0
    (path,) = (run / "jobs").glob("*.json")
    name = path.stem.rsplit("--", 1)[0] + "--"
    # As the same settings would have been named by other code.
    result, scores = read_result(path), read_scores(path.with_suffix(".npz"))
    spec = read_plan(tmp_path / "one.yaml").jobs[0]
    old = replace(spec, code={**result.code, "model": "anomalib_patchgan 0"})
    write_job(run, replace(result, id=old.id, code=old.code), scores)
    for file in (path, path.with_suffix(".npz")):
        file.unlink()
    before = files(run)
    command += [str(write_config(tmp_path / "two.yaml", prepared, models)), "--accept_older_code"]
    assert main([*command, "--force"]) == 2
    assert "give one of the two" in capsys.readouterr().err
    assert main(command) == 0
    assert {file: content for file, content in files(run).items() if file.startswith(name)} == before
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert "1 of 2 jobs are of older code of the model" in summary
    assert "(MeanIntensity)" in summary
    assert main(command[:-1]) == 0
    assert len([file for file in files(run) if file.startswith(name) and file.endswith(".json")]) == 2
    assert "older code of the model" not in (run / "summary.md").read_text(encoding="utf-8")


def test_nothing_is_chosen_on_test_images(prepared, tmp_path, capsys):
    config = write_config(tmp_path / "mean.yaml", prepared, [{"class_path": "MeanIntensity"}])
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["benchmark"]["data"] = {
        "class_path": "Folder",
        "init_args": {
            "name": "discs", "root": str(prepared), "normal_dir": "train/normal", "abnormal_dir": "test/abnormal",
            "normal_test_dir": "test/normal", "val_split_mode": "same_as_test", "num_workers": 0,
        },
    }  # fmt: skip
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    assert "validation and test share 16 images" in capsys.readouterr().err
    assert not (tmp_path / "run" / "jobs").exists()


FOLDER = {"name": "discs", "normal_dir": "train/normal", "abnormal_dir": "test/abnormal", "num_workers": 0}


@pytest.mark.parametrize("arguments", [{"val_split_mode": "from_test"}, {"test_split_mode": "from_dir"}, {}])
def test_the_split_that_is_checked_is_the_one_that_is_tested(prepared, arguments):
    """Anomalib's own folder splits at random whenever a trainer starts."""
    splits = []
    for seed in (1, 2):
        data = Folder(root=prepared, **FOLDER, **arguments)
        set_up(data)
        checked = [set(part.samples.image_path) for part in (data.train_data, data.val_data, data.test_data)]
        for stage in (TrainerFn.FITTING, TrainerFn.VALIDATING, TrainerFn.TESTING):
            seed_everything(seed, verbose=False)
            data.setup(stage)
        tested = [set(part.samples.image_path) for part in (data.train_data, data.val_data, data.test_data)]
        assert tested == checked
        splits.append(tested)
    assert splits[0] == splits[1]


def test_all_models_and_seeds_are_tested_on_one_split(prepared, tmp_path):
    models = [{"class_path": "MeanIntensity"}, {"class_path": "StandardDeviation"}]
    config = write_config(tmp_path / "mean.yaml", prepared, models, seed={"grid": [0, 1]})
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["benchmark"]["data"] = {"class_path": "Folder", "init_args": {"root": str(prepared), **FOLDER}}
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    images = [read_scores(path).image.tolist() for path in (tmp_path / "run" / "jobs").glob("*.npz")]
    assert len(images) == 4
    assert all(sorted(one) == sorted(images[0]) for one in images)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Images without masks, each of its own size and its own case; those with a lesion are darker, and larger files."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for folder, count, shade in (("train/normal", 24, 200), ("test/normal", 6, 200), ("test/abnormal", 6, 60)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            side = (40 if shade > 100 else 120) + number
            pixels = rng.integers(0, shade, (side, 50 + 3 * number), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{folder.replace('/', '-')}_{number:02d}.jpg")
    return root


def test_images_of_any_size_without_masks(photographs, tmp_path):
    """Image metrics only, and a score owes nothing to the other images of its batch."""
    models = [
        {"class_path": "FileSize", "init_args": {"image_size": SIZE}},
        {"class_path": "MeanIntensity", "init_args": {"sign": "darker", "image_size": SIZE}},
    ]
    scores = {}
    for batch in (1, 5):
        config = write_config(tmp_path / "photographs.yaml", photographs, models)
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        content["benchmark"]["data"]["init_args"] |= {"id_pattern": "(.+)", "eval_batch_size": batch}
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        run = tmp_path / f"run{batch}"
        assert main(["benchmark", "--config", str(config), "--out", str(run)]) == 0
        results = read_run(run)[1]
        assert {result.model for result in results} == {"FileSize", "MeanIntensity"}
        for result in results:
            assert result.metrics["image_AUROC"] == 1
            assert not [name for name in result.metrics if name.startswith(("pixel", "case", "patient"))]
            found = read_scores(run / "jobs" / f"{result.id}.npz")
            assert not len(found.pixel_patient)
            assert not len(found.example)
            scores.setdefault(result.model, []).append(found.score)
        summary = (run / "summary.md").read_text(encoding="utf-8")
        assert "6 normal and 6 lesion images\n" in summary
        assert "No pixel metrics: they need masks of the lesions in the test split" in summary
        assert "Dice" not in summary
    for one, other in scores.values():
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_missing_data_are_found_before_any_job_starts(tmp_path, capsys):
    config = write_config(tmp_path / "mean.yaml", tmp_path / "nowhere", [{"class_path": "MeanIntensity"}])
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert "nowhere" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "jobs").exists()


def test_other_peoples_data_modules_fail_in_one_line(tmp_path, capsys):
    config = write_config(tmp_path / "mean.yaml", tmp_path, [{"class_path": "MeanIntensity"}])
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    content["benchmark"]["data"] = {
        "class_path": "Folder",
        "init_args": {"name": "discs", "root": str(tmp_path / "nowhere"), "normal_dir": "train"},
    }
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    assert "data 'Folder'" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_job_that_is_killed_takes_no_other_down(prepared, tmp_path):
    killed = {"name": "killed", "class_path": "tests.fakes.killed.KilledModel", "init_args": {"image_size": SIZE}}
    config = write_config(tmp_path / "mean.yaml", prepared, [killed, {"class_path": "MeanIntensity"}])
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 1
    _, results = read_run(tmp_path / "run")
    assert {result.model: result.error for result in results} == {
        "MeanIntensity": None, "killed": "the job's process was killed; most likely it ran out of memory"
    }  # fmt: skip


def test_scores_that_are_no_numbers_are_no_result(prepared, tmp_path):
    model = {"name": "diverged", "class_path": "tests.fakes.nan_scores.NanScores", "init_args": {"image_size": SIZE}}
    config = write_config(tmp_path / "nan.yaml", prepared, [model, {"class_path": "MeanIntensity"}])
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 1
    _, results = read_run(tmp_path / "run")
    errors = {result.model: result.error for result in results}
    assert errors["MeanIntensity"] is None
    assert "finite" in errors["diverged"]
    assert not next(result for result in results if result.error).metrics


@pytest.mark.slow
def test_killed_and_resumed_without_loss(prepared, tmp_path):
    models = [{"name": f"mean {n}", "class_path": "MeanIntensity", "init_args": {"image_size": [64, 64 + 32 * n]}}
              for n in range(4)]  # fmt: skip
    config = write_config(tmp_path / "mean.yaml", prepared, models)
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
    for _ in range(100):
        if not (left := processes_of(run)):
            break
        time.sleep(0.1)
    assert not left
    done = {name: value for name, value in files(run).items() if name.endswith(".json")}
    assert 1 <= len(done) < 4
    assert not (run / "report.html").exists()
    assert main(command) == 0
    after = files(run)
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
    config = write_config(tmp_path / "mean.yaml", prepared, [{"class_path": "MeanIntensity"}])
    assert main(["benchmark", *(word.format(config=config) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("anomalib-patchgan: error: ")
    assert message in error


@pytest.mark.slow
def test_the_shipped_comparison_shortened(repo_root, tmp_path):
    config = yaml.safe_load((repo_root / "benchmarks" / "phantom.yaml").read_text(encoding="utf-8"))
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
