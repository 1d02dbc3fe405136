"""From a trained model to a clinic's small box: exports that are checked, and volumes and images in.

What runs exported models needs neither torch nor anomalib; each class is imported when it is first asked for (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.predictor import SlicePredictor
    from anomalib_patchgan.deploy.volume import VolumeInferencer

# The forms of an export; of the last two activations are quantized, too, which takes images.
Compression = Literal["FP32", "FP16", "INT8", "INT8_PTQ", "INT8_ACQ"]
COMPRESSIONS: tuple[Compression, ...] = ("FP32", "FP16", "INT8", "INT8_PTQ", "INT8_ACQ")
QUANTIZED = COMPRESSIONS[-2:]

__all__ = ["SlicePredictor", "VolumeInferencer"]

_HOMES = {
    "SlicePredictor": "anomalib_patchgan.deploy.predictor",
    "VolumeInferencer": "anomalib_patchgan.deploy.volume",
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
