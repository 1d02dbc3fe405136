"""Models of the plugin."""

from anomalib_patchgan.models.patchgan import PatchGan

__all__ = ["PatchGan"]
