"""Exports carry a card, and a changed file, card or model is noticed when it is loaded."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_patchgan import Autoencoder, MirrorDifference, PatchGan
from anomalib_patchgan.deploy.bundle import read_export
from anomalib_patchgan.deploy.export import export_model
from anomalib_patchgan.deploy.model_card import CARD, describe
from anomalib_patchgan.deploy.predictor import SlicePredictor, load_checkpoint
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, PatchGanError
from tests.deploy.conftest import RECIPE
from tests.models.conftest import SIZE, make_data


@pytest.fixture
def copy(exported, tmp_path):
    """A copy of the export, to be damaged."""
    return shutil.copytree(exported.parent, tmp_path / "copy") / "model.xml"


def test_card_says_what_a_program_needs(exported, checkpoint):
    card = read_export(exported).card
    module = load_checkpoint(checkpoint)
    assert card.model == "PatchGan"
    assert card.image_size == SIZE
    assert card.recipe == RECIPE
    assert card.raw_thresholds == pytest.approx(
        (float(module.post_processor.image_threshold), float(module.post_processor.pixel_threshold))
    )
    assert len(card.hash) == 64
    written = json.loads((exported.parent / CARD).read_text())
    assert written["outputs"]["anomaly_map"]["threshold"] == 0.5
    assert written["input"]["range"] == [0, 1]


def test_card_names_the_images_of_the_training(exported, prepared):
    data = make_data(prepared)
    assert data.training_images is None
    data.setup()
    assert read_export(exported).card.training_images == data.training_images


def test_card_of_an_older_version(copy):
    path = copy.with_name(CARD)
    record = json.loads(path.read_text())
    del record["training_images"]
    path.write_text(json.dumps(record))
    assert read_export(copy).card.training_images is None


def test_card_stands_in_the_graph_too(exported):
    model = openvino.Core().read_model(exported)
    assert json.loads(model.get_rt_info(["patchgan", "image_size"]).astype(str)) == list(SIZE)
    assert json.loads(model.get_rt_info(["patchgan", "recipe"]).astype(str))["modalities"] == ["flair"]
    assert "anomalib_patchgan" in json.loads(model.get_rt_info(["patchgan", "versions"]).astype(str))


def test_threshold_is_at_a_half(exported, trained):
    from PIL import Image

    predictor = SlicePredictor.load(exported)
    lesions = [np.asarray(Image.open(path)) for path in trained.lesion_images]
    module = trained.load()
    raw = float(module.post_processor.image_threshold)
    images = [image / 255 for image in lesions]
    scores = [one.score for one in predictor.predict(lesions)]
    import torch

    batch = torch.from_numpy(np.stack(images)).float()[:, None].repeat(1, 3, 1, 1)
    before = module.model(batch).pred_score.numpy()
    np.testing.assert_array_equal(np.array(scores) > 0.5, before > raw)


def test_changed_file_is_noticed(copy):
    text = copy.read_text().replace('version="11"', 'version="11" ')
    copy.write_text(text)
    with pytest.raises(DataError, match="is not the file that was exported"):
        read_export(copy)


def test_weights_of_another_export_are_noticed(copy):
    content = bytearray(copy.with_suffix(".bin").read_bytes())
    content[-1] ^= 1
    copy.with_suffix(".bin").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.bin is not the file"):
        SlicePredictor.load(copy)


@pytest.mark.parametrize("name", ["model.xml", "model.bin", CARD])
def test_missing_file(copy, name):
    copy.with_name(name).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"{name} does not exist"):
        SlicePredictor.load(copy)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 2}, "it is no model card of format 1: export the model again"),
        (
            {"image_size": [64, -1]},
            r"image_size\[1\] must be greater than or equal to 1, got -1: export the model again",
        ),
        ({"image_size": 64}, "image_size must be a valid tuple"),
        ({"image_size": [64, 64, 64]}, "image_size must have at most 2 items"),
        ({"image_size": [True, 64]}, r"image_size\[0\] must be a valid integer"),
        ({"patch_side": "8"}, "patch_side must be a valid integer"),
        ({"sha256": {"../model.xml": "0"}}, r"sha256\['../model.xml'\].* must be a name of a file beside the card"),
        ({"sha256": {"a\x1b[2J\n": 0}}, r"sha256\['a\\x1b\[2J\\n'\] must be a valid string, got 0"),
        ({"sha256": None}, "sha256 must be an object, got None"),
        ({"raw_thresholds": ["a", 1.0]}, r"raw_thresholds\[0\] must be a valid number"),
        ({"raw_thresholds": [float("nan"), 1.0]}, r"raw_thresholds\[0\] must be a finite number"),
        ({"recipe": {"modalities": "flair"}}, "modalities is"),
        ({"recipe": {"modalities": ["flair"], "min_brain": 2}}, "min_brain is"),
        ({"recipe": {"modalities": ["a/b"]}}, "modalities is"),
        ({"recipe": {"scaling": "none"}}, "scaling is"),
        ({"recipe": 3}, "recipe must be an instance of VolumeRecipe, got 3"),
        ({"model": None}, "model must be a valid string, got None"),
        ({"model": "a b"}, "model must be the name of a class, got 'a b'"),
        ({"patient_threshold": 2}, "patient_threshold is out of its range"),
        ({"training_images": {"count": 3}}, "training_images.sha256 is missing"),
        ({"training_images": {"count": -1, "sha256": "0" * 64}}, "training_images.count must be greater than or equal"),
        ({"training_images": {"count": 3, "sha256": "0" * 63 + "x"}}, "training_images.sha256 must match"),
        ({"training_images": {"count": 3, "sha256": "0" * 64, "more": 1}}, "training_images.more must"),
    ],
)
def test_damaged_card_is_one_line(copy, change, match):
    path = copy.with_name(CARD)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=match) as caught:
        read_export(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[", "[]", "null", "1e999", "[" * 100_000, "\x00", '{"format": NaN}'])
def test_card_that_is_no_json(copy, text):
    copy.with_name(CARD).write_text(text)
    with pytest.raises(DataError, match="is no model card of format 1|is no valid JSON file"):
        read_export(copy)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_value_in_a_card_is_refused_or_harmless(exported, data):
    record = json.loads((exported.parent / CARD).read_text())
    part = record["recipe"] if data.draw(st.booleans()) else record
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(VALUES)
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "model.xml"
        for suffix in (".xml", ".bin"):
            copied.with_suffix(suffix).symlink_to(exported.with_suffix(suffix))
        copied.with_name(CARD).write_text(json.dumps(record))
        message, card = "", None
        try:
            card = read_export(copied).card
        except PatchGanError as error:
            message = str(error)
    assert "\n" not in message
    if card is not None:
        assert len(card.hash) == 64
        assert all(isinstance(text, str) for text in (*card.versions, *card.versions.values()))


def test_models_that_are_none(tmp_path, trained):
    with pytest.raises(ConfigurationError, match="neither a model.xml nor a bundle"):
        SlicePredictor.load(tmp_path / "model.onnx")
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        SlicePredictor.load(tmp_path / "model.ckpt")
    (tmp_path / "model.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match="is no checkpoint of PatchGan"):
        SlicePredictor.load(tmp_path / "model.ckpt")
    with pytest.raises(ConfigurationError, match="batch_size must be at least 1"):
        SlicePredictor.load(trained.checkpoint, batch_size=0)


def test_model_without_a_size_cannot_be_described():
    with pytest.raises(DataError, match="has no image_size of its own"):
        describe(PatchGan(image_size=None, width=4))


def test_model_without_thresholds_and_without_patches():
    card = describe(Autoencoder(image_size=(64, 64)))
    assert card.raw_thresholds is None
    assert card.recipe is None


def test_a_rule_with_patches_is_described():
    assert describe(MirrorDifference(image_size=(64, 64), downscale=2, patch_size=8)).patch_side == 16


def test_export_replaces_the_former_one_or_nothing(checkpoint, tmp_path, monkeypatch):
    module = load_checkpoint(checkpoint)
    export_model(module, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["model.bin", "model.xml", CARD]

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino, "save_model", fail)
    with pytest.raises(DataError, match="No space left on device"):
        export_model(module, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_quantization_needs_data(checkpoint, tmp_path):
    with pytest.raises(ConfigurationError, match="INT8_PTQ needs images"):
        export_model(load_checkpoint(checkpoint), tmp_path, "INT8_PTQ")
