"""`anomalib-patchgan edge`: exports, what they cost, what they lose, and what is done about it."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import openvino
import pytest
from PIL import Image

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import edge, edge_forms, quantize
from anomalib_patchgan.deploy.accuracy import Accuracy, LabelledImages, Predicted, compare, losses
from anomalib_patchgan.deploy.bundle import read_export
from anomalib_patchgan.deploy.edge_forms import make_plan
from anomalib_patchgan.deploy.edge_report import write_edge_table
from anomalib_patchgan.deploy.export import export_model
from anomalib_patchgan.deploy.predictor import SlicePredictor, load_checkpoint
from anomalib_patchgan.deploy.rivals import export_rival, read_rivals
from anomalib_patchgan.errors import ConfigurationError, DataError, PatchGanError
from anomalib_patchgan.measure.cost import run_profile
from tests.fakes.edge import no_profile, reuse_export
from tests.models.conftest import SIZE, make_data

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def data(prepared):
    module = make_data(prepared)
    module.setup()
    return module


@pytest.mark.slow
def test_command_exports_measures_and_writes_the_table(checkpoint, prepared, tmp_path, monkeypatch, capsys):
    # For how long images are counted is not tested, and takes every core, for each model twice.
    monkeypatch.setattr(edge, "SECONDS", 0.2)
    rivals = tmp_path / "rivals.yaml"
    rivals.write_text("- {name: Small Padim, class_path: Padim, init_args: {backbone: resnet18, pre_trained: false}}\n")
    options = ["--repetitions", "3", "--threads", "1", "--rivals", str(rivals), "--out", str(tmp_path / "out")]
    source = ["--data", "PreparedFolder", "--data.root", str(prepared), "--data.num_workers", "0"]
    wanted = ["--compression", "FP16", "INT8_PTQ"]
    assert main(["edge", "--model", str(checkpoint), *wanted, *options, *source]) == 0
    out = tmp_path / "out"
    assert "| FP16 |" in capsys.readouterr().out
    with (out / "edge.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows)[:3] == ["FP32", "FP16", "INT8_PTQ"]
    assert list(rows)[-1] == "Small Padim"
    for name in ("FP32", "FP16", "INT8_PTQ"):
        assert read_export(out / name / "model.xml").card.compression == name
        assert float(rows[name]["image_AUROC"]) > 0.8
        assert float(rows[name]["pixel_AP"]) > 0.1
        assert 0 < float(rows[name]["p50_ms"]) <= float(rows[name]["p95_ms"]) <= float(rows[name]["p99_ms"])
        assert float(rows[name]["images_per_second"]) > 0
        assert float(rows[name]["images_per_second_auto"]) > 0
        assert float(rows[name]["first_ms"]) > float(rows[name]["p50_ms"])
        assert float(rows[name]["peak_mib"]) > 1
    assert float(rows["FP32"]["max_map_difference"]) == 0
    assert 0 < float(rows["FP16"]["max_map_difference"]) < 0.01
    # Of so small a model the graph is most of the file; its weights are what shrinks.
    weights = {name: (out / name / "model.bin").stat().st_size for name in ("FP32", "FP16", "INT8_PTQ")}
    assert weights["INT8_PTQ"] < weights["FP16"] < weights["FP32"]
    assert rows["Small Padim"]["image_AUROC"] == ""
    record = json.loads((out / "edge.json").read_text())
    assert set(record["operations"]) == {"FP32", next(name for name in reversed(rows) if name.startswith("INT8_PTQ"))}
    full, quantized = record["operations"].values()
    assert full["convolution_gflops"] > 0
    # A wrong unit would be a thousandfold; other work on the machine, such as other tests, has made it fifteenfold.
    assert full["gemm_gflops"] > full["convolution_gflops"] / 100
    assert "Convolution, INT8" not in full["ms"]
    assert "Convolution, INT8" in quantized["ms"]
    assert Image.open(out / "edge.png").size[0] > 600


def test_without_data_the_three_plain_forms_are_exported(checkpoint, tmp_path, monkeypatch):
    no_profile(monkeypatch)
    assert main(["edge", "--model", str(checkpoint), "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["FP16", "FP32", "INT8"]
    assert "AUROC" not in (tmp_path / "edge.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compression", "INT8_PTQ"], "INT8_PTQ and INT8_ACQ need images"),
        (["--repetitions", "0"], "--repetitions must be at least 1"),
        (["--rivals", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["--data", "NoSuchData"], "NoSuchData"),
        (["--size", "100000"], "--size must be at most 4096"),
        (["--rivals", "rivals/class.yaml"], "rivals/class.yaml: NoSuchModel is no model that can be built"),
        (["--rivals", "rivals/argument.yaml"], "rivals/argument.yaml: Padim is no model that can be built"),
        (["--rivals", "rivals/type.yaml"], "rivals/type.yaml: PatchGan is no model that can be built"),
        (["--rivals", "rivals/name.yaml"], "FP32 is the name of an export"),
        (["--rivals", "rivals/folder.yaml"], "would have one folder"),
    ],
)
def test_wrong_options_are_one_line_before_any_work(checkpoint, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rivals").mkdir()
    for name, content in {
        "class": "- {class_path: NoSuchModel}",
        "argument": "- {class_path: Padim, init_args: {no_such: 1}}",
        "type": "- {class_path: PatchGan, init_args: {width: wide}}",
        "name": "- {name: FP32, class_path: Padim}",
        "folder": "- {name: ../a, class_path: Padim}\n- {name: a, class_path: Padim}",
    }.items():
        (tmp_path / "rivals" / f"{name}.yaml").write_text(content)
    assert main(["edge", "--model", str(checkpoint), "--out", str(tmp_path / "out"), *options]) in {1, 2}
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert not (tmp_path / "out").exists()


def quantized(path):
    """Kinds of the operations of which an input comes out of a quantizer, by their names."""
    return {
        node.get_friendly_name(): node.get_type_name()
        for node in openvino.Core().read_model(path).get_ops()
        for source in node.input_values()
        if source.get_node().get_type_name() == "FakeQuantize"
    }


def test_a_model_that_loses_too_much_keeps_its_sensitive_parts(checkpoint, exported, data, tmp_path, monkeypatch):
    reuse_export(monkeypatch, exported)
    module = load_checkpoint(checkpoint)
    # On the validation images of all quantized, on the test images of that, on the validation images of the fallback.
    found = iter(["0.030 pixel AP", "", ""])
    monkeypatch.setattr(edge_forms, "losses", lambda *_: next(found))
    exports = edge_forms.FormExporter(module, data, tmp_path, make_plan(module, data, ["INT8_PTQ"], named=True))
    exports.export_all()
    models = exports.models
    assert list(models) == ["FP32", "INT8_PTQ", "INT8_PTQ, networks only"]
    assert list(exports.accuracies) == list(models)
    remark = next(text for text in exports.remarks if "INT8_PTQ loses 0.030 pixel AP" in text)
    assert "is within the limits" in remark

    everything, networks = (set(quantized(models[name]).values()) for name in list(models)[1:])
    assert "Convolution" in networks
    of_a_residual = {"Abs", "AvgPool", "Divide", "MaxPool", "ReduceMean", "Subtract"}
    assert everything & of_a_residual
    assert not networks & of_a_residual


def test_losses_are_named():
    def accuracy(auroc, ap):
        rest = dict.fromkeys(("best_dice", "max_score_difference", "max_map_difference", "mean_map_difference"), 0.0)
        return Accuracy(image_AUROC=auroc, pixel_AP=ap, **rest)

    full = accuracy(0.9, 0.6)
    assert losses(full, accuracy(0.891, 0.581)) == ""
    assert losses(full, accuracy(0.88, 0.6)) == "0.020 image AUROC"
    assert losses(full, accuracy(0.88, 0.5)) == "0.020 image AUROC and 0.100 pixel AP"
    assert losses(accuracy(None, None), accuracy(None, None)) == ""
    assert losses(None, full) == ""
    # Without a lesion nothing but the agreement tells.
    shifted = replace(accuracy(None, None), mean_score_difference=0.03, mean_map_difference=0.006)
    assert losses(accuracy(None, None), shifted).count("mean difference") == 2
    assert losses(full, replace(full, mean_score_difference=0.5)) == ""


def test_differences_and_metrics_of_a_model():
    masks = np.zeros((2, 2, 2), bool)
    masks[1, 0, 0] = True
    test = LabelledImages(split="test", images=[], labels=np.array([False, True]), masks=masks)
    maps = np.zeros((2, 2, 2), np.float32)
    maps[1, 0, 0] = 0.5
    full = Predicted(scores=np.array([0.25, 0.75]), maps=maps)
    found = compare(Predicted(scores=np.array([0.5, 0.75]), maps=maps + np.float32(0.25)), full, test)
    assert (found.image_AUROC, found.pixel_AP, found.best_dice) == (1, 1, 1)
    assert (found.max_score_difference, found.max_map_difference, found.mean_map_difference) == (0.25, 0.25, 0.25)


def test_accuracy_aware_quantization_stays_within_its_limit(checkpoint, data, tmp_path):
    export_model(load_checkpoint(checkpoint), tmp_path, "INT8_ACQ", data)
    predictor = SlicePredictor.load(tmp_path / "model.xml", batch_size=2)
    assert predictor.card.compression == "INT8_ACQ"
    images = [np.asarray(Image.open(path)) for path in sorted((data.root / "test" / "abnormal").iterdir())[:3]]
    assert len(list(predictor.predict(images))) == 3


@pytest.mark.slow
def test_accuracy_aware_quantization_takes_layers_back(exported, data, tmp_path, monkeypatch):
    # Of the model in float, of the quantized one, and of all that are tried afterwards: the first of them will do.
    found = iter([1.0, 0.5])
    monkeypatch.setattr(quantize, "roc_auc_score", lambda *_: next(found, 1.0))
    for name in ("INT8_PTQ", "INT8_ACQ"):
        shutil.copytree(exported.parent, tmp_path / name)
        quantize.quantize(tmp_path / name / "model.xml", data, SIZE, name)
    everything, rest = (quantized(tmp_path / name / "model.xml").keys() for name in ("INT8_PTQ", "INT8_ACQ"))
    assert rest
    assert rest < everything


def test_accuracy_aware_quantization_needs_lesions(exported, prepared, tmp_path):
    module = make_data(prepared)
    module.setup()
    module.val_data.samples = module.val_data.samples[module.val_data.samples.label_index == 0].reset_index(drop=True)
    shutil.copytree(exported.parent, tmp_path / "copy")
    with pytest.raises(DataError, match="needs normal and abnormal validation images"):
        quantize.quantize(tmp_path / "copy" / "model.xml", module, SIZE, "INT8_ACQ")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{a: 1}", "must be a list of models"),
        ("- Padim", "must be a list of models"),
        ("- {class_path: Padim, lr: 1}", "must be a list of models"),
        ("- {class_path: [Padim]}", "each name once"),
        ("- {class_path: Padim, init_args: [1]}", r"init_args of Padim is \[1\]"),
        ("- {class_path: Padim}\n- {class_path: Padim}", "each name once"),
        ("[", "it is no YAML"),
        ("!!python/object/apply:os.system ['true']", "it is no YAML"),
    ],
)
def test_wrong_file_of_rivals(tmp_path, content, match):
    path = tmp_path / "rivals.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=match):
        read_rivals(path)


def test_rival_that_cannot_be_built(tmp_path):
    with pytest.raises(DataError, match="Padim cannot be exported for images of 64x64"):
        export_rival({"class_path": "Padim", "init_args": {"no_such": 1}}, tmp_path, SIZE)


def test_model_that_openvino_cannot_read(tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(PatchGanError, match="OpenVINO cannot run the task first"):
        run_profile("first", xml=str(tmp_path / "model.xml"), size=[32, 32], threads=1)


def test_table_leaves_out_what_no_model_has(tmp_path):
    write_edge_table({"FP32": {"p50_ms": 5.25}, "FP16": {"p50_ms": None}}, tmp_path, ["On a machine."])
    assert (tmp_path / "edge.md").read_text() == (
        "| model | p50 ms |\n|---|---:|\n| FP32 | 5.25 |\n| FP16 | - |\n\nOn a machine.\n"
    )
