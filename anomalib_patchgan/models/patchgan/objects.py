"""Objects in configs and checkpoints: `class_path` and `init_args`, as jsonargparse and anomalib write them."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from anomalib_patchgan.errors import ConfigurationError

# Development versions before it gave names instead of objects.
FIRST_VERSION = "0.1.0"

T = TypeVar("T")


def describe(value: object) -> dict[str, Any]:
    """Say how an object was made, in plain data; it keeps its arguments as attributes of the same names.

    Example:
        >>> from anomalib_patchgan.models.patchgan.corruption import CoarseNoise
        >>> describe(CoarseNoise(cells=8))["init_args"]["cells"]
        8
    """
    cls = type(value)
    names = list(inspect.signature(cls).parameters)
    arguments = {name: getattr(value, name) for name in names}
    plain = {name: list(item) if isinstance(item, tuple) else item for name, item in arguments.items()}
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": plain}


def build(value: object, base: type[T]) -> T:
    """Return the object that is given, or make the one that is described.

    Only classes that are known already can be named: a checkpoint must not decide which modules are imported.

    Args:
        value: An instance of `base`, or its `class_path` with `init_args`. The class's own name is enough.
        base: Class that it has to derive from.

    Returns:
        The object.

    Raises:
        ConfigurationError: If it is neither, the class is unknown, or the arguments do not fit.

    Example:
        >>> from anomalib_patchgan.models.patchgan.corruption import Corruption
        >>> build({"class_path": "CoarseNoise", "init_args": {"cells": 8}}, Corruption).cells
        8
    """
    if isinstance(value, base):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
        msg = f"a {base.__name__} must be an object, or class_path with init_args, got {value!r}"
        if isinstance(value, str):
            msg += f"; names are of a version before {FIRST_VERSION}, whose checkpoints do not fit: train again"
        raise ConfigurationError(msg)
    path, arguments = value["class_path"], value.get("init_args") or {}
    known = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _subclasses(base)}
    found = known.get(path) or {cls.__name__: cls for cls in known.values()}.get(path.rsplit(".", 1)[-1])
    if found is None:
        names = ", ".join(sorted(cls.__name__ for cls in known.values()))
        msg = f"unknown {base.__name__} {path!r}; choose one of {names}, or import the module of your own class first."
        raise ConfigurationError(msg)
    try:
        return found(**arguments)
    except ConfigurationError:
        raise
    except (TypeError, ValueError) as error:
        msg = f"init_args do not fit {found.__name__}: {error}"
        raise ConfigurationError(msg) from error


def _subclasses(base: type[T]) -> list[type[T]]:
    """All classes below one that can be made."""
    direct = base.__subclasses__()
    below = [cls for child in direct for cls in _subclasses(child)]
    return [cls for cls in direct if not inspect.isabstract(cls)] + below
