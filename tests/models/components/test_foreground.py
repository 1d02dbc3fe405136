"""Foreground masks and the fade at their rim."""

import pytest
import torch

from anomalib_patchgan.models.components.foreground import fade_from_rim, foreground_mask


def disc(size: int = 48, radius: float = 18, hole: float = 0) -> torch.Tensor:
    """Image with a grey disc on black and, in its middle, a black hole."""
    rows, columns = torch.meshgrid(torch.arange(size) - size / 2, torch.arange(size) - size / 2, indexing="ij")
    distance = torch.hypot(rows, columns)
    return (0.5 * ((distance < radius) & (distance >= hole))).expand(1, 3, size, size)


def test_dark_hole_belongs_to_the_foreground_and_the_background_does_not():
    mask = foreground_mask(disc(hole=6))
    assert torch.equal(mask, (disc()[:, :1] > 0).float())


@pytest.mark.parametrize("dim", [2, 3])
def test_gap_that_is_open_on_two_sides_is_background(dim):
    image = torch.zeros(1, 3, 16, 16)
    for start in (2, 10):
        image.narrow(dim, start, 4).fill_(0.5)
    assert torch.equal(foreground_mask(image), (image[:, :1] > 0).float())


def test_tile_of_tissue_is_all_foreground():
    assert foreground_mask(torch.full((2, 3, 32, 32), 0.3)).eq(1).all()


def test_black_image_has_no_foreground():
    assert foreground_mask(torch.zeros(2, 3, 32, 32)).eq(0).all()


def test_threshold_is_a_brightness():
    image = torch.full((1, 3, 8, 8), 0.2)
    assert foreground_mask(image, threshold=0.1).all()
    assert not foreground_mask(image, threshold=0.3).any()


def test_images_of_a_batch_are_independent():
    batch = torch.cat([disc(), disc(radius=8), torch.zeros(1, 3, 48, 48)])
    assert torch.equal(foreground_mask(batch), torch.cat([foreground_mask(image[None]) for image in batch]))


@pytest.mark.parametrize("margin", [1, 3, 8])
def test_fade_grows_from_the_rim_to_one(margin):
    mask = foreground_mask(disc())
    weights = fade_from_rim(mask, margin)
    profile = weights[0, 0, 24, 24:]
    assert (profile.diff() <= 0).all()
    assert profile[0] == 1
    assert (weights[mask == 0] == 0).all()
    assert ((weights > 0) & (weights < 1)).any()
    # A wider margin leaves less of the disc.
    assert weights.sum() < fade_from_rim(mask, margin - 1).sum()


def test_no_margin_is_the_mask():
    mask = foreground_mask(disc())
    assert torch.equal(fade_from_rim(mask, 0), mask)


def test_border_of_the_image_is_no_rim():
    assert fade_from_rim(torch.ones(1, 1, 16, 24), 5) == pytest.approx(1, abs=1e-6)
