"""Turning sources of medical images into prepared folders: case by case, in parallel, resumable."""

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import OnError, Preparation, prepare_folder
from anomalib_patchgan.data.prepare.samples import PreparedSlice

__all__ = ["Case", "OnError", "Preparation", "PreparedSlice", "prepare_folder"]
