"""Comparing models on a data set: jobs, their results, the report."""
