"""`anomalib-patchgan compare`: a trained model beside trivial rules."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_patchgan.benchmark.beside_rules import COMPARED, RULES, BesideRules
from anomalib_patchgan.cli import main
from anomalib_patchgan.cli.compare import conclude, make_table
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR
from tests.fakes.prepared import write_prepared_folder

pytestmark = pytest.mark.usefixtures("clean_environment")

# As `limit_train_batches`, jsonargparse reads 1 as a share, all of them.
TRAINER = {"max_epochs": 1, "max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False}


def train(folder: Path, model: dict, data: dict) -> Path:
    """Train through the command line; returns the results."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"seed_everything": 0, "model": model, "data": data, "trainer": TRAINER}))
    assert main(["train", "--config", str(path), "--default_root_dir", str(folder / "results")]) == 0
    (found,) = [path for path in (folder / "results").rglob("model.ckpt") if "latest" not in path.parts]
    return found.parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Folder of the data and the results."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def results(root) -> Path:
    """Results of a model that has learned nothing yet, on discs with bright lesions."""
    write_prepared_folder(root / "data")
    model = {"class_path": "PatchGan", "init_args": {"image_size": [64, 64], "width": 4, "depth": 2}}
    data = {"root": str(root / "data"), "train_batch_size": 4, "num_workers": 0, "val_split_ratio": 0.4}
    return train(root, model, {"class_path": "PreparedFolder", "init_args": data})


@pytest.mark.slow
def test_a_model_is_measured_beside_rules(root, results, capsys):
    before = {path for path in root.rglob("*") if "compare" not in path.parts}
    assert main(["compare", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    record = json.loads((results / "compare" / "compare.json").read_text())
    assert record["images"] == {"normal": 8, "lesion": 8}
    assert record["left_out"] == {}
    assert record["metrics"].keys() == {"PatchGan", *RULES}

    images, masks = [], []
    for path in sorted((root / "data" / "test").glob("*ormal/*.png")):
        mask = path.parents[1] / "mask" / path.name
        images.append(np.asarray(Image.open(path), np.float64))
        masks.append(np.asarray(Image.open(mask)) > 0 if mask.is_file() else np.zeros((64, 64), bool))
    labels, means = [mask.any() for mask in masks], [image.mean() for image in images]
    brighter, darker = (record["metrics"][f"MeanIntensity, {side}"] for side in ("brighter", "darker"))
    assert brighter["image_AUROC"] == pytest.approx(roc_auc_score(labels, means))
    assert darker["image_AUROC"] == pytest.approx(1 - brighter["image_AUROC"])
    ap = average_precision_score(np.ravel(masks), np.ravel(images))
    assert brighter["pixel_AP"] == pytest.approx(ap, abs=1e-6)

    # Brightness finds these lesions, which one step of training does not.
    own = record["metrics"]["PatchGan"]["pixel_AP"]
    assert own < ap
    sentence = f"not above a rule without training in pixel AP: {own:.3f} against {ap:.3f} of MeanIntensity, brighter."
    assert any(line.endswith(sentence) for line in lines)
    with Image.open(lines[-1].split(": ")[-1]) as sheet:
        # A row for each of three cases; image, lesion, the map of the model and that of the best rule.
        assert 1.1 < sheet.width / sheet.height < 1.5
    assert record["examples"].keys() == {"best", "median", "worst"}
    # No results of its own, which `latest` would lead to.
    assert before == {path for path in root.rglob("*") if "compare" not in path.parts}


@pytest.mark.slow
def test_data_without_masks_and_slice_numbers(tmp_path, capsys):
    root = write_prepared_folder(tmp_path / "data")
    model = {"class_path": "Autoencoder", "init_args": {"image_size": [64, 64]}}
    data = {
        "name": "discs",
        "root": str(root),
        "normal_dir": "train/normal",
        "abnormal_dir": "test/abnormal",
        "normal_test_dir": "test/normal",
        "num_workers": 0,
    }
    results = train(tmp_path, model, {"class_path": "Folder", "init_args": data})
    out = tmp_path / "out"
    out.mkdir()
    (out / "sheet.png").touch()
    capsys.readouterr()
    assert main(["compare", str(results), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    record = json.loads((out / "compare.json").read_text())
    assert record["left_out"].keys() == {"SlicePosition"}
    assert "Left out: SlicePosition: SlicePosition needs the columns" in printed
    assert record["metrics"]["Autoencoder"]["image_AUROC"] is not None
    assert record["metrics"]["Autoencoder"]["pixel_AP"] is None
    assert "lack masks, lesions or normal images: pixel AP, best Dice." in printed
    # One of a former run would be taken for this one's.
    assert not (out / "sheet.png").exists()


def test_what_is_no_training_is_refused(tmp_path, capsys):
    def refusal(*words: str) -> str:
        assert main(["compare", str(tmp_path), *words]) == USAGE_ERROR
        return capsys.readouterr().err

    assert "give the results of a training, which hold its config.yaml" in refusal()
    config = tmp_path / "config.yaml"
    for content in ("model: PatchGan\n", "[1, 2]\n", "model: {class_path: 3}\ndata: {class_path: PreparedFolder}\n"):
        config.write_text(content)
        assert f"{config} is not of a training" in refusal()
    config.write_text("model: {class_path: PatchGan}\ndata: {class_path: BrainPhantom}\n")
    assert "no checkpoint at" in refusal()
    assert "no checkpoint at nowhere.ckpt" in refusal("--model", "nowhere.ckpt")
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_refused(results, tmp_path, capsys):
    config = yaml.safe_load((results / "config.yaml").read_text())
    config["model"]["init_args"]["width"] = 8
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = results / "weights" / "lightning" / "model.ckpt"
    assert main(["compare", str(tmp_path), "--model", str(checkpoint)]) == FAILURE
    assert "the checkpoint does not fit this PatchGan" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("compare.json"))


def make(own: dict, rule: dict) -> BesideRules:
    return BesideRules(
        model="PatchGan", normal=3, lesion=2, metrics={"PatchGan": own, "SlicePosition": rule}, left_out={},
        examples={}, chosen={},
    )  # fmt: skip


def test_the_conclusion_names_each_metric_that_a_rule_reaches():
    rule = dict.fromkeys(COMPARED, 0.5)
    assert conclude(make(dict.fromkeys(COMPARED, 0.75), rule)) == ["PatchGan is above every rule."]
    lines = conclude(make({"image_AUROC": 0.75, "pixel_AP": 0.5, "pixel_best_dice": 0.25}, rule))
    assert [line.split("training in ")[1] for line in lines] == [
        "pixel AP: 0.500 against 0.500 of SlicePosition.",
        "best Dice: 0.250 against 0.500 of SlicePosition.",
    ]
    table = make_table(make(dict.fromkeys(COMPARED, 0.75), rule))
    assert [list(column.cells) for column in table.columns] == [
        ["image AUROC", "pixel AP", "best Dice"], ["0.750"] * 3, ["0.500"] * 3, ["SlicePosition"] * 3,
    ]  # fmt: skip
