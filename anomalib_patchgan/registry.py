"""Makes the plugin's classes known to anomalib; the only file that touches anomalib's registries."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from anomalib_patchgan.errors import UnsupportedVersionError

SUPPORTED_ANOMALIB = ">=2.7,<2.8"


def check_anomalib_version() -> None:
    """Check that the installed anomalib is one this plugin was written and tested for.

    Raises:
        UnsupportedVersionError: If anomalib is missing or outside the supported range.

    Example:
        >>> from anomalib_patchgan.registry import check_anomalib_version
        >>> check_anomalib_version()
    """
    from packaging.specifiers import SpecifierSet

    remedy = f"install a supported one: pip install 'anomalib[openvino]{SUPPORTED_ANOMALIB}'"
    try:
        found = version("anomalib")
    except PackageNotFoundError as error:
        msg = (
            "anomalib is not installed; without it models can only be run, as exported: pip install anomalib-patchgan "
            "with all it depends on."
        )
        raise UnsupportedVersionError(msg) from error
    if not SpecifierSet(SUPPORTED_ANOMALIB).contains(found, prereleases=True):
        msg = f"anomalib {found} is installed, but anomalib-patchgan supports {SUPPORTED_ANOMALIB}; {remedy}"
        raise UnsupportedVersionError(msg)


def register() -> None:
    """Register the plugin's models and data modules with anomalib; calling it again changes nothing.

    Afterwards `anomalib.models.get_model`, `anomalib.models.list_models`, `anomalib.data.get_datamodule`
    and the short names of the command line (`--model PatchGan --data BrainPhantom`) find them.

    Raises:
        UnsupportedVersionError: If anomalib is missing or outside the supported range.

    Example:
        >>> from anomalib.models import list_models
        >>> from anomalib_patchgan.registry import register
        >>> register()
        >>> "patch_gan" in list_models()
        True
    """
    check_anomalib_version()

    # Imported here: nothing of anomalib may load before its version is known to be supported.
    from anomalib.data import AnomalibDataModule
    from anomalib.models import ALLOWED_MODULES
    from anomalib.models.components import AnomalibModule

    models = import_module("anomalib_patchgan.models")
    # get_model accepts dotted paths of these modules only, and bare class paths of anomalib.models.
    ALLOWED_MODULES.update({"anomalib_patchgan", models.__name__})
    _publish(models, AnomalibModule, import_module("anomalib.models"))
    _publish(import_module("anomalib_patchgan.data"), AnomalibDataModule, import_module("anomalib.data"))


def _publish(source: ModuleType, base: type, target: ModuleType) -> None:
    """Set the public subclasses of `base` in `source` as attributes of `target`."""
    for name in source.__all__:
        value = getattr(source, name)
        if isinstance(value, type) and issubclass(value, base):
            setattr(target, name, value)
