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
    parser = _parser(model=True)
    objects = parser.instantiate_classes(parser.parse_object(_arguments(spec)))
    return objects.model, objects.data


def build_data(spec: JobSpec) -> AnomalibDataModule:
    """Build a job's data module alone.

    Raises:
        ConfigurationError: The data module refuses its arguments.
    """
    parser = _parser(model=False)
    objects = parser.instantiate_classes(parser.parse_object({"data": copy.deepcopy(dict(spec.data_config))}))
    data: AnomalibDataModule = objects.data
    return data


def resolve(spec: JobSpec) -> jsonargparse.Namespace:
    """Look up a job's classes and complete their arguments with the defaults, without building anything.

    Returns:
        `model` and `data`, each with the full `class_path` and `init_args`.

    Raises:
        jsonargparse.ArgumentError: A class does not exist or does not take an argument.
    """
    return _parser(model=True).parse_object(_arguments(spec))


def import_class(class_path: str) -> type:
    """Import a class by its full path, as `resolve` returns it."""
    module, name = class_path.rsplit(".", 1)
    found: type = getattr(importlib.import_module(module), name)
    return found


def _parser(*, model: bool) -> jsonargparse.ArgumentParser:
    """Make a parser of a model, if wanted, and a data module."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    if model:
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
