"""What can be found wrong with a benchmark before its first job starts."""

import inspect
from collections.abc import Iterable
from dataclasses import replace

import jsonargparse
import torch
from anomalib.data import AnomalibDataModule
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.trainer.states import TrainerFn

from anomalib_patchgan.benchmark.build import build_data, import_class, resolve
from anomalib_patchgan.benchmark.code import code_of
from anomalib_patchgan.benchmark.input_size import input_size
from anomalib_patchgan.benchmark.plan import JobSpec, Plan
from anomalib_patchgan.benchmark.shared_networks import check_networks
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line

# Set by the benchmark itself.
_OWN_TRAINER_ARGUMENTS = {"accelerator", "devices", "callbacks", "default_root_dir", "logger", "enable_progress_bar"}


def check_plan(plan: Plan) -> Plan:
    """Find mistakes in the configuration of any job before the first one starts.

    Returns:
        The plan, each job with the code that it will run.

    Raises:
        ConfigurationError: A class or an argument does not exist, a value has the wrong type, networks are taken over
            that are trained otherwise, or models of different image sizes are compared without a common one.
    """
    checked: list[tuple[tuple[object, ...], jsonargparse.Namespace]] = []
    models: dict[str, jsonargparse.Namespace] = {}
    jobs = []
    sizes: dict[str, dict[str, tuple[int, ...] | None]] = {}
    for spec in plan.jobs:
        content = (spec.model_config, spec.data_config, spec.trainer)
        config = next((config for one, config in checked if one == content), None)
        if config is None:
            config = _check_job(spec)
            checked.append((content, config))
        models[spec.model] = config.model
        classes = {name: import_class(config[name].class_path) for name in ("model", "data")}
        code = {name: code_of(cls) for name, cls in classes.items()}
        # Whoever takes over networks and who trains them are of one class.
        source = replace(spec.source, code=code) if spec.source else None
        jobs.append(replace(spec, code=code, source=source))
        if spec.evaluation_size is None:
            sizes.setdefault(spec.data, {})[spec.model] = input_size(config.model)
    for spec in {spec.model: spec for spec in jobs if spec.source}.values():
        check_networks(spec, models[spec.model], models[str(spec.networks_of)])
    for data, of_models in sizes.items():
        if len(set(of_models.values())) > 1:
            listing = ", ".join(f"{model}: {_size(size)}" for model, size in of_models.items())
            msg = (
                f"models on data {data!r} give maps of different sizes ({listing}): set evaluation_size: "
                f"[height, width], at which all of them are compared"
            )
            raise ConfigurationError(msg)
    if any(spec.accelerator == "cuda" for spec in plan.jobs) and not torch.cuda.is_available():
        msg = "accelerator is cuda, but torch finds no GPU: set accelerator: cpu"
        raise ConfigurationError(msg)
    return replace(plan, jobs=tuple(jobs))


def _check_job(spec: JobSpec) -> jsonargparse.Namespace:
    """Find mistakes in the configuration of one job; returns it with all defaults."""
    try:
        config = resolve(spec)
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        msg = f"model {spec.model!r} on data {spec.data!r}: {one_line(error)}"
        raise ConfigurationError(msg) from error
    known = set(inspect.signature(Trainer).parameters) - _OWN_TRAINER_ARGUMENTS
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
    return config


def _size(size: tuple[int, ...] | None) -> str:
    """Write a size of images."""
    return "as the data" if size is None else "x".join(map(str, size))


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
            set_up(data)
        except PatchGanError:
            raise
        except Exception as error:
            # Of anomalib's and other people's data modules, which raise anything.
            msg = f"data {spec.data!r}: {type(error).__name__}: {one_line(error)}"
            raise ConfigurationError(msg) from error


def set_up(data: AnomalibDataModule) -> None:
    """Prepare and split data for good, in the same way for every model and seed.

    Some data modules of anomalib split at random, and once more whenever a trainer starts, unless a trainer's stage
    says that they are set up. The random state is another one afterwards.

    Raises:
        ConfigurationError: Validation and test share an image.
    """
    seed_everything(0, workers=True, verbose=False)
    data.prepare_data()
    data.setup(TrainerFn.FITTING)
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
