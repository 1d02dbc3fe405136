"""Tests of exports, volumes and pages."""
