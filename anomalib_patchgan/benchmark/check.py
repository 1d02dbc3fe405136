"""What can be found wrong with a benchmark before its first job starts."""

import inspect
from collections.abc import Iterable
from dataclasses import replace

import jsonargparse
import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from torchvision.transforms.v2 import Resize

from anomalib_patchgan.benchmark.build import build_data, import_class, resolve
from anomalib_patchgan.benchmark.code import code_of
from anomalib_patchgan.benchmark.job_spec import JobSpec, canonical
from anomalib_patchgan.benchmark.plan import Plan
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
    resolved: dict[str, jsonargparse.Namespace] = {}
    models: dict[str, jsonargparse.Namespace] = {}
    jobs = []
    sizes: dict[str, dict[str, tuple[int, ...] | None]] = {}
    for spec in plan.jobs:
        parts = {}
        for part, config in (("model", spec.model_config), ("data", spec.data_config)):
            # Once for all jobs that share it, because it takes longer than all other checks.
            key = canonical({part: config})
            if key not in resolved:
                resolved[key] = _resolve(spec, part)
            parts[part] = resolved[key]
        _check_trainer(spec)
        models[spec.model] = parts["model"]
        code = {name: code_of(import_class(part.class_path)) for name, part in parts.items()}
        # Whoever takes over networks and who trains them are of one class.
        source = replace(spec.source, code=code) if spec.source else None
        jobs.append(replace(spec, code=code, source=source))
        if spec.evaluation_size is None:
            sizes.setdefault(spec.data, {})[spec.model] = input_size(parts["model"])
    for spec in {spec.model: spec for spec in jobs if spec.source}.values():
        check_networks(spec, models[spec.model], models[str(spec.networks_of)])
    for data, of_models in sizes.items():
        if len(set(of_models.values())) > 1:
            texts = {model: "x".join(map(str, size)) if size else "as the data" for model, size in of_models.items()}
            msg = (
                f"models on data {data!r} give maps of different sizes "
                f"({', '.join(f'{model}: {size}' for model, size in texts.items())}): set evaluation_size: "
                f"[height, width], at which all of them are compared."
            )
            raise ConfigurationError(msg)
    if any(spec.accelerator == "cuda" for spec in plan.jobs) and not torch.cuda.is_available():
        msg = "accelerator is cuda, but torch finds no GPU: set accelerator: cpu."
        raise ConfigurationError(msg)
    return replace(plan, jobs=tuple(jobs))


def _resolve(spec: JobSpec, part: str) -> jsonargparse.Namespace:
    """Find mistakes in the `model` or the `data` of a job; returns it with all defaults."""
    try:
        return resolve(spec, part)
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        msg = f"model {spec.model!r} on data {spec.data!r}: {one_line(error)}"
        raise ConfigurationError(msg) from error


def _check_trainer(spec: JobSpec) -> None:
    """Find mistakes in the trainer's arguments of a job."""
    trainer = spec.trainer or {}
    known = set(inspect.signature(Trainer).parameters) - _OWN_TRAINER_ARGUMENTS
    if unknown := sorted(set(trainer) - known):
        msg = f"model {spec.model!r}: trainer does not take {', '.join(unknown)} in a benchmark."
        raise ConfigurationError(msg)
    epochs, every = (int(trainer.get(key) or 1) for key in ("max_epochs", "check_val_every_n_epoch"))
    if epochs > every and epochs % every:
        msg = (
            f"model {spec.model!r}: max_epochs={epochs} is no multiple of check_val_every_n_epoch={every}, so the "
            f"last epochs would be trained and never chosen."
        )
        raise ConfigurationError(msg)


def input_size(model: jsonargparse.Namespace) -> tuple[int, ...] | None:
    """Tell to which size a model's pre-processor resizes images, which is the size of its maps, too.

    Args:
        model: `class_path` and all `init_args`, as `anomalib_patchgan.benchmark.build.resolve` returns them.

    Returns:
        Height and width, or one number for the shorter side; `None` where images keep their size.

    Example:
        >>> args = jsonargparse.Namespace(image_size=(64, 96), pre_processor=True)
        >>> input_size(jsonargparse.Namespace(class_path="anomalib_patchgan.PatchGan", init_args=args))
        (64, 96)
    """
    arguments = model.init_args
    chosen = arguments.get("pre_processor", True)
    if chosen is True and "image_size" in arguments:
        return tuple(arguments.image_size) if arguments.image_size else None
    if chosen is True:
        processor = import_class(model.class_path).configure_pre_processor()  # type: ignore[attr-defined] # AnomalibModule's
    elif chosen:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(PreProcessor, "chosen", fail_untyped=False)
        processor = parser.instantiate_classes(parser.parse_object({"chosen": chosen.as_dict()})).chosen
    else:
        return None
    resizes = extract_transforms_by_type(processor.transform, Resize) if processor.transform else []
    return tuple(resizes[-1].size) if resizes else None


def check_data(specs: Iterable[JobSpec]) -> None:
    """Prepare the data of jobs and look whether they can be split as a benchmark needs it.

    What has to be prepared or downloaded is so once, here, and not in the time of a job.

    Raises:
        PatchGanError: Data are missing or unusable.
        ConfigurationError: Validation and test share images.
    """
    for spec in {canonical(spec.data_config): spec for spec in specs}.values():
        try:
            set_up(build_data(spec))
        except PatchGanError:  # noqa: PERF203 - each has its message
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
        ConfigurationError: Validation and test share an image: thresholds and checkpoints would be chosen on it.
    """
    seed_everything(0, workers=True, verbose=False)
    data.prepare_data()
    data.setup(TrainerFn.FITTING)
    validation, test = (set(part.samples.image_path) for part in (data.val_data, data.test_data))
    if shared := validation & test:
        msg = (
            f"validation and test share {len(shared)} images, such as {min(shared)}: choose another val_split_mode, so "
            f"that nothing is chosen on test images."
        )
        raise ConfigurationError(msg)
