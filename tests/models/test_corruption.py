"""What corrupts images in training changes the foreground only, in the measure that was asked for."""

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.corruption import CoarseNoise, Corruption, ForeignTissue, ZeroRectangles
from anomalib_patchgan.models.patchgan.objects import build


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everywhere(images: Tensor) -> Tensor:
    return torch.ones_like(images[:, :1])


@pytest.fixture(params=[ZeroRectangles(), CoarseNoise(), ForeignTissue(probability=1.0, noise=1.0)])
def corruption(request):
    """Something in every image: by default foreign tissue may leave one as it is."""
    return request.param


@pytest.fixture
def brains() -> tuple[Tensor, Tensor]:
    """Eight colour images with a bright rectangle on a grey background, and the mask of the rectangle."""
    foreground = torch.zeros(8, 1, 40, 56)
    foreground[..., 8:32, 10:44] = 1.0
    return torch.rand(8, 3, 40, 56, generator=generator()) * 0.5 + 0.25, foreground


def test_only_foreground_changes_and_the_range_is_kept(corruption, brains):
    images, foreground = brains
    before = images.clone()
    corrupted = corruption(images, foreground, generator())
    assert torch.equal(images, before)
    changed = (corrupted != images).any(dim=1, keepdim=True)
    assert not changed[foreground == 0].any()
    assert changed.flatten(1).any(dim=1).all()
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1


def test_same_seed_same_images_other_seed_others(corruption, brains):
    first, second, other = (corruption(*brains, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_without_a_generator_torch_seeds_it(corruption, brains):
    torch.manual_seed(5)
    first = corruption(*brains)
    torch.manual_seed(5)
    assert torch.equal(first, corruption(*brains))


def test_images_of_a_batch_are_corrupted_differently(corruption):
    images = torch.full((4, 3, 32, 32), 0.5)
    corrupted = corruption(images, everywhere(images), generator())
    assert len(torch.unique(corrupted, dim=0)) == 4


def test_image_without_foreground_stays_and_does_not_disturb_the_others(corruption, brains):
    images, foreground = brains
    foreground[0] = 0
    corrupted = corruption(images, foreground, generator())
    assert torch.equal(corrupted[0], images[0])
    assert not torch.equal(corrupted[1], images[1])


@pytest.mark.parametrize("side", [32, 64, 128])
def test_sides_of_a_rectangle_grow_with_the_image(side):
    images = torch.ones(64, 3, side, side)
    corrupted = ZeroRectangles(count=(1, 1), side=(3, 6))(images, everywhere(images), generator())[:, 0] == 0
    heights = corrupted.any(dim=2).sum(dim=1).float()
    # The border of the image may cut a rectangle, so only the largest sides are exact.
    assert heights.max() == 6 * side / 32
    assert corrupted.flatten(1).sum(dim=1).max() <= (6 * side / 32) ** 2
    inner = ~(corrupted[:, [0, -1]].any(dim=(1, 2)) | corrupted[:, :, [0, -1]].any(dim=(1, 2)))
    assert heights[inner].min() == 3 * side / 32


def test_number_of_rectangles():
    images = torch.ones(64, 3, 256, 256)
    # Rectangles of 8 pixels rarely touch in 256x256, so the largest number of islands is reached.
    corrupted = ZeroRectangles(count=(5, 9), side=(1, 1))(images, everywhere(images), generator())
    islands = [ndimage.label(one[0].numpy() == 0)[1] for one in corrupted]
    assert max(islands) == 9
    assert min(islands) <= 5
    assert len(set(islands)) >= 5


def test_rectangles_of_a_small_foreground_are_centred_in_it():
    images, foreground = torch.ones(16, 3, 64, 64), torch.zeros(16, 1, 64, 64)
    foreground[..., 20:24, 40:44] = 1
    corrupted = ZeroRectangles()(images, foreground, generator())
    assert (corrupted == 0).flatten(1).any(dim=1).all()


def test_noise_keeps_grey_images_grey_and_colours_the_channels_of_others():
    grey = torch.rand(2, 1, 32, 32, generator=generator()).expand(2, 3, 32, 32) * 0.5 + 0.25
    colour = torch.rand(2, 3, 32, 32, generator=generator()) * 0.5 + 0.25
    images = torch.cat([grey, colour])
    noise = CoarseNoise(sigma=0.05)(images, everywhere(images), generator()) - images
    spread = (noise.amax(dim=1) - noise.amin(dim=1)).amax(dim=(1, 2))
    assert (spread[:2] < 1e-6).all()
    assert (spread[2:] > 0.01).all()


def test_fewer_cells_make_smoother_noise():
    images = torch.full((8, 3, 64, 64), 0.5)
    steps = [
        CoarseNoise(cells, sigma=0.05)(images, everywhere(images), generator()).diff(dim=-1).abs().mean()
        for cells in (4, 8, 16, 32)
    ]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("CoarseNoise", {"strength": 1}, "strength"),
        ("ZeroRectangles", {"sigma": 1}, "sigma"),
        ("ZeroRectangles", {"count": (9, 5)}, "count"),
        ("ZeroRectangles", {"side": (0, 5)}, "side"),
        ("ZeroRectangles", {"count": 5}, "ZeroRectangles"),
        ("ZeroRectangles", {"count": (1, 2, 3)}, "ZeroRectangles"),
        ("ZeroRectangles", {"side": "x"}, "ZeroRectangles"),
        ("CoarseNoise", {"cells": 0}, "cells"),
        ("CoarseNoise", {"sigma": 0.0}, "sigma"),
    ],
)
def test_arguments_out_of_range_or_of_the_wrong_shape(name, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        build({"class_path": name, "init_args": arguments}, Corruption)
