"""Going on after an interruption, and stopping when training diverges."""

from pathlib import Path

import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.engine import Engine
from anomalib.models import Padim
from lightning.pytorch import Callback

from anomalib_patchgan import PatchGan, PreparedFolder
from anomalib_patchgan.errors import DataError, TrainingDivergedError
from tests.models.conftest import load_checkpoint, make_data, make_engine, make_model


def fit(prepared: Path, root: Path, epochs: int, ckpt_path: Path | None = None, *callbacks: Callback) -> list[Path]:
    """Train up to an epoch, keeping a checkpoint of each: `0.ckpt`, `1.ckpt`, ..."""
    keep = ModelCheckpoint(dirpath=root, filename="{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    engine = make_engine(root, max_epochs=epochs, callbacks=[keep, *callbacks])
    engine.fit(make_model(), datamodule=make_data(prepared), ckpt_path=ckpt_path)
    return sorted(root.glob("*.ckpt"))


def steps_and_lrs(path: Path) -> list[float]:
    """The number of steps of R's and of D's optimizer, and their learning rates."""
    states = load_checkpoint(path)["optimizer_states"]
    steps = [float(next(iter(state["state"].values()))["step"]) for state in states]
    return steps + [state["param_groups"][0]["lr"] for state in states]


def test_interrupted_training_goes_on_with_both_optimizers(prepared, tmp_path):
    first, last = fit(prepared, tmp_path / "straight", 2)
    (resumed,) = fit(prepared, tmp_path / "resumed", 2, first)
    assert steps_and_lrs(last)[:2] == [2 * step for step in steps_and_lrs(first)[:2]]
    assert steps_and_lrs(resumed) == pytest.approx(steps_and_lrs(last))
    assert load_checkpoint(resumed)["epoch"] == 1


def test_finished_training_can_be_extended(prepared, tmp_path):
    (first,) = fit(prepared, tmp_path / "short", 1)
    *_, second, _ = fit(prepared, tmp_path / "longer", 3, first)
    straight = fit(prepared, tmp_path / "straight", 3)
    assert steps_and_lrs(second) == pytest.approx(steps_and_lrs(straight[1]))


def test_a_checkpoint_of_a_validation_goes_on_with_the_next_learning_rate(prepared, tmp_path):
    def run(root, epochs, ckpt_path=None):
        engine = make_engine(root, max_epochs=epochs, check_val_every_n_epoch=2)
        engine.fit(make_model(), datamodule=make_data(prepared), ckpt_path=ckpt_path)
        return Path(engine.best_model_path)

    straight = run(tmp_path / "straight", 4)
    resumed = run(tmp_path / "resumed", 4, run(tmp_path / "short", 2))
    assert steps_and_lrs(resumed) == pytest.approx(steps_and_lrs(straight))


def test_nan_in_any_gradient_stops_before_the_step(prepared, tmp_path):
    model = make_model()
    parameters = list(model.model.reconstructor.parameters())
    parameters[-1].register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(TrainingDivergedError, match="reconstructor's loss is 0.*largest gradient nan"):
        make_engine(tmp_path, max_epochs=1).fit(model, datamodule=make_data(prepared))
    assert all(torch.isfinite(parameter).all() for parameter in parameters)


class Poison(Callback):
    """Puts NaN into the images of one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Put it in."""
        del pl_module, batch_idx
        if trainer.current_epoch == self.epoch:
            batch.image.fill_(torch.nan)


def test_nan_stops_training_and_leaves_the_last_good_checkpoint(prepared, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"in epoch 1.* loss is nan.*lower lr") as caught:
        fit(prepared, tmp_path, 3, None, Poison(epoch=1))
    assert "\n" not in str(caught.value)
    (kept,) = tmp_path.glob("*.ckpt")
    assert load_checkpoint(kept)["epoch"] == 0
    scores = PatchGan.load_from_checkpoint(kept).eval()(torch.rand(2, 3, 64, 64)).pred_score
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("arguments", [{"lr": 1e30}, {"lr_discriminator": 1e30}, {"lr": 1e30, "optimizer": "rmsprop"}])
def test_absurd_learning_rate(prepared, tmp_path, arguments):
    engine = make_engine(tmp_path, max_epochs=20)
    with pytest.raises(TrainingDivergedError):
        engine.fit(make_model(**arguments), datamodule=make_data(prepared))


def save(path: Path, **content) -> Path:
    torch.save({"pytorch-lightning_version": "2.6.0", "hyper_parameters": {}, "state_dict": {}} | content, path)
    return path


def broken(state: dict) -> dict:
    return state | {"model.reconstructor.head.bias": torch.full((3,), torch.nan)}


@pytest.fixture(params=["another model", "no weights", "NaN weights", "other settings"])
def bad_checkpoint(request, trained, tmp_path) -> Path:
    path = tmp_path / "bad.ckpt"
    good = load_checkpoint(trained.checkpoint)
    if request.param == "another model":
        return save(path, state_dict=Padim(pre_trained=False).state_dict())
    if request.param == "no weights":
        return save(path)
    if request.param == "NaN weights":
        return save(path, **good | {"state_dict": broken(good["state_dict"])})
    return save(path, **good | {"state_dict": make_model(width=4).state_dict()})


def load(checkpoint: Path, engine: Engine, data: PreparedFolder) -> None:
    del engine, data
    PatchGan.load_from_checkpoint(checkpoint)


def evaluate(checkpoint: Path, engine: Engine, data: PreparedFolder) -> None:
    engine.test(make_model(), datamodule=data, ckpt_path=checkpoint)


def resume(checkpoint: Path, engine: Engine, data: PreparedFolder) -> None:
    engine.fit(make_model(), datamodule=data, ckpt_path=checkpoint)


@pytest.mark.parametrize("use", [load, evaluate, resume])
def test_bad_checkpoint_is_refused_in_one_line(bad_checkpoint, prepared, tmp_path, use):
    with pytest.raises(DataError, match="checkpoint") as caught:
        use(bad_checkpoint, make_engine(tmp_path, max_epochs=2), make_data(prepared))
    assert "\n" not in str(caught.value)
