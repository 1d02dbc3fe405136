"""Trained networks that other jobs take over: `networks/ID.pt` in the run folder, of the job that trained them.

The file holds the normal training images of the job's calibration beside the networks: calibrated on the same images, a
job that takes over gets the scores that it would get if it trained. It may be deleted when the run is complete.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from anomalib_patchgan.benchmark.build import import_class
from anomalib_patchgan.benchmark.job_spec import JobSpec
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, one_line
from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.models.components.training import TrainedModule

# OSError: torch reads a file that was cut off beyond its end.
_MISFITS = (pickle.UnpicklingError, RuntimeError, OSError, EOFError, TypeError, ValueError, AttributeError)


def networks_file(run: Path, job: JobSpec) -> Path:
    """Name the file of the networks that a job trains.

    Example:
        >>> spec = JobSpec(model="A", data="B", model_config={"class_path": "A"}, data_config={"class_path": "B"})
        >>> networks_file(Path("run"), spec).parent.as_posix()
        'run/networks'
    """
    return run / "networks" / f"{job.id}.pt"


def check_networks(job: JobSpec, own: jsonargparse.Namespace, source: jsonargparse.Namespace) -> None:
    """Refuse networks that another row trains otherwise than a job would.

    Args:
        job: Job that takes over networks.
        own: Its model's `class_path` and all `init_args`, as `anomalib_patchgan.benchmark.build.resolve` returns them.
        source: Those of the job that trains.

    Raises:
        ConfigurationError: The classes differ, have no networks that can be taken over, or have settings that change
            the training.
    """
    how = f"model {job.model!r} cannot take over the networks of {job.networks_of!r}"
    cls, other = import_class(own.class_path), import_class(source.class_path)
    if cls is not other:
        msg = f"{how}: it is a {cls.__name__}, the other a {other.__name__}"
        raise ConfigurationError(msg)
    if not issubclass(cls, TrainedModule):
        msg = f"{how}: a {cls.__name__} has none that can be taken over; let it train its own."
        raise ConfigurationError(msg)
    if different := cls.differences_in_training(own.init_args.as_dict(), source.init_args.as_dict()):
        msg = f"{how}: they differ in what changes the training: {', '.join(different)}"
        raise ConfigurationError(msg)


class KeepNetworks(Callback):
    """Keeps the networks of the checkpoint that is chosen, which is the one that is saved last."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the networks of a checkpoint."""
        del trainer, checkpoint
        assert isinstance(pl_module, TrainedModule)
        self.state = pl_module.trained_state()

    def write(self, path: Path) -> None:
        """Write the networks."""
        buffer = io.BytesIO()
        torch.save(self.state, buffer)
        write_atomically(path, buffer.getvalue())


class TakeNetworks(Callback):
    """Gives a model the networks that another job has written, in a training without epochs.

    Args:
        path: File to read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load the networks and calibrate.

        Raises:
            DatasetNotFoundError: There is no such file.
            DataError: It is damaged, or its networks do not fit.
        """
        del trainer
        assert isinstance(pl_module, TrainedModule)
        try:
            pl_module.take_over(**torch.load(self.path, weights_only=True, map_location="cpu"))
        except FileNotFoundError as error:
            msg = f"no networks at {self.path}: the job that trains them failed; the same command tries again."
            raise DatasetNotFoundError(msg) from error
        except (
            pickle.UnpicklingError,
            RuntimeError,
            OSError,
            EOFError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            msg = f"{self.path} holds no networks that fit ({one_line(error)[:200]}): delete it and run again."
            raise DataError(msg) from error
