"""Eq. 5 against a reference written with plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.components.ranking import PatchRanking, patch_losses


def reference(residual: np.ndarray, patch_size: int, weights: tuple[float, ...] | None) -> float:
    """Score of one `(H, W)` map: weighted mean of the patches' means, worst first."""
    height, width = residual.shape
    losses = sorted(
        (
            residual[top : top + patch_size, left : left + patch_size].mean()
            for top in range(0, height, patch_size)
            for left in range(0, width, patch_size)
        ),
        reverse=True,
    )
    used = list(zip(losses, weights or [1.0] * len(losses), strict=False))
    return sum(loss * weight for loss, weight in used) / sum(weight for _, weight in used)


def random_maps(height: int, width: int, batch: int = 3) -> Tensor:
    """Maps that are far from constant, the same ones for the same size."""
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(height + width)) ** 4


@pytest.mark.parametrize("weights", [(1.1, 1.0), (1.0,), (3.0, 0.0, 1.0), (1.0,) * 9, None])
@pytest.mark.parametrize(("height", "width", "patch_size"), [(32, 32, 16), (64, 96, 16), (40, 24, 16), (30, 45, 7)])
def test_score_is_that_of_the_reference(height, width, patch_size, weights):
    maps = random_maps(height, width)
    expected = [reference(one[0].numpy().astype(float), patch_size, weights) for one in maps]
    assert PatchRanking(patch_size, weights)(maps).tolist() == pytest.approx(expected, rel=1e-5)


def test_paper_tile_is_the_weighted_sum_of_the_worst_two_of_four_patches():
    tile = torch.zeros(1, 1, 32, 32)
    for number, (top, left) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16)], start=1):
        tile[..., top : top + 16, left : left + 16] = number
    assert patch_losses(tile, 16).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert float(PatchRanking(16, (1.1, 1.0))(tile)) == pytest.approx((1.1 * 4 + 1.0 * 3) / 2.1)


@pytest.mark.parametrize(("height", "width", "patch_size"), [(32, 32, 16), (33, 32, 16), (20, 50, 16), (8, 8, 16)])
def test_number_of_patches_counts_those_that_are_cut_off(height, width, patch_size):
    expected = math.ceil(height / patch_size) * math.ceil(width / patch_size)
    assert patch_losses(random_maps(height, width), patch_size).shape == (3, expected)


def test_one_patch_scores_its_mean_whatever_the_further_weights():
    maps = random_maps(16, 16)
    torch.testing.assert_close(PatchRanking(16, (1.1, 1.0, 0.9))(maps), maps.mean(dim=(1, 2, 3)))


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -0.1), (1.0, math.nan), (math.inf, 1.0), (math.nan,)])
def test_weights_that_cannot_rank_are_refused(weights):
    with pytest.raises(ConfigurationError, match="rank_weights"):
        PatchRanking(16, weights)


def test_weights_that_leave_nothing_to_count_are_refused():
    ranking = PatchRanking(16, (0.0, 1.0))
    assert torch.isfinite(ranking(random_maps(16, 32))).all()
    with pytest.raises(ConfigurationError, match=r"no weight to the 1 most anomalous patches"):
        ranking(random_maps(16, 16))
    with pytest.raises(ConfigurationError, match="rank_weights"):
        PatchGan(image_size=(32, 32), downscale=1, patch_size=32, rank_weights=(0.0, 1.0))


@pytest.mark.parametrize("size", [0, (), (4, 0)])
def test_patch_without_pixels_is_refused(size):
    with pytest.raises(ConfigurationError, match="patch_size"):
        PatchRanking(size)


@pytest.mark.parametrize("weights", [None, (1.1, 1.0)])
def test_patches_of_several_sizes_are_ranked_apart(weights):
    maps = random_maps(48, 64)
    apart = [PatchRanking(size, weights)(maps) for size in (3, 16)]
    torch.testing.assert_close(PatchRanking((3, 16), weights)(maps), sum(apart) / 2)


def test_a_model_ranks_by_its_finest_and_its_coarsest_patches():
    ranked = PatchGan(image_size=(64, 64), width=8, patch_size=[2, 16]).model
    assert ranked.ranking.patch_sizes == (2, 16)
    # An image may be smaller than the coarsest patch, not than the finest.
    PatchGan(image_size=(32, 32), width=8, patch_size=[2, 64])
    with pytest.raises(DataError, match="at least 64"):
        PatchGan(image_size=(32, 32), width=8, patch_size=64)


patches = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)
some_weights = st.none() | st.lists(st.floats(0.125, 2, width=32), min_size=1, max_size=5)


def score(values: list[float], weights: list[float] | None) -> float:
    """Score of a 32x32 tile of four constant patches."""
    tile = torch.tensor(values).view(1, 1, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    return float(PatchRanking(16, weights)(tile))


@settings(max_examples=60, deadline=None)
@given(patches, some_weights, st.permutations(range(4)))
def test_order_of_patches_does_not_matter(values, weights, order):
    assert score([values[i] for i in order], weights) == pytest.approx(score(values, weights), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(patches, some_weights, st.integers(0, 3), st.floats(0, 1, width=32))
def test_a_worse_patch_never_lowers_the_score(values, weights, index, more):
    worse = [value + more * (i == index) for i, value in enumerate(values)]
    assert score(worse, weights) >= score(values, weights) - 1e-6
