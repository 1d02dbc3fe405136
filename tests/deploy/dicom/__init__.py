"""Tests of DICOM input and output."""
