"""Tests of `benchmarks/fill_numbers.py`, which writes measured numbers into the documentation."""
