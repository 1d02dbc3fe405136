"""Residuals become scores and maps in [0, 1)."""

import numpy as np
import pytest
import torch

from anomalib_patchgan.models.components.calibration import CalibratedModel


class Brightness(CalibratedModel):
    """Residuals that are easy to know."""

    def check_size(self, height, width):
        """Take all sizes."""

    def residuals(self, images):
        """Mean brightness of image and pixel."""
        return images.mean((1, 2, 3)), images.mean(1, keepdim=True)


@pytest.fixture
def model() -> Brightness:
    return Brightness()


def test_scales_are_quantiles_of_positive_residuals(model):
    images = torch.rand(37, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[:5] = 0
    model.calibrate(images, quantile=0.9, batch_size=8)
    grey = images.numpy().mean(1)
    assert float(model.score_scale) == pytest.approx(np.quantile(grey[5:].mean((1, 2)), 0.9), rel=1e-5)
    assert float(model.map_scale) == pytest.approx(np.quantile(grey[5:], 0.9), rel=1e-5)


def test_nothing_to_learn_from_leaves_the_scales(model):
    model.calibrate(torch.zeros(2, 3, 8, 8))
    assert (float(model.score_scale), float(model.map_scale)) == (1.0, 1.0)


def test_strictly_monotone_and_half_at_the_scale(model):
    model.score_scale.fill_(0.25)
    levels = torch.tensor([0.0, 1e-6, 0.1, 0.25, 0.7, 1.0])
    scores = model(levels.reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)).pred_score
    assert (scores.diff() > 0).all()
    assert scores[0] == 0
    assert float(scores[3]) == pytest.approx(0.5)
    assert scores[-1] < 1
