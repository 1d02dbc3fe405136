"""What compression costs is measured with masks that lie where the images do."""

from types import SimpleNamespace

import numpy as np
import torch

from anomalib_patchgan.deploy.accuracy import read_images


class Pictures(list):
    """A split of one image with a lesion in its middle."""

    samples = SimpleNamespace(label_index=np.array([1]))


def test_masks_are_shrunk_around_the_centres_of_pixels():
    """Taking the upper left of each block moves a lesion by half a pixel of the model."""
    mask = torch.zeros(60, 60)
    mask[18:42, 18:42] = 1
    item = SimpleNamespace(image=torch.zeros(3, 60, 60), gt_mask=mask, gt_label=torch.tensor(1))
    shrunk = read_images("test", Pictures([item]), (16, 16)).masks[0]
    assert np.array_equal(shrunk, shrunk[::-1, ::-1])
    assert shrunk.mean() == np.float64(36 / 256)
