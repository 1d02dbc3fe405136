"""From image and restoration to the residual map, and the context that corrects maps."""

import pytest
import torch
from anomalib.models.components import GaussianBlur2d
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.filters import local_range, make_blur
from anomalib_patchgan.models.components.residual import ResidualMap
from anomalib_patchgan.models.patchgan.context import Context, level_of


def pair(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and restorations, random but always the same."""
    generator = torch.Generator().manual_seed(0)
    images, restored = torch.rand(2, 2, 3, size, size, generator=generator)
    return images, restored


def context(**arguments) -> Context:
    """A context that does nothing but what is asked for."""
    return Context(**({"mirror": 0.0, "margin": 0.0} | arguments))


def maps(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Random maps and a full foreground."""
    return torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(1)), torch.ones(2, 1, size, size)


@pytest.mark.parametrize(("distance", "power"), [("l1", 1), ("l2", 2)])
def test_plain_residual_is_the_distance_averaged_over_channels(distance, power):
    images, restored = pair()
    residual = ResidualMap(distance, None, 0.0)(images, restored)
    torch.testing.assert_close(residual, ((images - restored).abs() ** power).mean(dim=1, keepdim=True))


def test_a_smaller_map_averages_distances_and_not_images():
    images, restored = pair()
    expected = F.avg_pool2d(ResidualMap("l1", None, 0.0)(images, restored), 4)
    torch.testing.assert_close(ResidualMap("l1", None, 0.0)(images, restored, 4), expected)


def test_smoothing_spreads_a_point_and_keeps_its_sum():
    images = torch.zeros(1, 3, 33, 33)
    images[..., 16, 16] = 1
    residual = ResidualMap("l1", None, 2.0)(images, torch.zeros_like(images))
    assert float(residual.sum()) == pytest.approx(1, abs=1e-4)
    assert 0 < float(residual.max()) < 0.1
    assert int(residual.argmax()) == 16 * 33 + 16


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0])
def test_smoothing_in_two_passes_is_that_of_one(sigma):
    values, _ = maps()
    torch.testing.assert_close(make_blur(sigma)(values), GaussianBlur2d(sigma, border_type="replicate")(values))


def test_edges_count_less_with_damping():
    images = torch.zeros(1, 3, 32, 32)
    images[..., 16:] = 1
    residual = ResidualMap("l1", 0.1, 0.0)(images, images - 0.1)
    assert residual[..., 16].max() < 0.2 * residual[..., 2].min()
    assert float(residual[..., 2].mean()) == pytest.approx(1, rel=1e-4)  # flat: 0.1 / 0.1


@pytest.mark.parametrize("size", [4, 8])
def test_images_smaller_than_the_blur_kernel(size):
    assert torch.isfinite(ResidualMap("l1", 0.2, 3.0)(*pair(size))).all()
    assert torch.isfinite(context(mirror=0.5, margin=0.4)(*maps(size))).all()


def test_perfect_restoration_has_no_residual_and_no_nan():
    images, _ = pair()
    residual = ResidualMap("l1", 0.2, 2.0)(images, images)
    assert (context(mirror=0.3)(residual, torch.ones_like(residual)) == 0).all()


def test_local_range_is_that_of_the_neighbourhood():
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 4] = 0.5
    expected = torch.zeros(1, 1, 9, 9)
    expected[..., 2:7, 2:7] = 0.5
    assert torch.equal(local_range(image), expected)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(("l3", None, 0.0), "residual"), (("l1", 0.0, 0.0), "edge_damping"), (("l1", None, -1.0), "smoothing")],
)
def test_arguments_of_the_residual_out_of_range(arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        ResidualMap(*arguments)


def test_smoothing_is_no_weight_of_a_checkpoint():
    assert ResidualMap("l1", None, 2.0).state_dict() == {}


def test_without_context_the_foreground_is_left_as_it_is():
    values, foreground = maps()
    foreground[..., :10] = 0
    assert torch.equal(context()(values, foreground), values * foreground)


def test_nothing_is_left_outside_the_foreground():
    values, foreground = maps()
    foreground[..., :10] = 0
    corrected = context(mirror=0.3, margin=0.1)(values, foreground)
    assert (corrected[..., :10] == 0).all()
    assert (corrected[..., 20:].amax((2, 3)) > 0).all()


def test_level_is_that_of_the_foreground():
    values, foreground = maps()
    foreground[..., :16] = 0
    assert torch.allclose(level_of(values * foreground, foreground), values[..., 16:].mean((1, 2, 3), keepdim=True))


def test_margin_fades_the_rim():
    values, foreground = maps()
    foreground[..., :8] = 0
    without, faded = (context(margin=margin)(values, foreground) for margin in (0.0, 0.25))
    assert (faded[..., 8] < 0.5 * without[..., 8]).all()
    torch.testing.assert_close(faded[..., 24:], without[..., 24:])


def test_mirror_removes_what_both_sides_share():
    values, foreground = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    values[..., 10:20, 4:14] = values[..., 10:20, 50:60] = 1.0  # the same on both sides
    values[..., 40:50, 4:14] = 1.0  # on one side only
    mirrored = context(mirror=1.0)(values, foreground)[0, 0]
    assert mirrored[44:46, 8:10].min() == 1
    assert mirrored[14:16, 8:10].max() < 0.2
    assert mirrored[40:50, 50:60].max() == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"mirror": 1.5}, "mirror"), ({"margin": 0.5}, "margin")],
)
def test_arguments_of_the_context_out_of_range(arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        context(**arguments)


def brains(*, halves: bool, rim: float = 1.0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Maps of normal images: speckle that both halves share or not, higher at the rim of a disc or not."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(64).view(-1, 1) - 31.5
    distance = (rows.square() + rows.view(1, -1).square()).sqrt().expand(8, 1, 64, 64)
    speckle = torch.rand(8, 1, 16, 16, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3) + 0.1
    if halves:
        speckle = (speckle + speckle.flip(-1)) / 2
    speckle = torch.where(distance > 22, rim * speckle, speckle)
    return [speckle], [(distance < 28).float()]


@pytest.mark.parametrize(("halves", "low", "high"), [(True, 0.9, 1.0), (False, 0.0, 0.3)])
def test_the_share_of_the_mirror_image_is_learned_from_normal_images(halves, low, high):
    learned, given = context(mirror=None), context(mirror=0.3)
    for one in (learned, given):
        one.learn(*brains(halves=halves))
    assert low <= float(learned.share) <= high
    assert float(given.share) == pytest.approx(0.3)


@pytest.mark.parametrize(("rim", "low", "high"), [(1.0, 0.7, 1.0), (3.0, 0.08, 0.2)])
def test_the_fade_at_the_rim_is_learned_from_normal_images(rim, low, high):
    one = context(margin=0.12)
    (maps,), (foreground,) = brains(halves=False, rim=rim)
    one.learn([maps], [foreground])
    assert low <= float(one.rim[1]) <= high
    assert float(one.rim[-1]) == 1
    corrected = one(torch.ones_like(maps), foreground)
    assert low <= float(corrected[0, 0, 32, 5]) <= high
    assert float(corrected[0, 0, 32, 32]) == pytest.approx(1, abs=1e-5)


def test_images_without_foreground_teach_no_context():
    one = context(mirror=None, margin=0.12)
    before = {name: value.clone() for name, value in one.state_dict().items()}
    one.learn([torch.zeros(2, 1, 16, 16)], [torch.zeros(2, 1, 16, 16)])
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
