"""Other models to be timed next to an export, among them those of a file, with untrained weights."""

import copy
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.errors import ConfigurationError, DataError, one_line
from anomalib_patchgan.files import read_bytes
from anomalib_patchgan.version import ONNX_OPSET

# Enough for the statistics of Padim to have a value, on which its times do not depend; those of Patchcore do.
FITTED_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another model that is timed beside an export.

    Args:
        export: Exports it into a folder, for images of a height and width, and returns the XML file.
        folder: Name of its folder.
        size: Height and width of its images; `None` for those of the others.
        quality: Columns of the table that are known without it, such as metrics on the same test images.
        megabytes: Size that the export should have in 10**6 bytes; `None` if that is not known.
        remark: What is to be said of it where it was exported.
    """

    export: Callable[[Path, tuple[int, int]], Path]
    folder: str
    size: tuple[int, int] | None = None
    quality: Mapping[str, float | None] = field(default_factory=dict)
    megabytes: float | None = None
    remark: str = ""


def rivals_of_file(path: Path, forms: Collection[str]) -> dict[str, Rival]:
    """Read a file of models and check, without building them, that they exist and take their arguments.

    Args:
        path: See `read_rivals`.
        forms: Names that the table uses for the exports themselves.

    Raises:
        DatasetNotFoundError: There is no such file.
        ConfigurationError: It has another form, or a model cannot be built or has the name of an export.
    """
    rivals: dict[str, Rival] = {}
    folders: dict[str, str] = {}
    for name, model in read_rivals(path).items():
        if any(name == form or name.startswith(f"{form},") for form in forms):
            msg = f"{path}: {name} is the name of an export: give this model another name."
            raise ConfigurationError(msg)
        folder = folder_name(name)
        if (other := folders.setdefault(folder, name)) != name:
            msg = f"{path}: {other!r} and {name!r} would have one folder: give one of them another name."
            raise ConfigurationError(msg)
        try:
            _parse(model)
        # An unknown class, an argument that it does not take, and a value of another type.
        except Exception as error:
            msg = f"{path}: {name} is no model that can be built: {one_line(error)}"
            raise ConfigurationError(msg) from error
        remark = ""
        if "Patchcore" in registered_name(model["class_path"]):
            remark = f"{name} has a memory of {FITTED_IMAGES**2} images; with that of a training it takes longer."
        rivals[name] = Rival(export=partial(export_rival, model), folder=folder, remark=remark)
    return rivals


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
            msg = f"{expected}; each name once."
            raise ConfigurationError(msg)
        arguments = entry.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            msg = f"{expected}; init_args of {name} is {arguments!r}"
            raise ConfigurationError(msg)
        rivals[name] = {"class_path": entry["class_path"], "init_args": dict(arguments)}
    return rivals


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
        settings = {"opset_version": ONNX_OPSET, "verbose": False}
        return Path(module.to_openvino(folder, input_size=size, onnx_kwargs=settings))
    # Models of others may fail in ways of their own.
    except Exception as error:
        msg = f"{rival['class_path']} cannot be exported for images of {size[0]}x{size[1]}: {one_line(error)}"
        raise DataError(msg) from error


def registered_name(class_path: str) -> str:
    """Return the name of a registered model, in any of anomalib's spellings, such as efficient_ad.

    Of a file that may be anybody's nothing else is built: a path would import any module.

    Args:
        class_path: A name, or a path that ends in one.

    Raises:
        ConfigurationError: It is none of anomalib's and the plugin's models.

    Example:
        >>> registered_name("efficient_ad"), registered_name("anomalib_patchgan.PatchGan")
        ('EfficientAd', 'PatchGan')
    """
    from anomalib.models.components import AnomalibModule

    from anomalib_patchgan.registry import register

    register()
    plain = class_path.rpartition(".")[2].replace("_", "").lower()
    known = {model.__name__.lower(): model.__name__ for model in AnomalibModule.__subclasses__()}
    if plain not in known:
        msg = f"there is no class_path {class_path} among anomalib's and the plugin's models."
        raise ConfigurationError(msg)
    return known[plain]


def _parse(rival: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a parser of models, and what it makes of this one."""
    import jsonargparse
    from anomalib.models.components import AnomalibModule

    name = registered_name(rival["class_path"])
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model", fail_untyped=False, required=True)
    # A copy, because the parser writes what it makes into the dictionary that it gets.
    arguments = copy.deepcopy(dict(rival["init_args"]))
    model = {"class_path": name, "init_args": arguments}
    return parser, parser.parse_object({"model": model})
