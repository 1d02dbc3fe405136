"""What `edge` says before the first export, what it decides on which images, and what it keeps when a form fails."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import edge, edge_forms
from anomalib_patchgan.deploy.accuracy import LabelledImages, Predicted, spread
from anomalib_patchgan.deploy.edge_forms import EdgePlan, make_plan
from anomalib_patchgan.deploy.predictor import load_checkpoint
from anomalib_patchgan.deploy.rivals import folder_name
from anomalib_patchgan.errors import DataError, PatchGanError
from tests.fakes.edge import break_form, no_profile, reuse_export
from tests.fakes.prepared import write_prepared_folder
from tests.models.conftest import make_data

pytestmark = pytest.mark.usefixtures("clean_environment")

EVERY = ("FP32", "FP16", "INT8", "INT8_PTQ", "INT8_ACQ")


@pytest.fixture
def module(checkpoint):
    return load_checkpoint(checkpoint)


@pytest.fixture(scope="module")
def normal_only(tmp_path_factory):
    """A folder whose validation patients have no lesion, as most folders of healthy images."""
    return write_prepared_folder(tmp_path_factory.mktemp("normal"), train_lesions=False)


def set_up(root):
    data = make_data(root)
    data.setup()
    return data


def make_images(split, labels=(False, True)):
    """Images of one pixel, the lesions of which are all lesion."""
    masks = np.array(labels)[:, None, None] & np.ones((1, 1, 2), bool)
    masks[:, :, 1] = False
    return LabelledImages(split=split, images=[np.zeros((1, 2, 3))] * len(labels), labels=np.array(labels), masks=masks)


class Forms:
    """Stands for exporting and running: on some splits some forms find nothing."""

    def __init__(self, monkeypatch, bad=(), failing=()):
        self.bad, self.failing, self.exported = bad, failing, []
        monkeypatch.setattr(edge_forms, "export_model", self.export)
        monkeypatch.setattr(edge_forms, "predict", self.predict)

    def export(self, _module, folder, *_, **__):
        """Remember what is asked for."""
        self.exported.append(folder.name)
        if folder.name in self.failing:
            msg = "first line\nsecond line"
            raise RuntimeError(msg)

    def predict(self, xml, images):
        """Find everything, or nothing."""
        bad = (xml.parent.name, images.split) in self.bad
        scores = images.labels * (-1.0 if bad else 1.0) + bad
        return Predicted(scores=scores, maps=(images.masks * scores[:, None, None]).astype(np.float32))


def export(forms, **splits):
    """Export forms that stand for real ones."""
    exporter = edge_forms.FormExporter(None, None, Path("out"), EdgePlan(forms=forms, remarks=[], **splits))
    exporter.export_all()
    return exporter


def test_fallback_is_decided_on_validation_images(monkeypatch):
    splits = {"validation": make_images("validation"), "test": make_images("test")}
    forms = Forms(monkeypatch, bad={("INT8_PTQ", "validation"), ("INT8_PTQ_NETWORKS", "test")})
    exports = export(["FP32", "INT8_PTQ"], **splits)
    assert forms.exported == ["FP32", "INT8_PTQ", "INT8_PTQ_NETWORKS"]
    # The table tells of the test images, good or bad.
    assert exports.accuracies["INT8_PTQ"].image_AUROC == 1
    assert exports.accuracies["INT8_PTQ, networks only"].image_AUROC == 0
    said = " ".join(exports.remarks)
    assert "decided on 2 validation images (normal and abnormal) by image AUROC and pixel AP" in said
    assert "INT8_PTQ loses 1.000 image AUROC and" in said
    assert "on the validation images, more than allowed" in said
    assert "is within the limits there" in said
    names = {form: path.parent.name for form, path in exports.usable.items()}
    assert names == {"FP32": "FP32", "INT8_PTQ": "INT8_PTQ_NETWORKS"}


def test_form_that_loses_too_much_in_every_way_is_not_usable(monkeypatch):
    splits = {"validation": make_images("validation"), "test": make_images("test")}
    Forms(monkeypatch, bad={("INT8_PTQ", "validation"), ("INT8_PTQ_NETWORKS", "validation")})
    exports = export(["FP32", "INT8", "INT8_PTQ", "INT8_ACQ"], **splits)
    assert exports.usable == {name: Path("out") / name / "model.xml" for name in ("FP32", "INT8", "INT8_ACQ")}


def test_a_loss_on_test_images_is_said_and_decides_nothing(monkeypatch):
    forms = Forms(monkeypatch, bad={("INT8_PTQ", "test")})
    exports = export(["FP32", "INT8_PTQ"], validation=make_images("validation"), test=make_images("test"))
    assert forms.exported == ["FP32", "INT8_PTQ"]
    assert "On the test images INT8_PTQ loses 1.000 image AUROC" in " ".join(exports.remarks)


def test_without_lesions_agreement_decides(monkeypatch):
    splits = {"validation": make_images("validation", (False, False)), "test": make_images("test")}
    forms = Forms(monkeypatch, bad={("INT8_PTQ", "validation")})
    exports = export(["FP32", "INT8_PTQ"], **splits)
    assert forms.exported == ["FP32", "INT8_PTQ", "INT8_PTQ_NETWORKS"]
    said = " ".join(exports.remarks)
    assert "2 validation images (all normal) by how well scores and maps agree with single precision" in said
    assert "INT8_PTQ loses the agreement of scores with single precision (mean difference 1.0000)" in said


def test_one_form_that_fails_takes_no_other_with_it(monkeypatch):
    forms = Forms(monkeypatch, failing={"FP16", "INT8_ACQ_NETWORKS"}, bad={("INT8_ACQ", "validation")})
    exports = export(EVERY, validation=make_images("validation"), test=make_images("test"))
    assert list(exports.models) == ["FP32", "INT8", "INT8_PTQ", "INT8_ACQ"]
    assert exports.failed == dict.fromkeys(("FP16", "INT8_ACQ, networks only"), "first line second line")
    assert "FP16 failed and is left out: first line second line" in exports.remarks
    assert forms.exported[-1] == "INT8_ACQ_NETWORKS"
    assert list(exports.usable) == ["FP32", "INT8", "INT8_PTQ"]


def test_failure_leaves_the_table_of_the_others(checkpoint, exported, tmp_path, monkeypatch, capsys):
    no_profile(monkeypatch)
    reuse_export(monkeypatch, exported)
    break_form(monkeypatch, "FP16")
    words = ["--compression", "FP16", "--out", str(tmp_path / "out")]
    assert main(["edge", "--model", str(checkpoint), *words]) == 1
    said = capsys.readouterr()
    assert "failed FP16: no such operation" in said.err
    table = (tmp_path / "out" / "edge.md").read_text()
    assert "| FP32 |" in table
    assert "FP16 failed and is left out: no such operation" in table
    assert json.loads((tmp_path / "out" / "edge.json").read_text())["failed"] == {"FP16": "no such operation"}


def test_validation_of_normal_images_leaves_out_one_form(module, normal_only):
    data = set_up(normal_only)
    plan = make_plan(module, data, EVERY, named=False)
    assert list(plan.forms) == ["FP32", "FP16", "INT8", "INT8_PTQ"]
    reason = "needs normal and abnormal validation images, these are all normal"
    assert f"INT8_ACQ is left out: it {reason}." in plan.remarks
    with pytest.raises(DataError, match=f"INT8_ACQ {reason}: leave it out"):
        make_plan(module, data, ["INT8_ACQ"], named=True)


def test_named_form_is_refused_before_the_first_export(checkpoint, normal_only, tmp_path, capsys):
    source = ["--data", "PreparedFolder", "--data.root", str(normal_only), "--data.num_workers", "0"]
    words = ["--compression", "INT8_ACQ", "--out", str(tmp_path / "out")]
    assert main(["edge", "--model", str(checkpoint), *words, *source]) == 1
    assert "these are all normal" in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "out").iterdir())


def test_few_calibration_images_and_missing_ones_are_said(module, normal_only):
    data = set_up(normal_only)
    assert any("calibrate the quantization" in text for text in make_plan(module, data, EVERY, named=False).remarks)
    data.val_data.samples = data.val_data.samples[:0]
    plan = make_plan(module, data, EVERY, named=False)
    assert list(plan.forms) == ["FP32", "FP16", "INT8"]
    assert "INT8_PTQ is left out: it needs validation images to calibrate with, and the data have none." in plan.remarks
    with pytest.raises(DataError, match="INT8_PTQ needs validation images"):
        make_plan(module, data, ["INT8_PTQ"], named=True)


def test_data_without_masks_or_test_images(module, tmp_path):
    root = write_prepared_folder(tmp_path / "data")
    for split in ("train", "test"):
        (root / split / "mask").rename(tmp_path / f"{split}_mask")
    data = set_up(root)
    plan = make_plan(module, data, EVERY, named=False)
    assert plan.test.masks is None
    assert list(plan.forms) == list(EVERY)
    data.test_data.samples = data.test_data.samples[data.test_data.samples.label_index == 0].reset_index(drop=True)
    assert (
        "The test images are all normal: there is no image AUROC."
        in make_plan(module, data, EVERY, named=False).remarks
    )
    data.test_data = data.val_data
    assert any("are validation images, too" in text for text in make_plan(module, data, EVERY, named=False).remarks)
    data.test_data = None
    plan = make_plan(module, data, EVERY, named=False)
    assert plan.test is None
    assert "There are no test images: the table has no accuracy." in plan.remarks


def test_other_preparation_is_said(module, prepared, monkeypatch):
    monkeypatch.setattr(type(make_data(prepared)), "volume_recipe", {**module.volume_recipe, "image_size": 32})
    remarks = make_plan(module, set_up(prepared), ["FP32"], named=False).remarks
    assert any("image_size 32 instead of 64" in text for text in remarks)


def test_missing_nncf_is_said_first(module, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nncf", None)
    plan = make_plan(module, None, EVERY[:3], named=False)
    assert list(plan.forms) == ["FP32", "FP16"]
    assert "nncf" in plan.remarks[0]
    words = ["--compression", "INT8", "--out", str(tmp_path / "out")]
    assert main(["edge", "--model", str(checkpoint), *words]) == 2
    assert "INT8 needs nncf" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folder_of_a_former_run_that_cannot_be_written(checkpoint, tmp_path, capsys):
    (tmp_path / "INT8").write_text("a file")
    assert main(["edge", "--model", str(checkpoint), "--out", str(tmp_path)]) == 1
    assert "INT8 cannot be written to" in capsys.readouterr().err
    assert not (tmp_path / "FP32").exists()


def test_data_that_raise_anything_are_one_line_before_the_first_export(checkpoint, tmp_path, capsys):
    source = ["--data", "Folder", "--data.name", "x", "--data.root", str(tmp_path / "none"), "--data.normal_dir", "a"]
    assert main(["edge", "--model", str(checkpoint), "--out", str(tmp_path / "out"), *source]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "the data of Folder cannot be used" in said[-1]
    assert not list((tmp_path / "out").iterdir())


def test_rival_that_does_not_take_the_size_is_left_out(checkpoint, exported, tmp_path, monkeypatch):
    no_profile(monkeypatch)
    reuse_export(monkeypatch, exported)
    rivals = tmp_path / "rivals.yaml"
    # The first has a patch discriminator that halves three times, the second's last kernel is too large.
    own = "{image_size: null, width: 4, depth: 3, downscale: 1}"
    rivals.write_text(f"- {{name: ../Own, class_path: PatchGan, init_args: {own}}}\n- class_path: ganomaly\n")
    words = ["--compression", "FP32", "--size", "60", "--rivals", str(rivals), "--out", str(tmp_path / "out")]
    assert main(["edge", "--model", str(checkpoint), *words]) == 0
    table = (tmp_path / "out" / "edge.md").read_text()
    assert "../Own is left out: PatchGan cannot be exported for images of 60x60" in table
    assert "ganomaly is left out: ganomaly cannot be exported for images of 60x60" in table
    assert "| FP32 |" in table
    assert not (tmp_path / "out" / "Own").exists()


def test_names_lead_nowhere_else():
    assert [folder_name(name) for name in ("/etc/x", "..", "a\\..\\b", "A, b")] == ["etc_x", "model", "a_.._b", "A_b"]


def test_measuring_goes_on_without_what_cannot_be_run(monkeypatch, tmp_path):
    for name in ("good", "bad", "slow"):
        for suffix in (".xml", ".bin"):
            (tmp_path / f"{name}{suffix}").write_bytes(b"1")

    def run(task, **arguments):
        if "bad" in str(arguments.get("xml")) or ("slow" in str(arguments.get("xml")) and task == "throughput"):
            msg = f"cannot run {task}"
            raise PatchGanError(msg)
        results = {"first": {"first_ms": 1.0, "peak_mib": None}, "throughput": {"CPU": 5.0, "AUTO": 6.0}}
        return results.get(task) or {name: [1.0, 2.0] for name in arguments["models"]}

    monkeypatch.setattr(edge, "run_profile", run)
    models = {name: tmp_path / f"{name}.xml" for name in ("good", "bad", "slow")}
    costs, failed = edge.measure_costs(models, (64, 64), 1, 2, {})
    assert list(costs) == ["good", "slow"]
    assert (costs["slow"]["p50_ms"], costs["slow"]["images_per_second"]) == (1.5, None)
    assert failed == {"bad": "cannot run first", "slow": "cannot run throughput"}


def test_choice_of_images_keeps_both_kinds():
    class Data:
        class samples:  # noqa: N801 - a table
            label_index = np.array([0] * 990 + [1] * 10)

    chosen = spread(Data, 100)
    assert len(chosen) == 100
    assert sum(index >= 990 for index in chosen) == 1
    assert spread(Data, 5000) == list(range(1000))


def test_model_without_a_size_is_refused_before_data_are_made(tmp_path, capsys, monkeypatch):
    from anomalib_patchgan import PatchGan
    from anomalib_patchgan.deploy import predictor

    monkeypatch.setattr(predictor, "load_checkpoint", lambda _: PatchGan(image_size=None, width=4))
    assert main(["edge", "--model", "m.ckpt", "--out", str(tmp_path / "out")]) == 1
    assert "has no image_size of its own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
