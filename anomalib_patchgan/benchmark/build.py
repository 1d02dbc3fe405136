"""From a job's configuration to its model and data module, in the way of anomalib's command line."""

import copy
import importlib
from pathlib import Path
from typing import Any

import jsonargparse
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule

from anomalib_patchgan.benchmark.job_spec import JobSpec

_BASES = {"model": AnomalibModule, "data": AnomalibDataModule}


def build_model(spec: JobSpec) -> AnomalibModule:
    """Build a job's model; seed before, because it draws its weights here.

    anomalib's own metrics and images are turned off: the benchmark measures raw scores, and rendering takes time.

    Raises:
        ConfigurationError: The model refuses its arguments.
    """
    model: AnomalibModule = _build(spec, "model")
    return model


def build_data(spec: JobSpec) -> AnomalibDataModule:
    """Build a job's data module.

    Raises:
        ConfigurationError: The data module refuses its arguments.
    """
    data: AnomalibDataModule = _build(spec, "data")
    return data


def resolve(spec: JobSpec, part: str) -> jsonargparse.Namespace:
    """Look up the class of a part of a job and complete its arguments with the defaults, without building anything.

    Args:
        spec: The job.
        part: `model` or `data`.

    Returns:
        The full `class_path` and the `init_args`.

    Raises:
        jsonargparse.ArgumentError: The class does not exist or does not take an argument.
    """
    return _parse(spec, part)[1][part]


def import_class(class_path: str) -> type:
    """Import a class by its full path, as `resolve` returns it."""
    module, name = class_path.rsplit(".", 1)
    found: type = getattr(importlib.import_module(module), name)
    return found


def _build(spec: JobSpec, part: str) -> Any:  # noqa: ANN401 - of the class that the part has
    parser, config = _parse(spec, part)
    return parser.instantiate_classes(config)[part]


def _parse(spec: JobSpec, part: str) -> tuple[jsonargparse.ArgumentParser, jsonargparse.Namespace]:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(_BASES[part], part, fail_untyped=False, required=True)
    # A copy, because the parser writes what it makes into the dictionaries that it gets.
    config = copy.deepcopy(dict(spec.model_config if part == "model" else spec.data_config))
    if part == "model":
        defaults: dict[str, Any] = {"evaluator": False, "visualizer": False}
        if config["class_path"].split(".")[-1] == "Draem":
            # A folder without images: textures from Perlin noise alone instead of a download of 600 MB.
            defaults["dtd_dir"] = str(Path(__file__).parent)
        config["init_args"] = defaults | config["init_args"]
    return parser, parser.parse_object({part: config})
