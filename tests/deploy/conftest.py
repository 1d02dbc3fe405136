"""One small trained model, as checkpoint and exported."""

from pathlib import Path

import pytest
import torch

from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.export import export_model
from tests.models.conftest import Trained, prepared, trained

__all__ = ["prepared", "trained"]

# Of images as in `tests.fakes.prepared`.
RECIPE = VolumeRecipe(modalities=("flair",), field_mm=128.0, image_size=64)


@pytest.fixture(scope="session")
def checkpoint(trained: Trained, tmp_path_factory) -> Path:
    """The model, as if it had been trained on slices of FLAIR volumes."""
    content = torch.load(trained.checkpoint, weights_only=True, map_location="cpu")
    content["volume_recipe"] = RECIPE.as_dict()
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    torch.save(content, path)
    return path


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory) -> Path:
    """The model in single precision, with its card."""
    from anomalib_patchgan.deploy.predictor import load_checkpoint

    folder = tmp_path_factory.mktemp("exported")
    export_model(load_checkpoint(checkpoint), folder)
    return folder / "model.xml"
