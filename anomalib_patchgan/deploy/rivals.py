"""Other models of anomalib to be timed beside an export: built from a file, with weights as they begin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.data.prepare.reading import read_bytes
from anomalib_patchgan.errors import ConfigurationError, DataError

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
    except yaml.YAMLError as error:
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
        rivals[name] = {"class_path": entry["class_path"], "init_args": dict(entry.get("init_args") or {})}
    return rivals


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
    from anomalib.models import get_model

    from anomalib_patchgan.registry import register

    register()
    torch.manual_seed(0)
    try:
        module: Any = get_model(rival["class_path"], **rival["init_args"])
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
        msg = f"{rival['class_path']} cannot be exported to be compared with: {error}"
        raise DataError(msg) from error
