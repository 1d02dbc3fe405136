"""Tests of the plugin; the folders mirror the package."""
