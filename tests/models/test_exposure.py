"""Brightness level of an image's tissue."""

import pytest
import torch

from anomalib_patchgan.models.patchgan.exposure import brightness_level


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
