"""Tests of `anomalib_patchgan.measure`."""
