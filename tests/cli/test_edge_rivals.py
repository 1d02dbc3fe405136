"""`anomalib-patchgan edge --rivals`: the models of a benchmark's run beside an export, with their quality."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomalib_patchgan.benchmark.rated import rate_models
from anomalib_patchgan.benchmark.report.load import merge_runs
from anomalib_patchgan.benchmark.results import FORMAT, RUN, JobResult, JobScores, write_job
from anomalib_patchgan.cli import edge_rivals, main
from anomalib_patchgan.deploy import edge
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.files import write_json
from tests.fakes.edge import no_profile, reuse_export
from tests.models.conftest import make_data

pytestmark = pytest.mark.usefixtures("clean_environment")

# Of `tests.fakes.prepared`, whose masks are of 64 pixels.
SIZE = 64
OWN = {"image_size": [SIZE, SIZE]}
RESIZE = {
    "class_path": "anomalib.pre_processing.PreProcessor",
    "init_args": {"transform": {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [48, 48]}}},
}
RESNET = {"backbone": "resnet18", "layers": ["layer1", "layer2"], "pre_trained": False, "pre_processor": RESIZE}


def images_of(root):
    """Whether each test image of a prepared folder holds a lesion, as a job keeps it."""
    return {
        path.relative_to(root / "test").as_posix(): path.parent.name == "abnormal"
        for path in sorted((root / "test").glob("*normal/*.png"))
    }


class Run:
    """A run folder that is written job by job.

    Args:
        folder: Where to.
        images: Test images of its jobs.
    """

    def __init__(self, folder, images):
        self.folder, self.images, self.jobs, self.models = folder, images, [], []

    def add(self, model, arguments=None, *, seeds=(0, 1), values=(0.8, 0.9), side=48, images=None, **changes):
        """Write a job for each seed; `changes` replace fields of `JobResult`."""
        images = self.images if images is None else images
        for seed, value in zip(seeds, values, strict=True):
            config = {"class_path": model.split(",")[0], "init_args": arguments or {}}
            data = {"class_path": "PreparedFolder", "init_args": {"root": "gone", "train_batch_size": 4}}
            spec = {"model": model, "data": "discs", "fold": "", "seed": seed, "accelerator": "cpu", "trainer": {}}
            job = JobResult(
                id=f"job-{len(self.jobs)}",
                model=model,
                data="discs",
                fold="",
                seed=seed,
                spec=spec | {"model_config": config, "data_config": data, "evaluation_size": [SIZE, SIZE]},
                metrics={"image_AUROC": value, "pixel_AP": value / 2, "pixel_best_dice": value / 2},
                cost={"image_height": side, "image_width": side},
            )
            job = replace(job, **changes)
            scores = JobScores(
                image=np.array(list(images)),
                patient=np.array(list(images)),
                stratum=np.array([""] * len(images)),
                label=np.array(list(images.values())),
                score=np.zeros(len(images)),
            )
            write_job(self.folder, job, None if job.error else scores)
            self.jobs.append(job.id)
        self.models.append(model)
        self.describe(jobs=self.jobs)
        return self

    def describe(self, **changes):
        """Write `run.json`."""
        write_json(self.folder / RUN, {"format": FORMAT, "name": "discs run", "models": self.models} | changes)

    def path(self, number):
        """The JSON file of a job."""
        return self.folder / "jobs" / f"job-{number}.json"

    def rate(self):
        """What is found on the run's own images."""
        return rate_models(merge_runs([self.folder]), self.images)


@pytest.fixture
def run(tmp_path, prepared):
    return Run(tmp_path / "run", images_of(prepared))


def words(checkpoint, prepared, run, out, *more):
    """The command."""
    source = ["--data", "PreparedFolder", "--data.root", str(prepared), "--data.num_workers", "0"]
    rivals = ["--rivals", str(run.folder), "--compression", "FP32", "--out", str(out)]
    return ["edge", "--model", str(checkpoint), *rivals, *source, *more]


