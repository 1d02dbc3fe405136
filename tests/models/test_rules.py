"""The trivial rules, against numpy and numbers worked out by hand."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import ImageBatch
from PIL import Image
from sklearn.metrics import roc_auc_score

from anomalib_patchgan import FileSize, MeanIntensity, MirrorDifference, SlicePosition, StandardDeviation
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.rules.file_size import MEASURES
from anomalib_patchgan.models.rules.slice_position import central_positions
from tests.models.conftest import SIZE, make_data, make_engine


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_mean_intensity_is_the_mean(images):
    prediction = MeanIntensity("brighter").model(images)
    np.testing.assert_allclose(prediction.pred_score, images.numpy().mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(prediction.anomaly_map[:, 0], images.numpy().mean(1), rtol=1e-5)
    darker = MeanIntensity("darker").model(images)
    np.testing.assert_allclose(darker.pred_score, 1 - images.numpy().mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(darker.anomaly_map[:, 0], 1 - images.numpy().mean(1), rtol=1e-5)


def test_standard_deviation_is_that_of_the_pixels(images):
    grey = images.numpy().mean(1)
    prediction = StandardDeviation("higher", window=3).model(images)
    np.testing.assert_allclose(prediction.pred_score, grey.std((1, 2)), rtol=1e-5)
    inverted = StandardDeviation("lower").model(images)
    np.testing.assert_allclose(inverted.pred_score, 1 - grey.std((1, 2)), rtol=1e-5)

    def neighbourhood(pixels):
        padded = np.pad(pixels, 1, mode="edge")
        return np.mean([padded[r : r + 16, c : c + 24] for r in range(3) for c in range(3)], axis=0)

    expected = [np.sqrt(neighbourhood((one - neighbourhood(one)) ** 2)) for one in grey]
    np.testing.assert_allclose(prediction.anomaly_map[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_standard_deviation_of_a_smooth_image_is_zero():
    prediction = StandardDeviation("higher").model(torch.full((1, 3, 32, 32), 0.7))
    assert float(prediction.pred_score) == pytest.approx(0, abs=1e-6)
    assert float(prediction.anomaly_map.max()) == pytest.approx(0, abs=1e-6)


PLAIN = {"smoothing": 0, "edge_damping": None, "foreground_margin": 0.0}


def test_mirror_difference_of_one_spot():
    image = torch.full((1, 3, 16, 16), 0.5)
    image[..., 4:8, 0:4] = 1.0
    prediction = MirrorDifference(**PLAIN, downscale=1, patch_size=4, rank_weights=(3.0, 1.0)).model(image)
    expected = np.zeros((16, 16), np.float32)
    # Values are r / (1 + r).
    expected[4:8, 0:4] = expected[4:8, 12:16] = 0.5 / 1.5
    np.testing.assert_allclose(prediction.anomaly_map[0, 0], expected, atol=1e-6)
    # Two patches differ by 0.5 everywhere, the spot and its mirror image.
    assert float(prediction.pred_score) == pytest.approx(0.5 / 1.5)


def test_mirror_difference_ignores_the_background_and_reduces():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:12, 4:12] = 0.5
    image[..., 4:6, 4:6] = 1.0
    prediction = MirrorDifference(**PLAIN, downscale=2, patch_size=8, rank_weights=None).model(image)
    # 2 of the 8x8 pixels of the reduced image differ by 0.5.
    mean = 2 * 0.5 / 64
    assert float(prediction.pred_score) == pytest.approx(mean / (1 + mean))
    assert prediction.anomaly_map.shape == (1, 1, 16, 16)
    assert float(prediction.anomaly_map[..., :2, :].max()) == 0


def test_mirror_difference_is_damped_at_edges_and_fades_in_from_the_rim():
    image = torch.zeros(1, 3, 32, 32)
    image[..., 2:30, 2:30] = 0.5
    image[..., 14:18, 6:10] = 1.0
    plain, damped, margin = (
        MirrorDifference(**(PLAIN | change), downscale=1).model(image).anomaly_map[0, 0, 15, 7]
        for change in ({}, {"edge_damping": 0.2}, {"foreground_margin": 0.4})
    )
    # The spot is 0.5 brighter than what is around it.
    ratio = 0.5 / (0.2 + 0.5)
    assert float(damped) == pytest.approx(ratio / (1 + ratio))
    assert float(margin) < float(plain) < float(damped)


def predicted(model, data, root):
    """Scores and labels of the test split."""
    batches = make_engine(root).predict(model, datamodule=data)
    return torch.cat([b.pred_score for b in batches]).numpy(), torch.cat([b.gt_label for b in batches]).numpy()


@pytest.mark.parametrize(("shade", "inverted"), [(1.0, False), (0.3, True)])
def test_learned_sign_is_the_side_of_the_lesions(prepared, tmp_path, monkeypatch, shade, inverted):
    # Bright or dark lesion images: what counts is the pre-processed image, so the label decides in its transform.
    data = make_data(prepared)
    data.setup()
    lesions = {str(path) for split in (data.val_data, data.test_data) for path in _lesions(split.samples)}
    original = type(data.val_data).__getitem__

    def shaded(dataset, index):
        item = original(dataset, index)
        item.image = item.image * (shade if item.image_path in lesions else 0.6)
        return item

    monkeypatch.setattr(type(data.val_data), "__getitem__", shaded)
    model = MeanIntensity(image_size=SIZE, visualizer=False)
    engine = make_engine(tmp_path)
    engine.fit(model, datamodule=data)
    assert bool(model.model.inverted) is inverted
    saved = MeanIntensity.load_from_checkpoint(engine.best_model_path)
    assert bool(saved.model.inverted) is inverted
    assert float(engine.trainer.callback_metrics["val_image_AUROC"]) > 0.5

    # A test does not learn again, whatever its labels say.
    (metrics,) = engine.test(saved, datamodule=data, verbose=False)
    assert metrics["image_AUROC"] > 0.9
    # The threshold stands between the scores that the checkpoint gives.
    scores, labels = predicted(saved, data, tmp_path)
    assert roc_auc_score(labels, scores) == pytest.approx(metrics["image_AUROC"])


def _lesions(samples: pd.DataFrame) -> list[str]:
    return samples.image_path[samples.label_index == 1].tolist()


def test_sign_without_lesions_to_learn_from(prepared, tmp_path, caplog, monkeypatch):
    data = make_data(prepared)
    data.setup()
    data.val_data.samples = data.val_data.samples[data.val_data.samples.label_index == 0].reset_index(drop=True)
    monkeypatch.setattr(data, "setup", lambda stage=None: stage)  # the table is not read again
    model = StandardDeviation(image_size=SIZE, visualizer=False)
    model.model.inverted.fill_(True)
    with caplog.at_level(logging.WARNING):
        make_engine(tmp_path).fit(model, datamodule=data)
    assert not model.model.inverted
    assert "validation holds one class only, so the sign is not learned but higher" in caplog.text


@pytest.mark.parametrize("sign", ["brighter", "darker"])
def test_given_sign_stays(prepared, tmp_path, sign):
    model = MeanIntensity(sign, image_size=SIZE, visualizer=False)
    make_engine(tmp_path).fit(model, datamodule=make_data(prepared))
    assert bool(model.model.inverted) is (sign == "darker")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanIntensity("up"), "sign must be brighter, darker or learned, got 'up'"),
        (lambda: StandardDeviation("brighter"), "sign must be higher, lower or learned, got 'brighter'"),
        (lambda: StandardDeviation(window=4), "window must be odd and positive, got 4"),
        (lambda: FileSize("brighter"), "sign must be larger, smaller or learned, got 'brighter'"),
        (lambda: FileSize(size="area"), "size must be bytes, pixels or bytes_per_pixel, got 'area'"),
        (lambda: MirrorDifference(downscale=0), "downscale must be at least 1, got 0"),
        (lambda: MirrorDifference(downscale=None), "downscale must be at least 1, got None"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_central_positions_by_hand():
    table = pd.DataFrame(
        {
            "image_path": list("abcdefg"),
            "slice": ["10", "11", "12", "13", "14", "5", "5"],
            "patient_id": ["P", "P", "P", "P", "P", "Q", "R"],
        }
    )
    assert central_positions(table).tolist() == [0.0, 0.5, 1.0, 0.5, 0.0, 1.0, 1.0]
    # Where both are there, the case counts: a patient may have two volumes.
    assert central_positions(table.assign(case=["x", "y", "x", "y", "x", "z", "z"])).tolist()[:5] == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("missing", ["slice", "patient_id"])
def test_slice_position_needs_its_columns(missing):
    table = pd.DataFrame({"image_path": ["a"], "slice": [1], "patient_id": ["P"]}).drop(columns=missing)
    with pytest.raises(
        ConfigurationError, match="SlicePosition needs the columns `slice` and .* which has only"
    ) as error:
        central_positions(table)
    assert "\n" not in str(error.value)


def test_slice_without_a_number_is_named():
    table = pd.DataFrame({"image_path": ["a.png", "b.png"], "slice": [1, None], "patient_id": ["P", "P"]})
    with pytest.raises(ConfigurationError, match="slice number; b.png has none"):
        central_positions(table)


def test_slice_position_scores_test_slices_by_their_number(prepared, tmp_path):
    scores, labels = predicted(SlicePosition(image_size=SIZE, visualizer=False), make_data(prepared), tmp_path)
    # Each test patient has normal slices 0 to 3 and lesion slices 4 to 7; rows are sorted by path, lesions first.
    nearness = 1 - np.abs(np.arange(8) - 3.5) / 3.5
    assert labels.tolist() == [True] * 8 + [False] * 8
    np.testing.assert_allclose(scores, [*nearness[4:], *nearness[4:], *nearness[:4], *nearness[:4]], atol=1e-6)


def test_slice_position_can_neither_be_exported_nor_predict_a_folder(prepared, tmp_path):
    model = SlicePosition(image_size=SIZE, visualizer=False)
    for export in (model.to_torch, model.to_onnx, model.to_openvino):
        with pytest.raises(ConfigurationError, match="can neither be exported nor predict without a data module"):
            export(tmp_path)
    with pytest.raises(ConfigurationError, match="can neither be exported nor predict without a data module"):
        make_engine(tmp_path).predict(model, data_path=prepared / "test" / "normal")
    assert model(torch.rand(2, 3, *SIZE)).pred_score.isnan().all()


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Three images: small and noisy, large and smooth, and in between."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, side, noise in (("a", 20, 255), ("b", 100, 1), ("c", 60, 8)):
        Image.fromarray(rng.integers(0, noise, (side, 2 * side), dtype=np.uint8)).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in "abc"]


@pytest.mark.parametrize("size", MEASURES)
def test_file_size_of_known_files(files, size):
    bytes_ = np.array([Path(path).stat().st_size for path in files])
    pixels = np.array([800, 20000, 7200])
    known, half = {
        "bytes": (bytes_, 2**20), "pixels": (pixels, 2**20), "bytes_per_pixel": (bytes_ / pixels, 1)
    }[size]  # fmt: skip
    np.testing.assert_allclose(FileSize("larger", size).score_files(files), known / (known + half), rtol=1e-6)
    np.testing.assert_allclose(FileSize("smaller", size).score_files(files), half / (known + half), rtol=1e-6)


@pytest.mark.parametrize("sign", ["larger", "smaller"])
def test_file_size_keeps_the_order_below_one(monkeypatch, sign):
    # Neighbouring sizes of usual files, and what no disk holds.
    sizes = [1, 2, *range(20_000, 20_010), 3_000_000, 3_000_001, 2**31, 2**40]
    monkeypatch.setitem(MEASURES, "bytes", (lambda path: float(str(path)), MEASURES["bytes"][1]))
    scores = FileSize(sign).score_files([str(size) for size in sizes])
    assert 0 <= scores.min() < scores.max() < 1
    steps = scores.diff() * (-1 if sign == "smaller" else 1)
    assert (steps > 0).all()


def test_file_size_scores_test_images_and_maps_by_their_files(prepared, tmp_path):
    model = FileSize(image_size=SIZE, visualizer=False)
    engine = make_engine(tmp_path)
    engine.fit(model, datamodule=make_data(prepared))
    (metrics,) = engine.test(model, datamodule=make_data(prepared), verbose=False)
    data = make_data(prepared)
    data.setup()
    paths = data.test_data.samples.image_path
    bytes_ = np.array([Path(path).stat().st_size for path in paths])
    auroc = roc_auc_score(data.test_data.samples.label_index, -bytes_ if model.model.inverted else bytes_)
    assert metrics["image_AUROC"] == pytest.approx(auroc)
    batch = ImageBatch(image=torch.rand(2, 3, *SIZE), image_path=list(paths[:2]))
    scored = model.validation_step(batch)
    assert torch.equal(scored.anomaly_map, scored.pred_score[:, None, None].expand(2, *SIZE))


@pytest.mark.parametrize("smaller", [False, True])
def test_file_size_learns_its_side(prepared, tmp_path, monkeypatch, smaller):
    # Lesion images have "abnormal" in their paths.
    monkeypatch.setitem(MEASURES, "bytes", (lambda path: 1 + float(("abnormal" in str(path)) != smaller), 1.0))
    model = FileSize(image_size=SIZE, visualizer=False)
    engine = make_engine(tmp_path)
    engine.fit(model, datamodule=make_data(prepared))
    assert bool(model.model.inverted) is smaller
    saved = FileSize.load_from_checkpoint(engine.best_model_path)
    (metrics,) = engine.test(saved, datamodule=make_data(prepared), verbose=False)
    assert metrics["image_AUROC"] == 1


def test_file_size_predicts_a_folder_but_cannot_be_exported(files, tmp_path):
    model = FileSize("larger", image_size=SIZE, visualizer=False, post_processor=False)
    batches = make_engine(tmp_path).predict(model, data_path=Path(files[0]).parent)
    found = torch.cat([batch.pred_score for batch in batches])
    assert torch.equal(found, model.score_files(files))
    for export in (model.to_torch, model.to_onnx, model.to_openvino):
        with pytest.raises(ConfigurationError, match="FileSize scores .* cannot be exported"):
            export(tmp_path)
    with pytest.raises(ConfigurationError, match="only images that are read from files"):
        model.validation_step(ImageBatch(image=torch.rand(2, 3, *SIZE)))
    assert model(torch.rand(2, 3, *SIZE)).pred_score.isnan().all()


@pytest.mark.parametrize(
    ("size", "message"), [("bytes", "cannot look up the size of .*gone.png"), ("pixels", "gone.png cannot be read")]
)
def test_file_size_names_a_file_that_is_gone(tmp_path, size, message):
    with pytest.raises(DataError, match=message) as caught:
        FileSize(size=size).score_files([str(tmp_path / "gone.png")])
    assert "\n" not in str(caught.value)
