"""Foreign tissue: spots where and as large and as strong as asked for."""

import pytest
import torch

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.corruption import ForeignTissue

ONE_SPOT = {"count": 1, "probability": 1.0, "noise": 0.0, "large": 0.0, "foreign": 0.0, "softness": 0.0}
ONE_SPOT |= {"flat": 0.0, "ring": 0.0, "texture": 0.0, "spreading": 0.0, "faint": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changes(images: torch.Tensor, **arguments) -> torch.Tensor:
    """What foreign tissue adds to images that are foreground everywhere."""
    foreground = torch.ones_like(images[:, :1])
    return ForeignTissue(**(ONE_SPOT | arguments))(images, foreground, generator()) - images


def grey(value: float = 0.5, batch: int = 64) -> torch.Tensor:
    return torch.full((batch, 3, 48, 48), value)


def test_spots_are_as_strong_as_asked_for():
    change = changes(grey(), contrast=(0.2, 0.3)).abs().amax((1, 2, 3))
    assert (change > 0.19).float().mean() > 0.9  # a tiny spot may have no pixel of full opacity
    assert change.max() <= 0.3 + 1e-5


def test_spots_are_brighter_and_darker():
    change = changes(grey())
    brighter, darker = (change.amax((1, 2, 3)) > 0.02), (change.amin((1, 2, 3)) < -0.02)
    assert (brighter ^ darker).all()
    assert 0.3 < brighter.float().mean() < 0.7


def test_large_spots_cover_more():
    small, large = ((changes(grey(), large=share).abs() > 0.01).float().mean() for share in (0.0, 1.0))
    assert small < 0.2
    assert large > 0.4


def test_soft_edges_have_more_values():
    hard, soft = (changes(grey(), softness=value)[:, 0] for value in (0.0, 2.0))
    any_change, full = ([f(c) for c in (hard, soft)] for f in (_touched, _opaque))
    assert any_change[1] / full[1] > 1.5 * any_change[0] / full[0]


def _touched(change: torch.Tensor) -> float:
    return float((change.abs() > 0.02).sum())


def _opaque(change: torch.Tensor) -> float:
    return float((change.abs() > 0.9 * change.abs().amax((1, 2), keepdim=True)).sum())


def test_grey_images_stay_grey_and_colours_change():
    change = changes(grey())
    assert torch.equal(change[:, 0], change[:, 1])
    colourful = grey() + torch.tensor([0.0, 0.1, 0.2]).view(1, 3, 1, 1)
    spread = changes(colourful)
    assert (spread[:, 0] - spread[:, 1]).abs().max() > 0.05


def test_foreign_spots_come_from_the_other_images():
    images = torch.cat([grey(0.2, 4), grey(0.8, 4)])[[0, 4, 1, 5, 2, 6, 3, 7]]
    foreground = torch.ones_like(images[:, :1])
    corrupted = ForeignTissue(**(ONE_SPOT | {"foreign": 1.0}))(images, foreground, generator())
    assert corrupted[0].max() > 0.75
    assert corrupted[1].min() < 0.25
    assert corrupted.min() > 0.19
    assert corrupted.max() < 0.81


def test_images_without_foreground_stay_as_they_are():
    images = torch.zeros(4, 3, 32, 32)
    assert torch.equal(ForeignTissue()(images, torch.zeros(4, 1, 32, 32), generator()), images)


@pytest.mark.parametrize("side", [(8, 8), (1, 1), (2, 40)])
def test_small_and_narrow_images(side):
    images = torch.rand(2, 3, *side, generator=generator())
    corrupted = ForeignTissue(probability=1.0)(images, torch.ones(2, 1, *side), generator())
    assert torch.isfinite(corrupted).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", -1),
        ("count", 2.5),
        ("softness", float("nan")),
        ("probability", 1.5),
        ("contrast", (0.3, 0.2)),
        ("softness", -1.0),
        ("foreign", -0.1),
    ],
)
def test_arguments_out_of_range(name, value):
    with pytest.raises(ConfigurationError, match=name):
        ForeignTissue(**{name: value})
