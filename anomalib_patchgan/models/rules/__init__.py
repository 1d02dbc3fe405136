"""Trivial rules: a model that does not clear them shows nothing."""

from anomalib_patchgan.models.rules.file_size import FileSize
from anomalib_patchgan.models.rules.mean_intensity import MeanIntensity
from anomalib_patchgan.models.rules.mirror_difference import MirrorDifference
from anomalib_patchgan.models.rules.slice_position import SlicePosition
from anomalib_patchgan.models.rules.standard_deviation import StandardDeviation

__all__ = ["FileSize", "MeanIntensity", "MirrorDifference", "SlicePosition", "StandardDeviation"]
