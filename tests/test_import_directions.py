"""Imports go one way: the drawing in CONTRIBUTING.md is what the modules do, and there is no circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = "anomalib_patchgan"
ROOT = Path(__file__).parent.parent
# Everything else is ground, on which all rooms stand.
ROOMS = ("cli", "benchmark", "deploy", "measure", "models", "data", "registry")


def module_files():
    """Every module of the package with its file."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports_of(path, modules):
    """The package's modules that a file imports anywhere but for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    tree.body = [node for node in tree.body if node not in for_types]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == PACKAGE)


def import_graph():
    modules = dict(module_files())
    return {name: set(imports_of(path, modules)) - {name} for name, path in modules.items()}


def room_of(module):
    name = [*module.split("."), ""][1]
    return name if name in ROOMS else "ground"


def test_no_module_imports_itself_in_a_circle():
    order = list(TopologicalSorter(import_graph()).static_order())
    assert len(order) > 100


def test_the_drawing_shows_what_imports_what():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ {4}(\w+) --> (\w+)$", text, re.MULTILINE))
    arrows = {
        (room_of(module), room_of(found))
        for module, imported in import_graph().items()
        # The package's own front door, and `python -m`, belong to no room.
        if module not in {PACKAGE, f"{PACKAGE}.__main__", f"{PACKAGE}.late_registration"}
        for found in imported
    }
    assert drawn == {(here, there) for here, there in arrows if there not in {here, "ground"}}
