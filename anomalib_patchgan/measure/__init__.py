"""Measuring: numbers in, numbers out; knows nothing of anomalib's models and data."""
