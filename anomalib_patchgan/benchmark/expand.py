"""The `grid` of a benchmark's YAML: one configuration that stands for many."""

import itertools
from collections.abc import Mapping
from typing import Any

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
        expanded: list[tuple[Any, Choices]] = []
        for value in node["grid"]:
            for configuration, inner in expand_grid(value, path):
                # A value with choices of its own is named by them.
                expanded.append((configuration, inner or {path: configuration}))
        return expanded
    parts = [expand_grid(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()]
    combinations: list[tuple[Any, Choices]] = []
    for combination in itertools.product(*parts):
        configuration = {key: value for key, (value, _) in zip(node, combination, strict=True)}
        choices = {name: value for _, inner in combination for name, value in inner.items()}
        combinations.append((configuration, choices))
    return combinations
