"""Eqs. 1 to 4 against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.models.components.loss import DiscriminatorLoss, pixel_distance
from anomalib_patchgan.models.components.networks import PatchDiscriminator
from anomalib_patchgan.models.patchgan.loss import ForeignLoss, ReconstructorLoss


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Originals and restorations of size 40x24, so that 16-pixel patches are cut off."""
    first, second = torch.rand(2, 2, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    return first, second


def test_distances(pair):
    first, second = pair
    assert float(pixel_distance(first, second, "l1").mean()) == pytest.approx(float(F.l1_loss(first, second)))
    assert float(pixel_distance(first, second, "l2").mean()) == pytest.approx(float(F.mse_loss(first, second)))


def test_terms_and_their_weighted_sum(pair):
    logits = torch.tensor([[[[-1.0, 0.0]]], [[[2.0, 3.0]]]])
    terms = ReconstructorLoss(0.2, 1.5, 0.3, patch_size=16)(*pair, logits)
    squared = (pair[0] - pair[1]).square().mean(dim=1)
    patches = [squared[:, y : y + 16, x : x + 16].mean(dim=(1, 2)) for y in (0, 16, 32) for x in (0, 16)]
    assert float(terms.reconstruction) == pytest.approx(float(squared.mean()))
    assert float(terms.patch) == pytest.approx(float(torch.stack(patches).mean()))
    real = [1 / (1 + math.exp(-logit)) for logit in logits.flatten().tolist()]
    assert float(terms.adversarial) == pytest.approx(-sum(map(math.log, real)) / 4, rel=1e-5)
    total = 0.2 * terms.reconstruction + 1.5 * terms.patch + 0.3 * terms.adversarial
    assert float(terms.total) == pytest.approx(float(total))


def test_patch_term_of_whole_patches_is_the_mean_over_pixels(pair):
    first, second = (images[..., :32, :16] for images in pair)
    terms = ReconstructorLoss(patch_size=16)(first, second, None)
    assert float(terms.patch) == pytest.approx(float(terms.reconstruction))


def test_without_the_game_the_adversarial_term_is_zero(pair):
    terms = ReconstructorLoss(1.0, 0.0, 5.0)(*pair, None)
    assert float(terms.adversarial) == 0
    assert float(terms.total) == float(terms.reconstruction)


def test_adversarial_gradient_reaches_the_restoration(pair):
    images, restored = pair
    restored.requires_grad_()
    terms = ReconstructorLoss(0.0, 0.0, 1.0)(images, restored, PatchDiscriminator(widths=(4, 4, 4))(restored))
    terms.total.backward()
    assert restored.grad.abs().max() > 0


def test_adversarial_term_falls_as_patches_look_real(pair):
    losses = [
        float(ReconstructorLoss()(*pair, torch.full((2, 1, 4, 4), logit)).adversarial) for logit in (-2.0, 0.0, 2.0)
    ]
    assert losses == sorted(losses, reverse=True)


def test_discriminator_loss_is_smallest_for_separated_logits():
    loss = DiscriminatorLoss()
    logits = torch.full((2, 1, 4, 4), 20.0)
    assert float(loss(logits, -logits)) == pytest.approx(0, abs=1e-6)
    assert float(loss(0 * logits, 0 * logits)) == pytest.approx(2 * math.log(2))
    assert float(loss(-logits, logits)) == pytest.approx(40, abs=1e-3)


def test_extreme_logits_stay_finite():
    logits = torch.full((1, 1, 2, 2), 1e4, requires_grad=True)
    loss = DiscriminatorLoss()(-logits, logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_foreign_loss_rewards_finding_what_was_hidden():
    change, foreground = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    change[..., :4] = 0.2
    right = torch.where(change > 0, -20.0, 20.0)
    assert float(ForeignLoss()(right, change, foreground)) == pytest.approx(0, abs=1e-6)
    assert float(ForeignLoss()(-right, change, foreground)) == pytest.approx(20)
    assert float(ForeignLoss(threshold=0.3)(torch.full_like(right, 20.0), change, foreground)) < 1e-6


def test_foreign_loss_looks_at_the_foreground_only():
    change, logits = torch.ones(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    assert float(ForeignLoss()(logits, change, torch.zeros(1, 1, 4, 4))) == 0
