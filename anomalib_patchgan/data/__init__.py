"""Data modules of the plugin: medical archives, prepared folders of images, and synthetic brains to try it on.

They are imported when they are first asked for (PEP 562): what only reads and writes prepared files needs no anomalib.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomalib_patchgan.data.brain_phantom import BrainPhantom
    from anomalib_patchgan.data.brats import BraTS, BraTS2019
    from anomalib_patchgan.data.isic2016 import ISIC2016
    from anomalib_patchgan.data.prepared_folder import PreparedFolder, PreparedFolderDataset
    from anomalib_patchgan.data.volume_folder import VolumeFolder

__all__ = [
    "ISIC2016",
    "BraTS",
    "BraTS2019",
    "BrainPhantom",
    "PreparedFolder",
    "PreparedFolderDataset",
    "VolumeFolder",
]

_HOMES = {
    "BraTS": "anomalib_patchgan.data.brats",
    "BraTS2019": "anomalib_patchgan.data.brats",
    "BrainPhantom": "anomalib_patchgan.data.brain_phantom",
    "ISIC2016": "anomalib_patchgan.data.isic2016",
    "PreparedFolder": "anomalib_patchgan.data.prepared_folder",
    "PreparedFolderDataset": "anomalib_patchgan.data.prepared_folder",
    "VolumeFolder": "anomalib_patchgan.data.volume_folder",
}


def __getattr__(name: str) -> object:
    """Import a public class when it is first asked for."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
