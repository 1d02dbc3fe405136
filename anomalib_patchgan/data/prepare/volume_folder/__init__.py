"""Cohorts of NIfTI volumes: from folders in BIDS, or of any other form that a pattern describes, to slices or tiles."""
