"""What the YAML of a benchmark says in short: a `grid` stands for many configurations, an `include` for a file."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.errors import ConfigurationError, one_line

_KEYS = {"class_path", "init_args"}
# The path to a grid and the value taken from it.
Choices = dict[str, Any]


def expand_grid(node: object, path: str = "") -> list[tuple[Any, Choices]]:
    """Write out every combination of the grids in a configuration.

    anomalib's own expansion takes every key that contains "grid" for one and leaves a grid inside a grid's value alone.

    Args:
        node: A configuration as read from YAML; wherever it is `{"grid": [...]}`, each value of the list makes one
            configuration. Lists elsewhere are values.
        path: Where it stands; part of the names of the choices.

    Returns:
        Every configuration with the choices that made it, in the order of the lists.

    Example:
        >>> expand_grid({"seed": {"grid": [0, 1]}, "lr": 0.1})
        [({'seed': 0, 'lr': 0.1}, {'seed': 0}), ({'seed': 1, 'lr': 0.1}, {'seed': 1})]
    """
    if not isinstance(node, Mapping):
        return [(node, {})]
    if set(node) == {"grid"} and isinstance(node["grid"], list):
        return [
            # A value with choices of its own is named by them.
            (configuration, inner or {path: configuration})
            for value in node["grid"]
            for configuration, inner in expand_grid(value, path)
        ]
    parts = [expand_grid(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()]
    combinations: list[tuple[Any, Choices]] = []
    for combination in itertools.product(*parts):
        configuration = {key: value for key, (value, _) in zip(node, combination, strict=True)}
        choices = {name: value for _, inner in combination for name, value in inner.items()}
        combinations.append((configuration, choices))
    return combinations


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
    included = _read_included(path, key, value["include"])
    class_path = own.get("class_path", included["class_path"])
    if class_path != included["class_path"]:
        msg = f"{path}: {key} {class_path!r} includes {value['include']}, which is of {included['class_path']!r}"
        raise ConfigurationError(msg)
    arguments = own.get("init_args")
    if arguments is None or isinstance(arguments, dict):
        own["init_args"] = {**(included.get("init_args") or {}), **(arguments or {})}
    return {"class_path": class_path, **own}


def read_yaml(path: Path, subject: str) -> Any:  # noqa: ANN401 - YAML
    """Read a YAML file.

    Args:
        path: The file.
        subject: What a message says in front of "cannot be read", such as the path.

    Raises:
        ConfigurationError: It cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{subject} cannot be read as a YAML file: {one_line(error)}"
        raise ConfigurationError(msg) from error


def _read_included(path: Path, key: str, name: object) -> Mapping[str, Any]:
    if not isinstance(name, str):
        msg = f"{path}: include of {key} must be the name of a YAML file, got {name!r}"
        raise ConfigurationError(msg)
    file = path.parent / name
    content = read_yaml(file, f"{path}: {key} includes {file}, which")
    known = isinstance(content, dict) and set(content) <= _KEYS and isinstance(content.get("class_path"), str)
    if known and isinstance(content.get("init_args", {}), dict):
        return content
    msg = f"{path}: {key} includes {file}, which must hold class_path and init_args and nothing else."
    raise ConfigurationError(msg)
