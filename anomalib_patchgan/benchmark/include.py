"""The `include` of a benchmark's YAML: a model or data set that stands in a file of its own, as for jsonargparse."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.errors import ConfigurationError

_KEYS = {"class_path", "init_args"}


def resolve_include(path: Path, key: str, value: object) -> object:
    r"""Put what a file holds in place of its name.

    Args:
        path: YAML file of the benchmark; names of files are relative to its folder.
        key: What is included, for messages: `model` or `data`.
        value: The name of a YAML file, as in `model: FILE`; or a mapping whose `include` names one and whose own keys
            go before those of the file, `init_args` one by one; or anything else, which is returned as it is.

    Returns:
        A mapping without `include`.

    Raises:
        ConfigurationError: The file cannot be read, is no class with its arguments, or is of another class.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     preset = Path(folder) / "preset.yaml"
        ...     _ = preset.write_text("class_path: PatchGan\ninit_args: {width: 8, depth: 2}")
        ...     own = {"include": "preset.yaml", "init_args": {"depth": 3}}
        ...     resolve_include(Path(folder) / "comparison.yaml", "model", own)
        {'class_path': 'PatchGan', 'init_args': {'width': 8, 'depth': 3}}
    """
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        value = {"include": value}
    if not isinstance(value, dict) or "include" not in value:
        return value
    own = {name: content for name, content in value.items() if name != "include"}
    included = _read(path, key, value["include"])
    class_path = own.get("class_path", included["class_path"])
    if class_path != included["class_path"]:
        msg = f"{path}: {key} {class_path!r} includes {value['include']}, which is of {included['class_path']!r}"
        raise ConfigurationError(msg)
    arguments = own.get("init_args")
    if arguments is None or isinstance(arguments, dict):
        own["init_args"] = {**(included.get("init_args") or {}), **(arguments or {})}
    return {"class_path": class_path, **own}


def _read(path: Path, key: str, name: object) -> Mapping[str, Any]:
    """Read an included file."""
    if not isinstance(name, str):
        msg = f"{path}: include of {key} must be the name of a YAML file, got {name!r}"
        raise ConfigurationError(msg)
    file = path.parent / name
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path}: {key} includes {file}, which cannot be read as a YAML file: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error
    known = isinstance(content, dict) and set(content) <= _KEYS and isinstance(content.get("class_path"), str)
    if not known or not isinstance(content.get("init_args", {}), dict):
        msg = f"{path}: {key} includes {file}, which must hold class_path and init_args and nothing else"
        raise ConfigurationError(msg)
    result: Mapping[str, Any] = content
    return result
