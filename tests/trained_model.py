"""One small model, prepared data, checkpoint and export of it, made once for all tests that need a trained model.

The tests run in several processes (`make test`), which share what one of them has made.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from tests.models.conftest import Trained


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder in the first process that asks for it; the others wait, and find it made."""
    base = factory.getbasetemp()
    # Each process of pytest-xdist has its own folder below the one of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").is_file():
            # What a failed attempt in another process has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared folder of 64-pixel slices, which nothing may change."""
    from tests.fakes.prepared import write_prepared_folder

    return make_once(
        tmp_path_factory,
        "shared-prepared",
        lambda folder: write_prepared_folder(folder / "slices", slices=4, size=64, seed=0),
    ).joinpath("slices")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> "Trained":
    """A model after 20 epochs, enough for any seed, which tells lesions from brains."""
    from lightning import seed_everything

    from tests.models.conftest import Trained, make_data, make_engine, make_model

    def train(folder: Path) -> None:
        seed_everything(0, verbose=False)
        engine = make_engine(folder / "results", max_epochs=20)
        engine.fit(make_model(), datamodule=make_data(prepared))
        metrics = {name: float(value) for name, value in engine.trainer.callback_metrics.items()}
        shutil.copy(engine.best_model_path, folder / "model.ckpt")
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")

    folder = make_once(tmp_path_factory, "shared-trained", train)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return Trained(folder / "model.ckpt", metrics, sorted((prepared / "test" / "abnormal").iterdir()))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, trained: "Trained") -> Path:
    """The model, as if it had been trained on slices of FLAIR volumes."""
    import torch

    from tests.deploy.conftest import RECIPE

    def add_recipe(folder: Path) -> None:
        content = torch.load(trained.checkpoint, weights_only=True, map_location="cpu")
        content["volume_recipe"] = RECIPE.as_dict()
        torch.save(content, folder / "model.ckpt")

    return make_once(tmp_path_factory, "shared-checkpoint", add_recipe) / "model.ckpt"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The model in single precision, with its card."""

    def export(folder: Path) -> None:
        from anomalib_patchgan.deploy.export import export_model
        from anomalib_patchgan.deploy.predictor import load_checkpoint

        export_model(load_checkpoint(checkpoint), folder / "model")

    return make_once(tmp_path_factory, "shared-exported", export) / "model" / "model.xml"
