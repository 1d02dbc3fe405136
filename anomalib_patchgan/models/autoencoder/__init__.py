"""Autoencoder."""

from anomalib_patchgan.models.autoencoder.lightning_model import Autoencoder

__all__ = ["Autoencoder"]
