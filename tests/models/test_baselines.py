"""What all baselines and trivial rules have in common in anomalib's Engine."""

from dataclasses import dataclass
from pathlib import Path

import anomalib.models
import numpy as np
import openvino
import pytest
import torch
from anomalib.deploy import ExportType
from anomalib.models import get_model, list_models
from anomalib.models.components import AnomalibModule
from lightning import seed_everything
from lightning.pytorch import Callback

import anomalib_patchgan
from anomalib_patchgan.errors import DataError, TrainingDivergedError
from anomalib_patchgan.version import ONNX_OPSET
from tests.fakes.prepared import write_prepared_folder
from tests.models.conftest import SIZE, load_checkpoint, make_data, make_engine
from tests.models.test_export import assert_same, engine_predict, exported_predict

SMALL = {"width": 8, "depth": 3}
# Arguments, epochs, and what the bright lesions of the fakes must at least give.
BASELINES = {
    "Autoencoder": (SMALL | {"lr": 5e-3}, 15, {"image_AUROC": 0.8, "pixel_AUROC": 0.9}),
    "Alocc": (SMALL | {"discriminator_widths": (8, 16)}, 8, {}),
    "OneClassSvm": ({"components": None}, 1, {"image_AUROC": 0.8}),
    "MeanIntensity": ({}, 1, {"pixel_AUROC": 0.95}),
    "StandardDeviation": ({}, 1, {"image_AUROC": 0.9}),
    "SlicePosition": ({}, 1, {}),
    "FileSize": ({}, 1, {}),
    "MirrorDifference": ({}, 1, {"image_AUROC": 0.9, "pixel_AUROC": 0.9}),
}
TRAINED = ("Autoencoder", "Alocc", "OneClassSvm")
EXPORTED = [name for name in BASELINES if name not in {"SlicePosition", "FileSize"}]


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline and what it left."""

    name: str
    model: AnomalibModule
    checkpoint: Path
    metrics: dict[str, float]

    def load(self) -> AnomalibModule:
        """A fresh copy from the checkpoint."""
        return type(self.model).load_from_checkpoint(self.checkpoint, map_location="cpu").eval()


def make(name: str, **arguments) -> AnomalibModule:
    """A small baseline."""
    return getattr(anomalib_patchgan, name)(image_size=SIZE, **(BASELINES[name][0] | arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Prepared folder with enough normal slices for a support vector machine."""
    patients = [f"P{number:02}" for number in range(16)]
    return write_prepared_folder(
        tmp_path_factory.mktemp("many"), patients=patients, test_patients=("T01", "T02", "T03")
    )


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    """Fits each baseline once and tests its checkpoint."""
    done: dict[str, Fitted] = {}

    def fit(name: str) -> Fitted:
        if name not in done:
            seed_everything(0, verbose=False)
            engine = make_engine(tmp_path_factory.mktemp(name), max_epochs=BASELINES[name][1])
            model = make(name, visualizer=False)
            engine.fit(model, datamodule=make_data(folder))
            checkpoint = Path(engine.best_model_path)
            (metrics,) = engine.test(model, datamodule=make_data(folder), ckpt_path=checkpoint, verbose=False)
            done[name] = Fitted(name, model.eval(), checkpoint, dict(metrics))
        return done[name]

    return fit


@pytest.mark.parametrize("name", BASELINES)
def test_registered_with_anomalib(name):
    assert name in list_models("pascal")
    for model in (get_model(name), get_model({"class_path": f"anomalib_patchgan.{name}"})):
        assert type(model) is getattr(anomalib_patchgan, name) is getattr(anomalib.models, name)


def test_no_class_of_anomalib_is_hidden():
    for base in AnomalibModule.__subclasses__():
        if not base.__module__.startswith(("anomalib_patchgan.", "tests.")):
            assert base.__name__ not in anomalib_patchgan.__all__


@pytest.mark.parametrize("name", BASELINES)
def test_finds_the_lesions_that_it_can(fitted, name):
    metrics = fitted(name).metrics
    assert {"image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_AUPR", "pixel_F1Score"} <= metrics.keys()
    assert {key: metrics[key] for key, least in BASELINES[name][2].items() if metrics[key] < least} == {}


