"""Unsupervised lesion detection in medical images: PatchGan and its data, as an anomalib plugin.

Importing the package registers its models and data modules with anomalib: at once if anomalib is imported already,
otherwise as soon as it is. Where anomalib is not installed, exported models run all the same.

Example:
    >>> import anomalib_patchgan
    >>> from anomalib.models import get_model
    >>> type(get_model("PatchGan")).__name__
    'PatchGan'
"""

import importlib
from typing import TYPE_CHECKING

from anomalib_patchgan.late_registration import register_with_anomalib
from anomalib_patchgan.registry import check_anomalib_version
from anomalib_patchgan.version import __version__

if TYPE_CHECKING:
    from anomalib_patchgan.data import ISIC2016, BrainPhantom, BraTS, BraTS2019, PreparedFolder, VolumeFolder
    from anomalib_patchgan.models import (
        Alocc,
        Autoencoder,
        FileSize,
        MeanIntensity,
        MirrorDifference,
        OneClassSvm,
        PatchGan,
        SlicePosition,
        StandardDeviation,
    )

__all__ = [
    "ISIC2016",
    "Alocc",
    "Autoencoder",
    "BraTS",
    "BraTS2019",
    "BrainPhantom",
    "FileSize",
    "MeanIntensity",
    "MirrorDifference",
    "OneClassSvm",
    "PatchGan",
    "PreparedFolder",
    "SlicePosition",
    "StandardDeviation",
    "VolumeFolder",
    "__version__",
]

_HOMES = {
    "Alocc": "anomalib_patchgan.models",
    "Autoencoder": "anomalib_patchgan.models",
    "BraTS": "anomalib_patchgan.data",
    "BraTS2019": "anomalib_patchgan.data",
    "BrainPhantom": "anomalib_patchgan.data",
    "FileSize": "anomalib_patchgan.models",
    "ISIC2016": "anomalib_patchgan.data",
    "MeanIntensity": "anomalib_patchgan.models",
    "MirrorDifference": "anomalib_patchgan.models",
    "OneClassSvm": "anomalib_patchgan.models",
    "PatchGan": "anomalib_patchgan.models",
    "PreparedFolder": "anomalib_patchgan.data",
    "SlicePosition": "anomalib_patchgan.models",
    "StandardDeviation": "anomalib_patchgan.models",
    "VolumeFolder": "anomalib_patchgan.data",
}


def __getattr__(name: str) -> object:
    """Import a public class when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    # Where models only run, this says what is missing; the import would name the first module that it does not find.
    check_anomalib_version()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    # Kept: the parser of a command line asks hundreds of times, and each time the version would be read from the disk.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__})


# anomalib takes about ten seconds to import, and what runs exported models works without it.
register_with_anomalib()
