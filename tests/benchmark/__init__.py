"""Tests of `anomalib_patchgan.benchmark`."""
