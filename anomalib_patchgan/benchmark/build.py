"""From a job's configuration to its model and data module, in the way of anomalib's command line."""

import copy
import importlib
from pathlib import Path
from typing import Any

import jsonargparse
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule

from anomalib_patchgan.benchmark.plan import JobSpec


def build(spec: JobSpec) -> tuple[AnomalibModule, AnomalibDataModule]:
    """Build a job's model and data module; seed before, because the model draws its weights here.

    anomalib's own metrics and images are turned off: the benchmark measures raw scores, and rendering takes time.

    Raises:
        ConfigurationError: The model or the data module refuses its arguments.
    """
    objects = _instantiate(spec, "model", "data")
    return objects.model, objects.data


def build_model(spec: JobSpec) -> AnomalibModule:
    """Build a job's model alone, as `build` does.

    Raises:
        ConfigurationError: The model refuses its arguments.
    """
    model: AnomalibModule = _instantiate(spec, "model").model
    return model


def build_data(spec: JobSpec) -> AnomalibDataModule:
    """Build a job's data module alone.

    Raises:
        ConfigurationError: The data module refuses its arguments.
    """
    data: AnomalibDataModule = _instantiate(spec, "data").data
    return data


def resolve(spec: JobSpec) -> jsonargparse.Namespace:
    """Look up a job's classes and complete their arguments with the defaults, without building anything.

    Returns:
        `model` and `data`, each with the full `class_path` and `init_args`.

    Raises:
        jsonargparse.ArgumentError: A class does not exist or does not take an argument.
    """
    return _parser("model", "data").parse_object(_arguments(spec))


def import_class(class_path: str) -> type:
    """Import a class by its full path, as `resolve` returns it."""
    module, name = class_path.rsplit(".", 1)
    found: type = getattr(importlib.import_module(module), name)
    return found


def _instantiate(spec: JobSpec, *parts: str) -> jsonargparse.Namespace:
    """Build the `model`, the `data` or both of a job."""
    parser, arguments = _parser(*parts), _arguments(spec)
    return parser.instantiate_classes(parser.parse_object({part: arguments[part] for part in parts}))


def _parser(*parts: str) -> jsonargparse.ArgumentParser:
    """Make a parser of a `model`, a `data` module or both."""
    kinds = {"model": AnomalibModule, "data": AnomalibDataModule}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    for part in parts:
        parser.add_subclass_arguments(kinds[part], part, fail_untyped=False, required=True)
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
