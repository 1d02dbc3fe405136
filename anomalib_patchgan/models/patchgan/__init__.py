"""Unsupervised patch GAN with targeted patch ranking (Chen et al., 2025)."""

from anomalib_patchgan.models.patchgan.lightning_model import PatchGan

__all__ = ["PatchGan"]
