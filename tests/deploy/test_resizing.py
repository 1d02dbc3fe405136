"""Resizing without torch gives what torch gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.deploy.plain_operations import resize_as_graph


@pytest.mark.parametrize(
    ("old", "new"),
    [((64, 64), (64, 64)), ((240, 155), (192, 192)), ((33, 50), (256, 192)), ((5, 1), (3, 7)), ((700, 901), (64, 65))],
)
def test_same_as_torch(old, new):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *old), dtype=np.uint8)
    found = resize_as_graph(images, new)
    expected = F.interpolate(torch.from_numpy(images).float(), new, mode="bilinear", align_corners=False).numpy()
    assert found.dtype == np.float32
    # torch counts places in single precision; values reach 255.
    assert found == pytest.approx(expected, abs=0.02)
    assert np.abs(found - expected).mean() < 1e-3
