"""Models of the plugin."""

from anomalib_patchgan.models.alocc import Alocc
from anomalib_patchgan.models.autoencoder import Autoencoder
from anomalib_patchgan.models.ocsvm import OneClassSvm
from anomalib_patchgan.models.patchgan import PatchGan
from anomalib_patchgan.models.rules import FileSize, MeanIntensity, MirrorDifference, SlicePosition, StandardDeviation

__all__ = [
    "Alocc",
    "Autoencoder",
    "FileSize",
    "MeanIntensity",
    "MirrorDifference",
    "OneClassSvm",
    "PatchGan",
    "SlicePosition",
    "StandardDeviation",
]
