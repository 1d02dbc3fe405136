"""Registers the plugin when anomalib is imported, so that nobody who does without anomalib waits for it."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ANOMALIB = "anomalib"
PLUGIN = "anomalib_patchgan"


class RegisterWithAnomalib(MetaPathFinder):
    """Finds no module itself, but notices when anomalib is imported, and registers the plugin then.

    Where a module of the plugin is the first to import anomalib, the plugin is registered when that module is complete:
    before, its classes are not there yet.
    """

    def __init__(self) -> None:
        self._importing = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the other finders find a module of anomalib or the plugin, and have its import counted."""
        if fullname != ANOMALIB and not fullname.startswith(f"{PLUGIN}."):
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((spec for finder in others if (spec := finder.find_spec(fullname, path, target))), None)
        if spec is not None and spec.loader is not None:
            self._count(spec)
        return spec

    def _count(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        assert loader is not None
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            # Others may ask the loader for data of the module, or load it again: it is as it was from here on.
            delattr(loader, "exec_module")
            self._importing += 1
            try:
                execute(module)
            finally:
                self._importing -= 1
            if not self._importing and ANOMALIB in sys.modules and self in sys.meta_path:
                self._register()

        # Each module has a loader of its own; a wrapped one would be no SourceFileLoader, which others ask for.
        setattr(loader, "exec_module", execute_and_register)  # noqa: B010 - mypy allows no method to be replaced

    def _register(self) -> None:
        # First, because the modules that are imported for it are not to register the plugin again.
        sys.meta_path.remove(self)
        try:
            register_now()
        except BaseException:
            sys.meta_path.insert(0, self)
            raise


def register_with_anomalib() -> None:
    """Register the plugin with anomalib now if it is imported already, otherwise when it will be.

    Raises:
        UnsupportedVersionError: anomalib is imported and outside the supported range. If it is imported later, that
            raises the error.
    """
    if ANOMALIB in sys.modules:
        register_now()
    elif not any(isinstance(finder, RegisterWithAnomalib) for finder in sys.meta_path):
        sys.meta_path.insert(0, RegisterWithAnomalib())


def register_now() -> None:
    """Register the plugin, whose modules are imported only here."""
    from anomalib_patchgan.registry import register

    register()
