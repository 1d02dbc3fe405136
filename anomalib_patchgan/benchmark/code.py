"""What code a job's numbers come from, so that a change of a model redoes that model's jobs and no others."""

import ast
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "anomalib_patchgan"
# They compute nothing: a better message or a new version number changes no score.
_SILENT = {f"{PACKAGE}.{name}" for name in ("errors", "version", "memory")}


@functools.cache
def code_of(cls: type) -> str:
    """Name the code of a class: a hash for one of this package, otherwise its package and version.

    The hash is over the module of the class and all modules of this package that it imports, and these in turn, without
    comments, docstrings and layout.

    Args:
        cls: Model or data module.

    Returns:
        Such as `anomalib_patchgan 0f3a...` (16 hexadecimal digits) or `anomalib 2.7.0`.

    Example:
        >>> from anomalib.data import Folder
        >>> code_of(Folder).split()[0]
        'anomalib'
    """
    top = cls.__module__.split(".")[0]
    if top == PACKAGE:
        return f"{PACKAGE} {_hash(cls.__module__)}"
    # Python 3.10 knows only distributions with a `top_level.txt`, which newer ones do not have.
    name = (packages_distributions().get(top) or [top])[0]
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{top}, version unknown"


def _hash(module: str) -> str:
    """Hash a module and what it imports of this package."""
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name in _SILENT:
            continue
        tree = _read(name)
        sources[name] = ast.unparse(_without_docstrings(tree))
        waiting += _imported(tree)
    text = "\n".join(f"{name}\n{source}" for name, source in sorted(sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(module: str) -> ast.Module:
    """Parse the source of a module."""
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _imported(tree: ast.Module) -> list[str]:
    """Modules of this package that a module imports, at its top or later."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}.")]
        # Its own relative imports are forbidden by the linter.
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *(name for name in inner if _is_module(name))]
    return found


def _is_module(name: str) -> bool:
    """Tell a module from a name inside one."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop the docstrings of a module, its classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree
