"""Exported models give the scores and maps of the Engine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType, ExportType, OpenVINOInferencer, TorchInferencer
from PIL import Image

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.patchgan.evidence import Foreignness, Restoration
from anomalib_patchgan.version import ONNX_OPSET
from tests.models.conftest import make_data, make_engine, make_model

Prediction = tuple[np.ndarray, np.ndarray]
FULL_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
# How far the worst score and the mean of the map's pixels may be from the Engine's; INT8 is not meant to be exact.
COMPRESSED = {"FP16": (1e-3, 1e-3), "INT8": (0.02, 0.01), "INT8_PTQ": (0.25, 0.1)}


@pytest.fixture(scope="session")
def export(trained, prepared, tmp_path_factory) -> Callable[..., Path]:
    """Exports the trained model; a second request for the same form is answered from the first."""
    done: dict[tuple[str, str], Path] = {}

    def run(export_type: ExportType, compression: str = "none") -> Path:
        key = (export_type.value, compression)
        if key not in done:
            path = make_engine(tmp_path_factory.mktemp("engine")).export(
                trained.load(),
                export_type,
                export_root=tmp_path_factory.mktemp("export"),
                compression_type=None if compression == "none" else CompressionType(compression.lower()),
                datamodule=make_data(prepared),
                onnx_kwargs={"opset_version": ONNX_OPSET},
            )
            assert path is not None
            done[key] = path
        return done[key]

    return run


def engine_predict(model: PatchGan, root: Path, folder: Path) -> Prediction:
    """Scores and maps of the images of a folder, in the order of their names."""
    batches = make_engine(root).predict(model, data_path=folder)
    assert [Path(path).name for batch in batches for path in batch.image_path] == names(folder)
    scores, maps = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("pred_score", "anomaly_map"))
    return scores.numpy(), maps.numpy()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def exported_predict(path: Path, folder: Path) -> Prediction:
    """The same, by ONNX Runtime or OpenVINO at full precision."""
    images = [read_image(folder / name, as_tensor=True)[None].numpy() for name in names(folder)]
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = [session.run(["pred_score", "anomaly_map"], {"input": image}) for image in images]
    else:
        model = openvino.Core().compile_model(path, "CPU", FULL_PRECISION)
        results = [model(image) for image in images]
        outputs = [[result["pred_score"], result["anomaly_map"]] for result in results]
    scores, maps = zip(*outputs, strict=True)
    return np.concatenate([score.reshape(-1) for score in scores]), np.concatenate(maps)


def differences(first: Prediction, second: Prediction, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Differences of all scores and of all pixels of the maps, which may differ in singleton axes."""
    assert first[0].shape == second[0].shape
    assert first[1].size == second[1].size
    assert np.ptp(first[0]) > spread  # equal scores would agree with anything
    return np.abs(first[0] - second[0]), np.abs(first[1].reshape(-1) - second[1].reshape(-1))


def assert_same(first: Prediction, second: Prediction, spread: float = 0.02) -> None:
    scores, pixels = differences(first, second, spread)
    assert scores.max() < 1e-4
    assert pixels.max() < 1e-4


@pytest.fixture(scope="session", params=["size of the model", "other size"])
def fake_images(request, prepared, tmp_path_factory) -> Path:
    """Brains with and without lesions, at the model's size or at one that the graph has to resize."""
    folder = tmp_path_factory.mktemp("images")
    for kind in ("normal", "abnormal"):
        for path in sorted((prepared / "test" / kind).iterdir())[:3]:
            image = Image.open(path)
            image = image if request.param == "size of the model" else image.resize((150, 110))
            image.save(folder / f"{kind}_{path.name}")
    return folder


@pytest.mark.parametrize("export_type", [ExportType.ONNX, ExportType.OPENVINO])
def test_exported_model_agrees_with_the_engine(export, trained, fake_images, tmp_path, export_type):
    expected = engine_predict(trained.load(), tmp_path, fake_images)
    assert_same(expected, exported_predict(export(export_type), fake_images))


