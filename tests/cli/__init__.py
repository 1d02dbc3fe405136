"""Tests of `anomalib_patchgan.cli`."""
