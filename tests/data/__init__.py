"""Tests of the data modules and of data preparation."""