@pytest.mark.parametrize(("compression", "tolerances"), COMPRESSED.items())
def test_compressed_model_is_near_the_engine(export, trained, fake_images, tmp_path, compression, tolerances):
    expected = engine_predict(trained.load(), tmp_path, fake_images)
    path = export(ExportType.OPENVINO, compression)
    scores, pixels = differences(expected, exported_predict(path, fake_images))
    assert scores.max() < tolerances[0]
    assert pixels.mean() < tolerances[1]
    small, full = (one.with_suffix(".bin").stat().st_size for one in (path, export(ExportType.OPENVINO)))
    assert small < 0.6 * full


def test_both_runtimes_agree_on_real_slices(export, trained, shared_data, tmp_path):
    source = shared_data / "lgg_flair" / "test" / "abnormal"
    if not source.is_dir():
        pytest.skip(f"needs the real images of {source}, which do not exist here")
    folder = tmp_path / "slices"
    folder.mkdir()
    for path in sorted(source.glob("*.png"))[::40][:6]:
        (folder / path.name).symlink_to(path.resolve())
    expected = engine_predict(trained.load(), tmp_path, folder)
    for export_type in (ExportType.ONNX, ExportType.OPENVINO):
        assert_same(expected, exported_predict(export(export_type), folder))


@pytest.mark.parametrize("fake_images", ["other size"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "scale"),
    [
        (
            {
                "downscale": 2,
                "rank_weights": None,
                "network": "plain",
                "evidences": [Restoration("l2"), Foreignness()],
            },
            0.05,
        ),
        (
            {
                "discriminator": "conditional",
                "adversarial_weight": 0.0,
                "fold": 2,
                "evidences": None,
                "intensity_normalization": 0.35,
                "image_context": 0.25,
            },
            2.1,
        ),
        ({"evidences": [Restoration(mirror=0.3)], "image_context": 0.5}, 0.6),
    ],
)
def test_other_settings_export_too(fake_images, tmp_path, arguments, scale):
    torch.manual_seed(0)
    model = make_model(**arguments).eval()
    model.model.score_scale.fill_(scale)  # untrained scores are close to each other otherwise
    path = make_engine(tmp_path).export(model, ExportType.ONNX, tmp_path, onnx_kwargs={"opset_version": ONNX_OPSET})
    expected = engine_predict(model, tmp_path, fake_images)
    assert_same(expected, exported_predict(path, fake_images))


def test_inferencers_read_an_image_file_and_agree(export, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    monkeypatch.chdir(tmp_path)  # OpenVINOInferencer makes a cache folder where it runs
    image = trained.lesion_images[0]
    by_torch = TorchInferencer(export(ExportType.TORCH), device="cpu").predict(image)
    by_openvino = OpenVINOInferencer(export(ExportType.OPENVINO), device="CPU", config=FULL_PRECISION).predict(image)
    for name in ("pred_score", "anomaly_map"):
        first, second = (np.asarray(getattr(result, name)).reshape(-1) for result in (by_torch, by_openvino))
        assert np.abs(first - second).max() < 1e-4
        assert first.max() > 0
    assert np.asarray(by_torch.pred_label).item() == np.asarray(by_openvino.pred_label).item()


def test_black_image_scores_zero_after_export(export):
    black = np.zeros((1, 3, 64, 64), np.float32)
    for path in (export(ExportType.ONNX), export(ExportType.OPENVINO)):
        model = openvino.Core().compile_model(path, "CPU", FULL_PRECISION)
        result = model(black)
        assert float(result["pred_score"].max()) == 0
        assert float(result["anomaly_map"].max()) == 0


def test_batches_of_any_size(export):
    batch = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    model = openvino.Core().compile_model(export(ExportType.OPENVINO), "CPU", FULL_PRECISION)
    together = model(batch)["pred_score"].reshape(-1)
    alone = [float(model(image[None])["pred_score"].max()) for image in batch]
    assert together == pytest.approx(alone, abs=1e-5)
