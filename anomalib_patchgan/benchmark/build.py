"""From a job's configuration to its model and data module, in the way of anomalib's command line."""

import copy
import inspect
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Trainer

from anomalib_patchgan.benchmark.plan import JobSpec, Plan
from anomalib_patchgan.errors import ConfigurationError, one_line

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
            _parser().parse_object(_arguments(spec))
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


def build(spec: JobSpec) -> tuple[AnomalibModule, AnomalibDataModule]:
    """Build a job's model and data module; seed before, because the model draws its weights here.

    anomalib's own metrics and images are turned off: the benchmark measures raw scores, and rendering takes time.

    Raises:
        ConfigurationError: The model or the data module refuses its arguments.
    """
    parser = _parser()
    objects = parser.instantiate_classes(parser.parse_object(_arguments(spec)))
    return objects.model, objects.data


def _parser() -> jsonargparse.ArgumentParser:
    """Make a parser of a model and a data module."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model", fail_untyped=False, required=True)
    parser.add_subclass_arguments(AnomalibDataModule, "data", fail_untyped=False, required=True)
    return parser


def _arguments(spec: JobSpec) -> dict[str, Any]:
    """Return the arguments of the parser."""
    # Copies, because the parser writes what it makes into the dictionaries that it gets.
    model = copy.deepcopy(dict(spec.model_config))
    defaults: dict[str, Any] = {"evaluator": False, "visualizer": False}
    if model["class_path"].split(".")[-1] == "Draem":
        # A folder without images: textures from Perlin noise alone instead of a download of 600 MB.
        defaults["dtd_dir"] = str(Path(__file__).parent)
    model["init_args"] = defaults | model["init_args"]
    return {"model": model, "data": copy.deepcopy(dict(spec.data_config))}
