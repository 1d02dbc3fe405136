"""What can be found wrong with a benchmark before its first job starts."""

import inspect
from collections.abc import Iterable

import jsonargparse
import torch
from anomalib.data import AnomalibDataModule
from lightning.pytorch import Trainer

from anomalib_patchgan.benchmark.build import build_data, check_arguments
from anomalib_patchgan.benchmark.plan import JobSpec, Plan
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line

# Set by the benchmark itself.
_OWN_TRAINER_ARGUMENTS = {"accelerator", "devices", "callbacks", "default_root_dir", "logger", "enable_progress_bar"}


def check_plan(plan: Plan) -> None:
    """Find mistakes in the configuration of any job before the first one starts.

    Raises:
        ConfigurationError: A class or an argument does not exist, or a value has the wrong type.
    """
    known = set(inspect.signature(Trainer).parameters) - _OWN_TRAINER_ARGUMENTS
    checked: list[tuple[object, object, object]] = []
    for spec in plan.jobs:
        content = (spec.model_config, spec.data_config, spec.trainer)
        if content in checked:
            continue
        checked.append(content)
        try:
            check_arguments(spec)
        except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
            msg = f"model {spec.model!r} on data {spec.data!r}: {one_line(error)}"
            raise ConfigurationError(msg) from error
        if unknown := sorted(set(spec.trainer or {}) - known):
            msg = f"model {spec.model!r}: trainer does not take {', '.join(unknown)} in a benchmark"
            raise ConfigurationError(msg)
        epochs, every = (int((spec.trainer or {}).get(key) or 1) for key in ("max_epochs", "check_val_every_n_epoch"))
        if epochs > every and epochs % every:
            msg = (
                f"model {spec.model!r}: max_epochs={epochs} is no multiple of check_val_every_n_epoch={every}, so the "
                f"last epochs would be trained and never chosen"
            )
            raise ConfigurationError(msg)
    if any(spec.accelerator == "cuda" for spec in plan.jobs) and not torch.cuda.is_available():
        msg = "accelerator is cuda, but torch finds no GPU: set accelerator: cpu"
        raise ConfigurationError(msg)


def check_data(specs: Iterable[JobSpec]) -> None:
    """Prepare the data of jobs and look whether they can be split as a benchmark needs it.

    What has to be prepared or downloaded is so once, here, and not in the time of a job.

    Raises:
        PatchGanError: Data are missing or unusable.
        ConfigurationError: Validation and test share images.
    """
    checked: list[object] = []
    for spec in specs:
        if spec.data_config in checked:
            continue
        checked.append(spec.data_config)
        try:
            data = build_data(spec)
            data.prepare_data()
            data.setup()
        except PatchGanError:
            raise
        except Exception as error:
            # Of anomalib's and other people's data modules, which raise anything.
            msg = f"data {spec.data!r}: {type(error).__name__}: {one_line(error)}"
            raise ConfigurationError(msg) from error
        check_splits(data)


def check_splits(data: AnomalibDataModule) -> None:
    """Refuse data modules that validate on test images: thresholds and checkpoints would be chosen on them.

    Raises:
        ConfigurationError: The two splits share an image.
    """
    splits = [set(part.samples.image_path) for part in (data.val_data, data.test_data)]
    if shared := splits[0] & splits[1]:
        msg = (
            f"validation and test share {len(shared)} images, such as {min(shared)}: choose another val_split_mode, so "
            f"that nothing is chosen on test images"
        )
        raise ConfigurationError(msg)
