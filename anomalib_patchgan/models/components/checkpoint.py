"""Checkpoints: read under the names of today, and refused in one line where they do not fit."""

import inspect
import io
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from anomalib.utils.serialization import anomalib_safe_globals
from lightning.pytorch import LightningModule

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.renamed import with_new_names

logger = logging.getLogger(__name__)

SETTINGS = LightningModule.CHECKPOINT_HYPER_PARAMS_KEY


def with_known_settings(cls: type[LightningModule], path: str | Path | IO[bytes]) -> str | Path | IO[bytes]:
    """Give the settings of a checkpoint the names of today, and leave out those that a model does not have.

    Args:
        cls: The model.
        path: The checkpoint.

    Returns:
        The same, or a copy in memory if its settings differ.
    """
    try:
        with anomalib_safe_globals():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        # Damaged, or with types that only the model knows: whoever loads it decides.
        return path
    finally:
        if not isinstance(path, str | Path):
            path.seek(0)
    found = content.get(SETTINGS) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        return path
    arguments = {name for parent in cls.__mro__ for name in inspect.signature(parent).parameters}
    settings = {name: value for name, value in with_new_names(found).items() if name in arguments}
    if settings.keys() == found.keys():
        return path
    copy = io.BytesIO()
    torch.save({**content, SETTINGS: settings}, copy)
    copy.seek(0)
    return copy


def check_checkpoint(module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Check the weights of a checkpoint before they are loaded.

    Settings that fit the weights but differ from those of the training (another patch size, say) are allowed, since
    they can be meant, and logged as a warning, since they change scores.

    Args:
        module: The model that is to take the weights.
        checkpoint: Loaded Lightning checkpoint.

    Raises:
        DataError: If the checkpoint is of another model, of one with other layers, or holds NaN or infinite weights.
    """
    name = type(module).__name__
    found = {key: value for key, value in checkpoint.get("state_dict", {}).items() if key.startswith("model.")}
    expected = {key: value for key, value in module.state_dict().items() if key.startswith("model.")}
    # A trivial rule has no weights, and nor has its checkpoint.
    if expected and not found.keys() & expected.keys():
        msg = f"the checkpoint holds none of the weights of {name}, it is another model's; give one of {name}"
        raise DataError(msg)

    trained = with_new_names(checkpoint.get(SETTINGS, {}))
    settings = ", ".join(
        f"{key}={trained[key]!r} (now {module.hparams[key]!r})"
        for key in sorted(trained.keys() & module.hparams.keys())
        if _plain(trained[key]) != _plain(module.hparams[key])
    )
    misfits = sorted(found.keys() ^ expected.keys())
    misfits = misfits or [key for key, value in expected.items() if value.shape != found[key].shape]
    if misfits:
        msg = (
            f"the checkpoint does not fit this {name} (first difference: {misfits[0]}); build the model as it was "
            "trained (--config with the config.yaml of its training, for compare its folder): "
            f"{settings or 'its settings are not recorded'}"
        )
        raise DataError(msg)
    broken = [key for key, value in found.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        msg = f"the checkpoint holds NaN or infinite weights (first in {broken[0]}); use an earlier one."
        raise DataError(msg)
    if settings:
        logger.warning("%s was trained with other settings than it has now: %s", name, settings)


def _plain(value: object) -> object:
    """Make tuples and lists comparable: a config file gives the one where a checkpoint has the other."""
    return list(value) if isinstance(value, tuple) else value