def rows_of(out):
    with (out / "edge.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_models_of_a_run_stand_beside_the_export_with_their_quality(
    checkpoint, exported, prepared, tmp_path, capsys, run, monkeypatch
):
    reuse_export(monkeypatch, exported)
    run.add("Patchcore", RESNET | {"coreset_sampling_ratio": 0.05})
    run.add("OneClassSvm", OWN | {"components": 4}, side=SIZE, seeds=(3,), values=(0.25,))
    run.add("SlicePosition", OWN, side=SIZE)
    out = tmp_path / "out"
    assert main(words(checkpoint, prepared, run, out, "--repetitions", "3", "--threads", "1")) == 0
    rows = rows_of(out)
    assert list(rows) == ["FP32", "Patchcore", "OneClassSvm", "SlicePosition"]
    # The quality is that of the run, at the model's own size.
    patchcore = rows["Patchcore"]
    assert (patchcore["size"], patchcore["seeds"], patchcore["image_AUROC"]) == ("48x48", "2", "0.85")
    assert float(patchcore["image_AUROC_sd"]) == pytest.approx(np.std([0.8, 0.9], ddof=1), abs=1e-6)
    assert float(patchcore["best_dice"]) == pytest.approx(0.425)
    assert (rows["OneClassSvm"]["seeds"], rows["OneClassSvm"]["image_AUROC_sd"]) == ("1", "")
    assert (rows["FP32"]["size"], rows["FP32"]["seeds"], rows["FP32"]["p50_relative"]) == ("64x64", "", "1")
    assert float(patchcore["p50_relative"]) == pytest.approx(
        float(patchcore["p50_ms"]) / float(rows["FP32"]["p50_ms"]), rel=1e-4
    )
    # What cannot be exported keeps its row, and the reason stands below.
    assert (rows["SlicePosition"]["p50_ms"], rows["SlicePosition"]["image_AUROC"]) == ("", "0.85")
    text = (out / "edge.md").read_text(encoding="utf-8")
    assert "SlicePosition is not timed: it cannot be built and exported again: SlicePosition scores slices" in text
    assert "| 0.8500 ± 0.0707 |" in text
    assert capsys.readouterr().out == text
    assert "SlicePosition is not timed" in " ".join(json.loads((out / "edge.json").read_text())["remarks"])
    assert (out / "rivals" / "job-0" / "weights" / "openvino" / "model.xml").is_file()
    assert (out / "edge.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "Patchcore as many features" in text


def test_memory_of_patchcore_is_as_large_as_in_the_run(prepared, run):
    import torch

    from anomalib_patchgan.benchmark.model_cost import rebuild

    run.add("Patchcore", RESNET | {"coreset_sampling_ratio": 0.05}, seeds=(0,), values=(0.5,))
    ((model,), _) = run.rate()
    data = make_data(prepared)
    data.setup()
    before = data.val_data.augmentations
    built = rebuild(model.spec, data)
    patches = len(data.train_data) * 12 * 12
    assert built.model.memory_bank.shape[0] == int(patches * 0.05)
    assert torch.isfinite(built.model.memory_bank).all()
    # Other models are built with the same data afterwards.
    assert data.val_data.augmentations is before
    assert data.train_batch_size == 8


@pytest.fixture
def quick(monkeypatch):
    """No time for the export that the rivals stand beside, and numbers without measuring."""
    no_profile(monkeypatch)
    monkeypatch.setattr(edge.FormExporter, "export_all", lambda self: self.models.update(FP32=Path("model.xml")))


@pytest.mark.usefixtures("quick")
def test_export_that_raises_is_a_remark_and_not_the_end(checkpoint, prepared, tmp_path, run, monkeypatch):
    from anomalib_patchgan.benchmark import model_cost as export_model

    def fail(spec, _):
        raise MemoryError if spec.model == "Padim" else RuntimeError("no such operation\n in the graph")

    monkeypatch.setattr(export_model, "rebuild", fail)
    run.add("Padim").add("Ganomaly").add("NoSuchModel").add("../../Stfpm | x", images={"other.png": True})
    out = tmp_path / "out"
    assert main(words(checkpoint, prepared, run, out)) == 0
    text = (out / "edge.md").read_text(encoding="utf-8")
    assert "Padim is not timed: it cannot be built and exported again: MemoryError" in text
    assert "Ganomaly is not timed: it cannot be built and exported again: no such operation in the graph" in text
    assert "NoSuchModel is not timed: it cannot be built and exported again: there is no class_path NoSuchModel" in text
    assert "2 jobs of the run are left out: they tested other images (../../Stfpm | x)." in text
    assert list(rows_of(out)) == ["FP32", "Padim", "Ganomaly", "NoSuchModel"]


@pytest.mark.usefixtures("quick")
def test_export_of_another_size_than_the_runs_is_said(checkpoint, prepared, tmp_path, run, monkeypatch):
    monkeypatch.setattr(edge_rivals, "export_again", lambda _model, _data, folder, _size: folder / "model.xml")
    run.add("Padim", cost={"image_height": 48, "image_width": 32, "openvino_MB": 1.01})
    run.add("Fre", cost={"image_height": 48, "image_width": 48, "openvino_MB": 2.0})
    out = tmp_path / "out"
    assert main(words(checkpoint, prepared, run, out)) == 0
    text = (out / "edge.md").read_text(encoding="utf-8")
    assert "The export of Fre that was timed has 1.00 MB, that of the run had 2.00" in text
    assert "The export of Padim" not in text
    assert rows_of(out)["Padim"]["size"] == "48x32"


@pytest.mark.parametrize("option", [["--size", "64"], ["--no-data"]])
def test_options_that_do_not_go_with_a_run(checkpoint, prepared, tmp_path, capsys, run, option):
    run.add("Padim")
    command = words(checkpoint, prepared, run, tmp_path / "out")
    command = command[: command.index("--data")] if option == ["--no-data"] else [*command, *option]
    assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert ("give --data" if option == ["--no-data"] else "leave out --size") in said
    assert not (tmp_path / "out").exists()


def test_run_on_other_images_is_refused_before_the_first_export(checkpoint, prepared, tmp_path, capsys, run):
    images = dict(run.images)
    images["normal/T09_00.png"] = images.pop("normal/T01_00.png")
    run.add("Padim", images=images)
    assert main(words(checkpoint, prepared, run, tmp_path / "out")) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no model of the benchmark discs run was tested on the test images of --data" in said
    assert "2 jobs of the run are left out: they tested other images (Padim)" in said
    assert not list((tmp_path / "out").iterdir())


def test_other_labels_are_other_images(run):
    run.add("Padim", images={name: not lesion for name, lesion in run.images.items()})
    assert run.rate() == ([], ["2 jobs of the run are left out: they tested other images (Padim)."])


def test_failed_damaged_and_missing_jobs_are_left_out(run):
    run.add("Padim", seeds=(0, 1, 2), values=(0.5, 0.6, 0.7)).add("Fre", seeds=(0,), values=(0.5,))
    run.add("Draem", error="killed, most likely by the system")
    run.path(0).write_text('{"format": 2, "id"')
    run.path(1).with_suffix(".npz").write_bytes(b"PK")
    run.path(3).with_suffix(".npz").unlink()
    (model,), remarks = run.rate()
    assert (model.name, model.quality["seeds"], model.quality["image_AUROC"]) == ("Padim", 1, 0.7)
    assert model.quality["image_AUROC_sd"] is None
    said = "\n".join(remarks)
    assert "Not run yet, 1 of 6 jobs of run: job-0." in said
    assert "2 of Draem's jobs in the run failed and are left out: killed, most likely by the system" in said
    assert "The job job-1 of the run is left out" in said
    assert "is damaged" in said
    assert "The job job-3 of the run is left out: No raw scores at" in said


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"spec": {"model_config": "Padim"}}, "does not say which model it was"),
        ({"spec": {"model_config": {"class_path": 5}, "data_config": {}}}, "does not say which model it was"),
        ({"cost": {}}, "or at which image size"),
        ({"cost": {"image_height": 48, "image_width": -1}}, "or at which image size"),
        ({"cost": {"image_height": 48.5, "image_width": 1e9}}, "or at which image size"),
    ],
)
def test_job_that_does_not_say_what_it_was_is_left_out(run, changes, match):
    run.add("Fre").add("Padim", **changes)
    (model,), (remark,) = run.rate()
    assert model.name == "Fre"
    assert remark.startswith("Padim is left out: ")
    assert match in remark


