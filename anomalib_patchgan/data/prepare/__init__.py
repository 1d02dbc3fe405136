"""Turning sources of medical images into prepared folders: case by case, in parallel, resumable."""
