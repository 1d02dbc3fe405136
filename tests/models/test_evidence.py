"""Evidences: each on its own scale of normal images, whatever it sees."""

import pytest
import torch
from scipy.stats import multivariate_normal

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.evidence import (
    Appearance,
    Evidence,
    Foreignness,
    MaskedRestoration,
    Restoration,
    View,
)

EVIDENCES = [Restoration, MaskedRestoration, Foreignness, Appearance]


def view(batch: int = 4, size: int = 64, seed: int = 0, *, level: float = 0.4) -> View:
    """Images of speckle around a level with a background on the left, and restorations that miss a little of it."""
    generator = torch.Generator().manual_seed(seed)
    images = level + 0.1 * torch.rand(batch, 3, size, size, generator=generator)
    images[..., : size // 4] = 0
    foreground = torch.ones(batch, 1, size // 2, size // 2)
    foreground[..., : size // 8] = 0
    logits = torch.randn(batch, 1, size // 2, size // 2, generator=generator)
    return View(images, 0.9 * images, foreground, logits, unseen=0.8 * images)


@pytest.mark.parametrize("evidence", EVIDENCES)
def test_maps_are_non_negative_and_of_the_size_of_the_foreground(evidence):
    one = evidence()
    one.calibrate([view()])
    maps = one(view(2, seed=1))
    assert maps.shape == (2, 1, 32, 32)
    assert maps.min() >= 0
    assert maps.max() > 0


@pytest.mark.parametrize("evidence", EVIDENCES)
def test_one_in_a_hundred_normal_pixels_is_above_the_weight(evidence):
    normal, one = view(), evidence(weight=3.0, mirror=0.0, margin=0.0)
    one.calibrate([normal])
    above = (one(normal)[normal.foreground > 0] > 3.0).float().mean()
    assert float(above) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("evidence", EVIDENCES)
def test_what_was_learned_comes_back_from_a_checkpoint(evidence):
    learned, fresh = evidence(), evidence()
    learned.calibrate([view()])
    assert not torch.allclose(learned(view(seed=1)), fresh(view(seed=1)))
    fresh.load_state_dict(learned.state_dict())
    assert torch.equal(learned(view(seed=1)), fresh(view(seed=1)))


@pytest.mark.parametrize("evidence", EVIDENCES)
def test_images_without_foreground_teach_nothing(evidence):
    empty = view()._replace(foreground=torch.zeros(4, 1, 32, 32))
    one = evidence()
    before = {name: value.clone() for name, value in one.state_dict().items()}
    one.calibrate([empty])
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("evidence", EVIDENCES)
def test_weights_that_cannot_be_used(evidence, weight):
    with pytest.raises(ConfigurationError, match="weight"):
        evidence(weight=weight)


@pytest.mark.parametrize("power", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("evidence", EVIDENCES)
def test_powers_that_cannot_be_used(evidence, power):
    with pytest.raises(ConfigurationError, match="power"):
        evidence(power=power)


@pytest.mark.parametrize("evidence", EVIDENCES)
def test_a_power_keeps_the_order_of_places_and_what_normal_tissue_reaches(evidence):
    plain, compressed = evidence(weight=2.0, power=1.0), evidence(weight=2.0, power=0.5)
    for one in (plain, compressed):
        one.calibrate([view()])
    torch.testing.assert_close(compressed(view(seed=1)), 2.0 * (plain(view(seed=1)) / 2.0).sqrt())


def test_a_masked_restoration_looks_at_what_was_not_seen():
    plain, masked = Restoration(margin=0.0, mirror=0.0), MaskedRestoration(margin=0.0, mirror=0.0)
    torch.testing.assert_close(masked.raw(view()), plain.raw(view()._replace(restored=view().unseen)))


def test_appearance_finds_an_even_spot_that_was_restored_perfectly():
    normal = view()
    one = Appearance(components=2, margin=0.0)
    one.calibrate([normal])
    for brightness in (0.1, 0.8):  # darker and brighter alike
        odd = view(seed=1).images
        odd[..., 30:50, 30:50] = brightness
        found = one(normal._replace(images=odd, restored=odd))[..., 17:23, 17:23]
        assert found.min() > 1.0


def test_appearance_is_the_density_of_a_mixture_of_gaussians():
    one, normal = Appearance(components=1), view(8)
    one.learn([normal])
    features = one.features(normal)
    samples = features.permute(0, 2, 3, 1)[normal.foreground[:, 0] > 0].double().numpy()
    inside = normal.foreground[:, 0] > 0
    densities = one.log_density(features)[:, 0][inside].double().numpy()
    spread = samples.std(axis=0).clip(0.01)
    covariance = torch.cov(torch.from_numpy((samples - samples.mean(axis=0)) / spread).T, correction=0).numpy()
    covariance += 1e-4 * torch.eye(7).numpy()
    expected = multivariate_normal(torch.zeros(7).numpy(), covariance).logpdf((samples - samples.mean(axis=0)) / spread)
    assert (densities - expected).std() < 1e-2  # equal up to a constant


def test_colours_of_grey_images_decide_nothing_and_a_coloured_spot_stands_out():
    grey = view().images[:, :1].expand(-1, 3, -1, -1)
    one = Appearance(components=2, margin=0.0)
    one.calibrate([view()._replace(images=grey, restored=grey)])
    coloured = grey.clone()
    coloured[:, 0, 30:50, 30:50] += 0.2
    coloured[:, 2, 30:50, 30:50] -= 0.2
    found = one(view()._replace(images=coloured, restored=coloured))[..., 17:23, 17:23]
    assert found.min() > 1.0


def test_appearance_without_components():
    with pytest.raises(ConfigurationError, match="components"):
        Appearance(components=0)


def test_an_evidence_of_ones_own_is_one_method():
    class Darkness(Evidence):
        """Dark places."""

        def __init__(self, weight: float = 1.0) -> None:
            super().__init__(weight)

        def raw(self, view: View) -> torch.Tensor:
            """See `Evidence`."""
            return (1 - torch.nn.functional.avg_pool2d(view.images, view.factor).mean(1, keepdim=True)).clamp(min=0)

    one = Darkness()
    one.calibrate([view()])
    assert one(view(level=0.1))[..., 10:].mean() > one(view(level=0.6))[..., 10:].mean()
