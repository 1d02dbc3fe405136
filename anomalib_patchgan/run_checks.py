"""What lightning would refuse after data were read or an epoch was trained, refused before anything is written."""

import logging
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from anomalib.models.components import AnomalibModule
from anomalib.utils.serialization import anomalib_safe_globals
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer

from anomalib_patchgan.errors import ConfigurationError, one_line

# Left out of the trial: they belong to the trainer that does the work, or touch the disk.
_NOT_TRIED = ("callbacks", "logger", "plugins", "default_root_dir")
# What anomalib calls its measures; a model names its losses as it likes.
_MEASURES = ("val_", "image_", "pixel_", "test_")


def check_checkpoint_file(path: Path) -> None:
    """Find out that a checkpoint is missing, cut off or no checkpoint now, not after the data have been prepared.

    Args:
        path: File given as the checkpoint.

    Raises:
        ConfigurationError: If it is not the whole checkpoint of a training.
    """
    if not path.is_file():
        msg = f"no checkpoint at {path}; a training writes it to weights/lightning in its results."
        raise ConfigurationError(msg)
    # torch writes a zip archive, whose directory comes last.
    if not zipfile.is_zipfile(path):
        msg = f"{path} is no checkpoint, or only the beginning of one; copy it again or give another."
        raise ConfigurationError(msg)
    try:
        with anomalib_safe_globals():
            content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        # A model may allow more types than are known here: anomalib, which knows the model, decides.
        return
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        msg = f"{path} is no checkpoint of a training; a training writes it to weights/lightning in its results."
        raise ConfigurationError(msg)


@contextmanager
def checkpoint_must_fit(
    path: object, remedy: str = "pass the config.yaml of its training with --config"
) -> Iterator[None]:
    """Explain the refusal of a checkpoint's weights in one line.

    Args:
        path: The checkpoint, for the message.
        remedy: What to do, in the words of the command.

    Raises:
        ConfigurationError: The weights are of another model.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("Error(s) in loading state_dict"):
            raise
        msg = (
            f"the checkpoint {path} does not fit the model: it belongs to another model or to other "
            f"model arguments; {remedy}"
        )
        raise ConfigurationError(msg) from error


def check_trainer(arguments: Mapping[str, Any], model: AnomalibModule) -> None:
    """Let lightning refuse devices, precision, limits and the like before a results folder is made.

    anomalib makes the folder first, so that `latest` would lead to an empty one.

    Args:
        arguments: Arguments of the trainer.
        model: The model, some of whose arguments go before the user's.

    Raises:
        ConfigurationError: If lightning's trainer refuses them.
    """
    settings = {name: value for name, value in arguments.items() if name not in _NOT_TRIED}
    if not all(isinstance(settings.get(name), str | None) for name in ("strategy", "profiler", "accelerator")):
        # Objects belong to one trainer, too.
        return
    settings |= {**model.trainer_arguments, "logger": False, "enable_checkpointing": False}
    try:
        with _quiet():
            Trainer(**settings)
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        msg = f"lightning refuses the settings of the trainer: {one_line(error)}"
        if settings.get("accelerator", "auto") not in {"auto", "cpu"}:
            msg += f"; without accelerator={settings['accelerator']} it takes what this machine has"
        raise ConfigurationError(msg) from error


def check_monitors(callbacks: Sequence[Callback], model: AnomalibModule) -> None:
    """Refuse to stop or to save by a measure that the validation does not have.

    Args:
        callbacks: Callbacks of the run.
        model: The model, whose evaluator names the measures.

    Raises:
        ConfigurationError: If a callback watches such a measure.
    """
    if not type(model).__module__.startswith("anomalib"):
        # Nobody knows what a model from elsewhere logs.
        return
    known = [metric.name for metric in getattr(getattr(model, "evaluator", None), "val_metrics", [])]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith(_MEASURES) and monitor not in known:
            msg = (
                f"{type(callback).__name__} watches monitor={monitor}, which no validation of {type(model).__name__} "
                f"measures; take {' or '.join(known) or 'a loss of its training'}"
            )
            raise ConfigurationError(msg)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: what lightning has to say about the devices, the trainer that does the work says again."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
