"""What tests look at of a data module: its sample tables, and the pixels of a sample."""

import numpy as np
from PIL import Image


def tables(data):
    """The samples to train, validate and test with."""
    return data.train_data.samples, data.val_data.samples, data.test_data.samples


def pixels(path):
    """The stored pixels of an image or a mask."""
    return np.asarray(Image.open(path))
