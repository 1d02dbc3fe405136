"""Turning sources of medical images into prepared folders: case by case, in parallel, resumable."""

from anomalib_patchgan.data.prepare.folder import folder_name, prepare_folder
from anomalib_patchgan.data.prepare.writing import PreparedSlice

__all__ = ["PreparedSlice", "folder_name", "prepare_folder"]
