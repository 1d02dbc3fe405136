"""Cohorts of NIfTI volumes: from folders in BIDS, or of any other form that a pattern describes, to slices or tiles."""

from anomalib_patchgan.data.prepare.volume_folder.plan import plan_volume_folder
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec, VolumeProtocol

__all__ = ["VolumeFolderSpec", "VolumeProtocol", "plan_volume_folder"]
