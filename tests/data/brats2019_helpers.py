"""What the tests of `BraTS2019` share."""

from anomalib_patchgan import BraTS2019

PAPER = {"protocol": "paper", "test_tiles": 4, "val_tiles": 3}


def make(archive, cache, **arguments):
    data = BraTS2019(archive, cache_dir=cache, num_workers=0, workers=1, **arguments)
    data.setup()
    return data