def test_jobs_of_different_settings_or_sizes_are_not_averaged(run):
    run.add("Padim", seeds=(0,), values=(0.5,)).add("Padim", seeds=(1,), values=(0.9,), side=64)
    run.add("Fre", seeds=(0,), values=(0.5,)).add("Fre", {"layer": "x"}, seeds=(1,), values=(0.9,))
    models, remarks = run.rate()
    assert models == []
    reason = "is left out: its jobs have different settings or image sizes"
    assert remarks == [f"Padim {reason}", f"Fre {reason}"]


def test_undefined_metrics_stay_undefined(run):
    metrics = {"image_AUROC": 0.5, "pixel_AP": None, "pixel_best_dice": float("nan")}
    run.add("Ganomaly", metrics=metrics)
    ((model,), _) = run.rate()
    assert model.quality == {
        "seeds": 2,
        "image_AUROC": 0.5,
        "image_AUROC_sd": 0,
        "pixel_AP": None,
        "pixel_AP_sd": None,
        "best_dice": None,
        "best_dice_sd": None,
    }


def test_names_that_are_taken_are_told_apart(run, prepared):
    run.add("FP32, mine", seeds=(0,), values=(0.5,))
    run.add("Padim", seeds=(0,), values=(0.5,)).add("Padim", seeds=(0,), values=(0.5,), data="other")
    data = make_data(prepared)
    data.setup()
    plan = edge_rivals.plan_rivals(run.folder, ("FP32",), has_data=True, side=None)
    rivals, remarks = plan.choose(data, (32, 32))
    assert list(rivals) == ["FP32, mine of the run", "Padim, discs", "Padim, other"]
    assert len({rival.folder for rival in rivals.values()}) == 3
    at = [remark for remark in remarks if remark.startswith("Pixel metrics of exports are at 32x32, at 64x64 those of")]
    assert len(at) == 1


