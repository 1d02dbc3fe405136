"""From image and restoration to the residual map."""

import pytest
import torch
from anomalib.models.components import GaussianBlur2d

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.residual import ResidualMap, local_range, make_blur


def pair(size: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, restorations and a full foreground, random but always the same."""
    generator = torch.Generator().manual_seed(0)
    images, restored = torch.rand(2, 2, 3, size, size, generator=generator)
    return images, restored, torch.ones(2, 1, size, size)


@pytest.mark.parametrize(("distance", "power"), [("l1", 1), ("l2", 2)])
def test_plain_residual_is_the_distance_averaged_over_channels(distance, power):
    images, restored, foreground = pair()
    residual = ResidualMap(distance, smoothing=0)(images, restored, foreground)
    torch.testing.assert_close(residual, ((images - restored).abs() ** power).mean(dim=1, keepdim=True))


def test_nothing_is_left_outside_the_foreground():
    images, restored, foreground = pair()
    foreground[..., :10] = 0
    residual = ResidualMap(edge_damping=0.2, smoothing=2, image_context=0.5, foreground_margin=0.1)(
        images, restored, foreground
    )
    assert (residual[..., :10] == 0).all()
    assert (residual[..., 20:] > 0).all()


def test_smoothing_spreads_a_point_and_keeps_its_sum():
    images, foreground = torch.zeros(1, 3, 33, 33), torch.ones(1, 1, 33, 33)
    images[..., 16, 16] = 1
    residual = ResidualMap(smoothing=2)(images, torch.zeros_like(images), foreground)
    assert float(residual.sum()) == pytest.approx(1, abs=1e-4)
    assert 0 < float(residual.max()) < 0.1
    assert int(residual.argmax()) == 16 * 33 + 16


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0])
def test_smoothing_in_two_passes_is_that_of_one(sigma):
    maps, _, _ = pair()
    expected = GaussianBlur2d(sigma, border_type="replicate")(maps[:, :1])
    torch.testing.assert_close(make_blur(sigma)(maps[:, :1]), expected)


def test_edges_count_less_with_damping():
    images, foreground = torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    images[..., 16:] = 1
    residual = ResidualMap(edge_damping=0.1, smoothing=0)(images, images - 0.1, foreground)
    assert residual[..., 16].max() < 0.2 * residual[..., 2].min()
    assert float(residual[..., 2].mean()) == pytest.approx(1, rel=1e-4)  # flat: 0.1 / 0.1


def test_full_context_removes_the_level_of_an_image():
    images, restored, foreground = pair()
    harder = images + 3 * (restored - images)
    residual = ResidualMap(smoothing=0, image_context=1)
    torch.testing.assert_close(residual(images, restored, foreground), residual(images, harder, foreground))


def test_context_is_that_of_the_foreground():
    images, restored, foreground = pair()
    foreground[..., :16] = 0
    other = restored.clone()
    other[..., :16] = 0
    residual = ResidualMap(smoothing=0, image_context=1)
    assert torch.equal(residual(images, restored, foreground), residual(images, other, foreground))


def test_margin_fades_the_rim():
    images, restored, foreground = pair()
    foreground[..., :8] = 0
    without, faded = (
        ResidualMap(smoothing=0, foreground_margin=margin)(images, restored, foreground) for margin in (0.0, 0.25)
    )
    assert (faded[..., 8] < 0.5 * without[..., 8]).all()
    torch.testing.assert_close(faded[..., 24:], without[..., 24:])


def test_evidence_is_a_geometric_mean():
    images, restored, foreground = pair()
    opinion = torch.rand_like(foreground)
    plain = ResidualMap(smoothing=0)(images, restored, foreground)
    weighted = ResidualMap(smoothing=0, evidence=0.5)(images, restored, foreground, opinion)
    torch.testing.assert_close(weighted, ((plain + 1e-4) * (opinion + 1e-4)).sqrt() * foreground)
    torch.testing.assert_close(ResidualMap(smoothing=0)(images, restored, foreground, opinion), plain)


@pytest.mark.parametrize("size", [4, 8])
def test_images_smaller_than_the_blur_kernel(size):
    assert torch.isfinite(ResidualMap(smoothing=3, foreground_margin=0.4)(*pair(size))).all()


def test_perfect_restoration_has_no_residual_and_no_nan():
    images, _, foreground = pair()
    assert (ResidualMap(edge_damping=0.2, image_context=0.5)(images, images, foreground) == 0).all()


def test_local_range_is_that_of_the_neighbourhood():
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 4] = 0.5
    expected = torch.zeros(1, 1, 9, 9)
    expected[..., 2:7, 2:7] = 0.5
    assert torch.equal(local_range(image), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"distance": "l3"},
        {"edge_damping": 0.0},
        {"smoothing": -1.0},
        {"image_context": -0.5},
        {"mirror_context": 1.5},
        {"foreground_margin": 0.5},
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments)).replace("distance", "residual")):
        ResidualMap(**arguments)


def test_smoothing_is_no_weight_of_a_checkpoint():
    assert ResidualMap(smoothing=2.0).state_dict() == {}


def test_mirror_context_removes_what_both_sides_share():
    images, foreground = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 1, 32, 32)
    restored = images.clone()
    restored[..., 10:14, 4:8] = restored[..., 10:14, 24:28] = 0.9  # the same on both sides
    restored[..., 20:24, 4:8] = 0.9  # on one side only
    plain, mirrored = (ResidualMap(smoothing=0, mirror_context=m)(images, restored, foreground)[0, 0] for m in (0, 1))
    assert torch.equal(plain[20:24, 4:8], mirrored[20:24, 4:8])
    assert plain[10:14].max() > 0
    assert mirrored[10:14].max() == 0
    assert mirrored[20:24, 24:28].max() == 0
