"""Brightness level of an image's tissue."""

import pytest
import torch

from anomalib_patchgan.models.components.intensity import brightness_level


def head(value: float) -> torch.Tensor:
    image = torch.zeros(1, 3, 64, 64)
    image[..., 8:56, 8:56] = value
    return image


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_the_level_scales_with_the_image(gain):
    torch.testing.assert_close(brightness_level(gain * head(0.4)), gain * brightness_level(head(0.4)))


def test_dark_background_does_not_count():
    assert float(brightness_level(head(0.4))) == pytest.approx(0.4, abs=1e-4)


def test_a_bright_rim_counts_little():
    image = head(0.3)
    image[..., 8:12, 8:56] = 1.0  # a twelfth of the tissue
    assert float(brightness_level(image)) < 0.36
    assert float(image[image > 0].mean()) > 0.355


def test_black_images_have_a_positive_level():
    assert float(brightness_level(torch.zeros(1, 3, 8, 8))) == pytest.approx(0.02)


def test_a_large_bright_lesion_leaves_the_level_of_the_tissue():
    images = torch.zeros(2, 3, 64, 64)
    images[..., 8:56, 8:56] = 0.3 + 0.05 * torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    images[1, :, 12:40, 12:36] = 0.75  # nearly a third of the tissue
    healthy, ill = brightness_level(images).flatten()
    assert float(ill) == pytest.approx(float(healthy), rel=0.06)


def test_the_level_is_the_median_of_the_tissue():
    values = torch.linspace(0.4, 0.8, 401).view(1, 1, 1, -1).expand(1, 3, 4, -1)
    images = torch.cat([torch.zeros(1, 3, 4, 200), values], dim=3)
    assert float(brightness_level(images)) == pytest.approx(0.6, abs=2e-3)
