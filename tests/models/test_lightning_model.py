"""PatchGan in anomalib's Engine: training, evaluation, prediction and checkpoints."""

from pathlib import Path

import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import PredictDataset
from lightning.pytorch.callbacks import EarlyStopping

from anomalib_patchgan import PatchGan
from tests.models.conftest import load_checkpoint, make_data, make_engine, make_model

LOSSES = ("train_loss_reconstruction", "train_loss_adversarial", "train_loss_discriminator")


def heat_maps(root: Path) -> list[Path]:
    """Heat-map images that an Engine wrote."""
    return [path for path in root.rglob("*.png") if "images" in path.parts]


def test_fit_logs_every_loss_and_learns(trained):
    assert set(LOSSES) <= trained.metrics.keys()
    assert all(0 < trained.metrics[name] < 10 for name in LOSSES)
    assert trained.metrics["val_image_AUROC"] > 0.9


def test_test_writes_metrics_and_heat_maps(trained, prepared, tmp_path):
    engine, data = make_engine(tmp_path), make_data(prepared)
    (metrics,) = engine.test(make_model(), datamodule=data, ckpt_path=trained.checkpoint, verbose=False)
    assert metrics["image_AUROC"] > 0.9
    assert metrics["pixel_AUROC"] > 0.9
    assert len(heat_maps(tmp_path)) == len(data.test_data) == 16


def test_validate(trained, prepared, tmp_path):
    engine = make_engine(tmp_path)
    (metrics,) = engine.validate(
        make_model(), datamodule=make_data(prepared), ckpt_path=trained.checkpoint, verbose=False
    )
    assert metrics["val_image_AUROC"] == pytest.approx(trained.metrics["val_image_AUROC"])


def test_train_fits_and_tests(prepared, tmp_path):
    engine = make_engine(tmp_path, max_epochs=1)
    (metrics,) = engine.train(make_model(), datamodule=make_data(prepared))
    assert {"image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_AUPR", "pixel_F1Score"} <= metrics.keys()


def predict(model: PatchGan, root: Path, **what) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and maps of all predicted images."""
    batches = make_engine(root).predict(model, **what)
    return torch.cat([batch.pred_score for batch in batches]), torch.cat([batch.anomaly_map for batch in batches])


def test_predict_folder_dataset_and_data_module_agree(trained, prepared, tmp_path):
    folder = prepared / "test" / "abnormal"
    scores, maps = predict(trained.load(), tmp_path / "path", data_path=folder)
    assert scores.shape == (8,)
    assert maps.shape[-2:] == (64, 64)
    assert len(heat_maps(tmp_path / "path")) == 8

    from_dataset = predict(trained.load(), tmp_path / "dataset", dataset=PredictDataset(folder))
    assert torch.equal(scores, from_dataset[0])
    from_module = predict(trained.load(), tmp_path / "module", datamodule=make_data(prepared, eval_batch_size=5))
    assert from_module[0].shape == (16,)
    # Rows are sorted by path, so the lesion slices come first; batches of another size round differently.
    torch.testing.assert_close(from_module[0][:8], scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(from_module[1][:8], maps, atol=1e-5, rtol=0)


def is_plain(value: object) -> bool:
    """Whether a value is made of what every reader of a checkpoint knows."""
    if isinstance(value, dict):
        return all(is_plain(one) for one in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(one) for one in value)
    return value is None or type(value) in {bool, int, float, str}


def test_checkpoint_holds_plain_data_calibration_and_thresholds(trained):
    checkpoint = load_checkpoint(trained.checkpoint)
    settings = checkpoint["hyper_parameters"]
    assert settings["width"] == 8
    assert tuple(settings["image_size"]) == (64, 64)
    assert [name for name, value in settings.items() if not is_plain(value)] == []
    state = checkpoint["state_dict"]
    for name in ("model.score_scale", "model.map_scale"):
        assert float(state[name]) > 0
        assert float(state[name]) != 1
    assert 0 < float(state["post_processor._image_threshold"]) < 1
    assert len(checkpoint["optimizer_states"]) == 2


def test_loaded_model_predicts_bit_for_bit_the_same(prepared, tmp_path):
    engine = make_engine(tmp_path, max_epochs=1)
    model = make_model()
    engine.fit(model, datamodule=make_data(prepared))
    loaded = PatchGan.load_from_checkpoint(engine.best_model_path)
    what = {"data_path": prepared / "test" / "normal"}
    for before, after in zip(
        predict(model, tmp_path / "a", **what), predict(loaded, tmp_path / "b", **what), strict=True
    ):
        assert torch.equal(before, after)


def test_early_stopping_and_best_checkpoint(prepared, tmp_path):
    best = ModelCheckpoint(dirpath=tmp_path / "best", monitor="val_image_AUROC", mode="max", filename="best")
    # No score rises by more than 1, so the second epoch is the first without progress.
    stop = EarlyStopping(monitor="val_image_AUROC", mode="max", patience=2, min_delta=1.1)
    engine = make_engine(tmp_path, max_epochs=10, callbacks=[best, stop])
    engine.fit(make_model(), datamodule=make_data(prepared))
    assert engine.trainer.current_epoch == 3
    assert engine.best_model_path == str(tmp_path / "best" / "best.ckpt")
    assert 0 <= float(best.best_model_score) <= 1
    assert torch.isfinite(load_checkpoint(Path(engine.best_model_path))["state_dict"]["model.score_scale"])
