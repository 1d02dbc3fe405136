"""What `benchmarks/directions.py` is made of: patients held out of training parts, and changes of PatchGan to try."""
