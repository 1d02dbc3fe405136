"""Other models of anomalib to be timed beside an export: built from a file, with weights as they begin."""

import copy
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.data.prepare.reading import read_bytes
from anomalib_patchgan.errors import ConfigurationError, DataError, one_line

# Enough for the statistics of Padim to have a value; times do not depend on it.
FITTED_IMAGES = 4


def read_rivals(path: Path) -> dict[str, dict[str, Any]]:
    r"""Read the file of models.

    Args:
        path: YAML file: a list of `class_path`, `init_args` and an optional `name`.

    Returns:
        `class_path` and `init_args` by name.

    Raises:
        DatasetNotFoundError: There is no such file.
        ConfigurationError: It has another form.

    Example:
        >>> path = Path("rivals.yaml")
        >>> path.write_text("- class_path: Padim\n  init_args: {pre_trained: false}\n")
        54
        >>> read_rivals(path)
        {'Padim': {'class_path': 'Padim', 'init_args': {'pre_trained': False}}}
    """
    expected = f"{path} must be a list of models with class_path, init_args and an optional name"
    try:
        entries = yaml.safe_load(read_bytes(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{expected}, it is no YAML: {error}"
        raise ConfigurationError(msg) from error
    rivals: dict[str, dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, Mapping) or not entry.keys() <= {"name", "class_path", "init_args"}:
            raise ConfigurationError(expected)
        name = str(entry.get("name", entry.get("class_path")))
        if not isinstance(entry.get("class_path"), str) or name in rivals:
            msg = f"{expected}; each name once"
            raise ConfigurationError(msg)
        arguments = entry.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            msg = f"{expected}; init_args of {name} is {arguments!r}"
            raise ConfigurationError(msg)
        rivals[name] = {"class_path": entry["class_path"], "init_args": dict(arguments)}
    return rivals


def check_rivals(rivals: Mapping[str, Mapping[str, Any]], path: Path, forms: Collection[str]) -> None:
    """Check, without building them, that the models exist and take their arguments.

    Args:
        rivals: What `read_rivals` returns.
        path: The file, for messages.
        forms: Names that the table uses for the exports themselves.

    Raises:
        ConfigurationError: A model does not, or has the name of an export.
    """
    folders: dict[str, str] = {}
    for name, rival in rivals.items():
        if any(name == form or name.startswith(f"{form},") for form in forms):
            msg = f"{path}: {name} is the name of an export: give this model another name."
            raise ConfigurationError(msg)
        if (other := folders.setdefault(folder_name(name), name)) != name:
            msg = f"{path}: {other!r} and {name!r} would have one folder: give one of them another name."
            raise ConfigurationError(msg)
        try:
            _parse(rival)
        # An unknown class, an argument that it does not take, and a value of another type.
        except Exception as error:
            msg = f"{path}: {name} is no model that can be built: {one_line(error)}"
            raise ConfigurationError(msg) from error


def folder_name(name: str) -> str:
    """Return the name of a model's folder; the name in the file is anybody's, and must not lead elsewhere.

    Example:
        >>> folder_name("Padim, ResNet-18"), folder_name("../../etc")
        ('Padim_ResNet-18', 'etc')
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"


def export_rival(rival: Mapping[str, Any], folder: Path, size: tuple[int, int]) -> Path:
    """Build a model and export it in single precision for images of one size.

    Args:
        rival: `class_path` and `init_args`.
        folder: Where to.
        size: Height and width in pixels.

    Returns:
        The XML file.

    Raises:
        DataError: It cannot be built or exported; the message says why.
    """
    import torch

    torch.manual_seed(0)
    try:
        parser, config = _parse(rival)
        module: Any = parser.instantiate_classes(config)["model"]
        # Its own size otherwise: all are timed on images of the same one.
        module.pre_processor = None
        module.post_processor = None
        if hasattr(module.model, "memory_bank"):
            module.model.train()
            with torch.no_grad():
                for _ in range(FITTED_IMAGES):
                    module.model(torch.rand(FITTED_IMAGES, 3, *size))
            module.fit()
        module.eval()
        return Path(module.to_openvino(folder, input_size=size, onnx_kwargs={"opset_version": 18, "verbose": False}))
    # Models of others may fail in ways of their own.
    except Exception as error:
        msg = f"{rival['class_path']} cannot be exported for images of {size[0]}x{size[1]}: {one_line(error)}"
        raise DataError(msg) from error


def _parse(rival: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a parser of models, and what it makes of this one."""
    import jsonargparse
    from anomalib.models.components import AnomalibModule

    from anomalib_patchgan.registry import register

    register()
    # Only what is registered, by any of anomalib's spellings, such as efficient_ad: a path would import any module.
    plain = str(rival["class_path"]).rpartition(".")[2].replace("_", "").lower()
    known = {model.__name__.lower(): model.__name__ for model in AnomalibModule.__subclasses__()}
    if plain not in known:
        msg = f"there is no class_path {rival['class_path']} among anomalib's and the plugin's models"
        raise ConfigurationError(msg)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model", fail_untyped=False, required=True)
    # A copy, because the parser writes what it makes into the dictionary that it gets.
    arguments = copy.deepcopy(dict(rival["init_args"]))
    model = {"class_path": known[plain], "init_args": arguments}
    return parser, parser.parse_object({"model": model})
