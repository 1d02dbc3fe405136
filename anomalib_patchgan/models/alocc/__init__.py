"""ALOCC."""

from anomalib_patchgan.models.alocc.lightning_model import Alocc

__all__ = ["Alocc"]
