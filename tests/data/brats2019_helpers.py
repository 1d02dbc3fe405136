"""What the tests of `BraTS2019` share."""

import numpy as np
from PIL import Image

from anomalib_patchgan import BraTS2019

PAPER = {"protocol": "paper", "test_tiles": 4, "val_tiles": 3}


def make(archive, cache, **arguments):
    data = BraTS2019(archive, cache_dir=cache, num_workers=0, workers=1, **arguments)
    data.setup()
    return data


def tables(data):
    return data.train_data.samples, data.val_data.samples, data.test_data.samples


def pixels(path):
    return np.asarray(Image.open(path))