@pytest.mark.parametrize("name", EXPORTED)
def test_scores_and_maps_are_in_range_and_the_same_in_any_batch(fitted, folder, name):
    data = make_data(folder)
    data.setup()
    images = torch.stack([data.test_data[index].image for index in range(6)])
    model = fitted(name).model.model
    with torch.no_grad():
        together = model(images)
        alone = [model(image[None]) for image in images]
    assert together.pred_score.shape == (6,)
    assert together.anomaly_map.shape == (6, 1, *SIZE)
    for values in (together.pred_score, together.anomaly_map):
        assert 0 <= values.min() < values.max() <= 1
        assert not values.requires_grad
    # A score that depended on the other images of a batch would be no score of an image.
    torch.testing.assert_close(torch.cat([one.pred_score for one in alone]), together.pred_score, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat([one.anomaly_map for one in alone]), together.anomaly_map, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BASELINES)
def test_checkpoint_gives_the_same_scores(fitted, folder, tmp_path, name):
    def predict(model):
        batches = make_engine(tmp_path).predict(model, datamodule=make_data(folder))
        return [torch.cat([getattr(batch, key) for batch in batches]) for key in ("pred_score", "anomaly_map")]

    one = fitted(name)
    expected, found = predict(one.model), predict(one.load())
    assert torch.equal(expected[0], found[0])
    assert torch.equal(expected[1], found[1])
    assert expected[0].unique().numel() > 2
    assert load_checkpoint(one.checkpoint)["hyper_parameters"]["image_size"] == SIZE


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_model_agrees_with_the_engine(fitted, folder, tmp_path, name):
    images = tmp_path / "images"
    images.mkdir()
    for kind in ("normal", "abnormal"):
        for path in sorted((folder / "test" / kind).iterdir())[:3]:
            (images / f"{kind}_{path.name}").symlink_to(path)
    one = fitted(name)
    # What a few epochs of a game make of Alocc's scores differs between processors.
    spread = 2e-3 if name == "Alocc" else 0.02
    expected = engine_predict(one.load(), tmp_path, images)
    settings = {"opset_version": ONNX_OPSET}
    onnx = make_engine(tmp_path).export(one.load(), ExportType.ONNX, tmp_path, onnx_kwargs=settings)
    assert_same(expected, exported_predict(onnx, images), spread)
    # What anomalib's OpenVINO export does with the same graph; tracing it twice would take most of the time.
    openvino.save_model(openvino.convert_model(onnx), tmp_path / "model.xml", compress_to_fp16=False)
    assert_same(expected, exported_predict(tmp_path / "model.xml", images), spread)


@pytest.mark.parametrize("name", BASELINES)
def test_trains_without_evaluator_and_visualizer(folder, tmp_path, name):
    engine = make_engine(tmp_path, max_epochs=1, limit_val_batches=2)
    model = make(name, evaluator=False, visualizer=False)
    engine.fit(model, datamodule=make_data(folder))
    assert torch.isfinite(model.post_processor.image_threshold)
    assert not np.isnan(float(model.post_processor.pixel_threshold))


@pytest.mark.parametrize("name", BASELINES)
def test_checkpoint_of_another_model_is_refused(trained, name):
    with pytest.raises(DataError, match="checkpoint") as caught:
        type(make(name)).load_from_checkpoint(trained.checkpoint)
    assert "\n" not in str(caught.value)


class Poison(Callback):
    """Puts NaN into every training image."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Put it in."""
        del trainer, pl_module, batch_idx
        batch.image.fill_(torch.nan)


@pytest.mark.parametrize("name", TRAINED)
def test_nan_stops_training(folder, tmp_path, name):
    engine = make_engine(tmp_path, max_epochs=1, callbacks=[Poison()])
    model = make(name)
    with pytest.raises(TrainingDivergedError, match="training stopped") as caught:
        engine.fit(model, datamodule=make_data(folder))
    assert "\n" not in str(caught.value)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["Autoencoder", "Alocc", "OneClassSvm", "MirrorDifference"])
def test_image_size_that_does_not_fit_is_refused_at_once(name):
    size = (33, 64)
    with pytest.raises(
        DataError, match=rf"{name} got images of 33x64 .* multiples of \d+; set image_size .*'\[\d+, 64"
    ):
        getattr(anomalib_patchgan, name)(image_size=size)
