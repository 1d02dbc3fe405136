"""The directions that are tried, and what those that train change of PatchGan's training, and why it might help."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms.v2 import InterpolationMode, RandomAffine

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.patchgan.masking import surroundings
from anomalib_patchgan.models.patchgan.torch_model import CorruptedBatch, PatchGanModel
from held_out.data import Part
from held_out.direction import Direction, foreign_loss
from held_out.score_variants import (
    ExpectedResiduals,
    ExpectedScore,
    Flipped,
    PatchesOf2,
    PatchesOf8,
    PatchesOf16,
    ScoreContext,
)


class Default(Direction):
    """The default preset as it is: what the others are compared with."""

    trains = False


class FallingRate(Direction):
    """A learning rate that falls to 0 along a cosine: the usual end of a training, in place of averages alone."""

    def learning_rate(self, share: float) -> float:
        """See `Direction`."""
        return (1 + math.cos(math.pi * share)) / 2


class Longer(Direction):
    """Three times as many steps: D may still gain, while R may learn to copy lesions."""

    length = 3


class LongerFalling(FallingRate, Longer):
    """Both: three times as many steps, at a rate that falls to 0 at their end."""


class Wider(Direction):
    """An R of one and a half times the width: more of healthy anatomy may fit into it."""

    width = 36
    arguments: ClassVar[dict[str, Any]] = {"width": width}


class Shading(Direction):
    """Smooth gain over the image and another gamma: a bias field or another scanner is no lesion, D should not mind."""

    strength, gamma = 0.5, 0.15
    # Below, a pixel is background, which a gamma must not lift.
    dark = 2e-3

    def augment(self, images: Tensor) -> Tensor:
        """Multiply by the exponential of a slope in a random direction plus random waves, then change the gamma."""
        count, _, height, width = images.shape
        rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        angle = per_image(count) * 2 * math.pi
        slope = (angle.cos() * columns + angle.sin() * rows) * per_image(count)
        waves = F.interpolate(torch.randn(count, 1, 4, 4), (height, width), mode="bicubic", align_corners=True)
        field = self.strength * (slope + waves * per_image(count) / 3)
        shaded = (images * field.exp()).clamp(0.0, 1.0)
        power = (torch.randn(count, 1, 1, 1) * self.gamma).exp()
        return shaded.clamp(min=1e-6) ** power * (shaded > self.dark)


class Affine(Direction):
    """Small rotations, shifts and changes of scale: few patients have few shapes of heads."""

    def augment(self, images: Tensor) -> Tensor:
        """Move each image by itself."""
        move = RandomAffine(6, translate=(0.04, 0.04), scale=(0.92, 1.08), interpolation=InterpolationMode.BILINEAR)
        return torch.stack([move(image) for image in images])


class Neighbours(Direction):
    """The slices below and above as the other two channels: what goes on through slices is anatomy, or a lesion."""

    needs_volumes = True

    def images(self, part: Part) -> Tensor:
        """Put slice, its lower and its upper neighbour together; a neighbour that is missing is the slice itself."""
        assert part.slices is not None  # other data are refused before they are read
        places = list(zip(part.patients, part.slices, strict=True))
        known = {place: index for index, place in enumerate(places)}
        below, above = (
            torch.tensor([known.get((patient, number + step), known[patient, number]) for patient, number in places])
            for step in (-1, 1)
        )
        grey = part.images[:, 0]
        return torch.stack([grey[below], grey, grey[above]], dim=1)


class Game(Direction):
    """R also restores so that D, which sees image and restoration, finds nothing foreign in what R makes.

    The paper's game (Eq. 3) with the default's D: it gets restorations as images, too, beside what R makes of them, and
    R's loss is ranked by patch (Eq. 5), so that the most suspicious patches count.
    """

    weight, share_of_discriminator = 0.01, 0.5

    def loss_of_reconstructor(self, module: PatchGan, corrupted: CorruptedBatch, restored: Tensor) -> Tensor:
        """Add the cross-entropy of calling the restoration original, over its most suspicious patches."""
        model = module.model
        logits = model.discriminate(restored, restore_again(model, restored), corrupted.level)
        suspicion = model.ranking(F.softplus(-logits) * corrupted.foreground).mean()
        return super().loss_of_reconstructor(module, corrupted, restored) + self.weight * suspicion

    def loss_of_discriminator(self, module: PatchGan, corrupted: CorruptedBatch, restored: Tensor) -> Tensor:
        """Add that of finding where a restoration is not the original."""
        played = foreign_loss(module, corrupted, restored, restore_again(module.model, restored))
        return super().loss_of_discriminator(module, corrupted, restored) + self.share_of_discriminator * played


class MaskedTraining(Direction):
    """R learns to restore what is masked as at test time (`restore_unseen`), after it has learned to remove spots."""

    begin, chance = 0.5, 0.5
    # Pixels along a cell of the checkerboard: that of the test is 24 at 192 pixels.
    cells = (8, 16, 24, 32)

    def mask(self, model: PatchGanModel, corrupted: CorruptedBatch, share: float) -> Tensor | None:
        """Replace every second cell of the tissue by its surroundings, in half of the batches of the second half."""
        del model
        if share < self.begin or torch.rand(()) >= self.chance:
            return None
        height, width = corrupted.images.shape[-2:]
        cell = self.cells[int(torch.randint(len(self.cells), ()))]
        parity = int(torch.randint(2, ()))
        board = (torch.arange(height)[:, None] // cell + torch.arange(width) // cell + parity) % 2
        tissue = F.interpolate(corrupted.foreground, (height, width))
        board = board.to(tissue)
        return torch.where(board * tissue > 0, surroundings(corrupted.images, tissue), corrupted.images)


class ShadedMasks(MaskedTraining, Shading):
    """Both: masks in training, and a smooth gain and another gamma."""


class DiscriminatorGoesOn(Direction):
    """R stops and D learns on for as many steps again, with an R that no longer changes: D gains by more steps."""

    length = 2

    def reconstructor_learns(self, share: float) -> bool:
        """See `Direction`."""
        return share * self.length < 1


DIRECTIONS: dict[str, type[Direction]] = {
    "default": Default,
    "falling_rate": FallingRate,
    "longer": Longer,
    "longer_falling": LongerFalling,
    "wider": Wider,
    "shading": Shading,
    "affine": Affine,
    "neighbours": Neighbours,
    "game": Game,
    "masked_training": MaskedTraining,
    "shaded_masks": ShadedMasks,
    "discriminator_goes_on": DiscriminatorGoesOn,
    "expected_residual": ExpectedResiduals,
    "flipped": Flipped,
    "score_context": ScoreContext,
    "expected_score": ExpectedScore,
    "patches_of_2": PatchesOf2,
    "patches_of_8": PatchesOf8,
    "patches_of_16": PatchesOf16,
}


def per_image(count: int) -> Tensor:
    """Uniform random numbers in [0, 1), one for each image, shape `(B, 1, 1, 1)`."""
    return torch.rand(count, 1, 1, 1)


@torch.no_grad()
def restore_again(model: PatchGanModel, restored: Tensor) -> Tensor:
    """What R makes of its own restorations."""
    again: Tensor = model.reconstructor(restored.detach())
    return again


def settings_of(name: str) -> dict[str, Any]:
    """Numbers of a direction, for its result."""
    kind = DIRECTIONS[name]
    classes = reversed(kind.__mro__[:-1])
    return {key: value for one in classes for key, value in vars(one).items() if _is_setting(key, value)}


def _is_setting(key: str, value: object) -> bool:
    return not key.startswith("_") and isinstance(value, bool | int | float | tuple)