@pytest.mark.parametrize(
    ("damage", "error", "match"),
    [
        (lambda run: (run.folder / RUN).unlink(), DatasetNotFoundError, "No benchmark run at"),
        (lambda run: (run.folder / RUN).write_text("{"), DatasetNotFoundError, "No benchmark run at"),
        (lambda run: run.describe(jobs=5), DataError, r"jobs must be a list"),
        (lambda run: [path.unlink() for path in run.folder.glob("jobs/*.json")], DatasetNotFoundError, "No finished"),
        (lambda run: run.path(0).write_text('{"format": 1}'), DataError, "not a job of this version"),
        (lambda run: rewrite(run, metrics={"image_AUROC": "high"}), DataError, "metrics: image_AUROC"),
        (lambda run: rewrite(run, metrics=[0.5]), DataError, r"not a whole job of a benchmark \(metrics\)"),
        (lambda run: rewrite(run, spec=None, seed="0"), DataError, r"\(seed, spec\)"),
        (lambda run: rewrite(run, id="../../job"), DataError, "not that of its name"),
    ],
)
def test_damaged_run_is_one_line_before_any_work(run, damage, error, match):
    run.add("Padim")
    damage(run)
    with pytest.raises(error, match=match) as raised:
        edge_rivals.plan_rivals(run.folder, ("FP32",), has_data=True, side=None)
    assert "\n" not in str(raised.value)


def rewrite(run, **changes):
    """Write other values into the file of the first job."""
    content = json.loads(run.path(0).read_text()) | changes
    run.path(0).write_text(json.dumps(content))
