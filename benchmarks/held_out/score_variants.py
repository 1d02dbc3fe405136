"""Directions that train no networks: another map or score of the default's."""

import torch
from torch import Tensor, nn

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.components.ranking import PatchRanking
from anomalib_patchgan.models.patchgan.context import level_of
from anomalib_patchgan.models.patchgan.evidence import Restoration
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel
from held_out.direction import BATCH, SUM, Direction, as_input, show
from held_out.expected_residual import ExpectedResidual


class ExpectedResiduals(Direction):
    """What healthy anatomy leaves at a place is learned from the restoration; the residual is divided by that.

    In place of the damping at edges, which is set by hand, in `Restoration`.
    """

    trains = False
    # Of the steps of the networks.
    steps = 0.2

    def finish(self, module: PatchGan, images: Tensor, steps: int, batch_size: int) -> None:
        """Put the evidence in the place of `Restoration`."""
        evidence = ExpectedResidual(module.model.map_factor)
        evidence.fit(module.model, images, max(round(steps * self.steps), 1), batch_size)
        others = [one for one in module.model.evidences if type(one) is not Restoration]
        module.model.evidences = nn.ModuleList([evidence, *others])


class Flipped(Direction):
    """The mean with the map of the mirrored image: two opinions of the same networks, for twice the time."""

    trains = False

    def maps(self, model: PatchGanModel, images: Tensor) -> dict[str, Tensor]:
        """See `Direction`."""
        mirrored = super().maps(model, images.flip(-1))
        return {name: (one + mirrored[name].flip(-1)) / 2 for name, one in super().maps(model, images).items()}


class ScoreContext(Direction):
    """The score divides by more of the image's level than the map: an image that is unusual as a whole is no lesion."""

    trains = False
    # Power of the level that the score is divided by; that of the map is the model's.
    image_context = 0.5

    def score(self, model: PatchGanModel, maps: Tensor, images: Tensor) -> Tensor:
        """See `Direction`; maps are divided by a power of the level already."""
        power = (self.image_context - model.image_context) / (1 - model.image_context)
        _, foreground = show(model, images)
        return super().score(model, maps / level_of(maps, foreground) ** power, images)


class ExpectedScore(Direction):
    """The score relative to what normal training images of as much tissue have: ends of the brain are foreign to D."""

    trains = False
    # Share of all training images that have about as much tissue.
    neighbourhood = 0.1
    # Of training images, in the order of their areas, `(N,)`: share of the image, and expected score.
    areas: Tensor
    expected: Tensor

    @torch.no_grad()
    def learn_scores(self, model: PatchGanModel, images: Tensor) -> None:
        """Take medians of the scores of neighbours in the order of the area of the tissue."""
        areas, scores = [], []
        for batch in images.split(BATCH):
            shown = as_input(model, batch)
            scores.append(super().score(model, self.maps(model, shown)[SUM], shown).cpu())
            areas.append(_areas(model, shown))
        self.areas, order = torch.cat(areas).sort()
        reach = max(round(len(order) * self.neighbourhood / 2), 1)
        ordered = torch.cat(scores)[order]
        # At both ends fewer neighbours, not the last one again and again.
        near = [ordered[max(place - reach, 0) : place + reach + 1] for place in range(len(order))]
        self.expected = torch.stack([one.median() for one in near])

    def score(self, model: PatchGanModel, maps: Tensor, images: Tensor) -> Tensor:
        """See `Direction`."""
        next_larger = torch.searchsorted(self.areas, _areas(model, images)).clamp(max=len(self.areas) - 1)
        scores = super().score(model, maps, images)
        return scores / self.expected[next_larger].to(scores)


class OneRanking(Direction):
    """Patches of one size are ranked, not of two."""

    trains = False
    patch_size: int

    def finish(self, module: PatchGan, images: Tensor, steps: int, batch_size: int) -> None:
        """Replace the ranking."""
        del images, steps, batch_size
        module.model.ranking = PatchRanking(self.patch_size, module.model.ranking.rank_weights)


class PatchesOf2(OneRanking):
    """The finer of the two sizes alone."""

    patch_size = 2


class PatchesOf8(OneRanking):
    """One size between the two."""

    patch_size = 8


class PatchesOf16(OneRanking):
    """The coarser of the two sizes alone."""

    patch_size = 16


def _areas(model: PatchGanModel, images: Tensor) -> Tensor:
    """Share of each image that is tissue, `(B,)`, on the CPU."""
    return show(model, images)[1].mean((1, 2, 3)).cpu()
