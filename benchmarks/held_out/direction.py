"""What a direction may change, and what it leaves as the package has it."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from anomalib_patchgan import PatchGan
from anomalib_patchgan.models.components.foreground import foreground_mask
from anomalib_patchgan.models.components.intensity import normalize_intensity
from anomalib_patchgan.models.components.loss import pixel_distance
from anomalib_patchgan.models.patchgan.context import level_of
from anomalib_patchgan.models.patchgan.torch_model import CorruptedBatch, PatchGanModel
from held_out.data import Part

SUM = "sum"
# Images at a time where no network learns.
BATCH = 16


class Direction:
    """What may be changed of PatchGan's training and score; here nothing is."""

    # Times as many steps as the default.
    length = 1
    # Whether the networks are other ones than the default's.
    trains = True
    # Whether it needs volumes with evenly spaced slices.
    needs_volumes = False
    # Arguments of `PatchGan` that differ from the default preset.
    arguments: ClassVar[dict[str, Any]] = {}

    def images(self, part: Part) -> Tensor:
        """What of the data the model sees, shape `(N, 3, H, W)`, uint8."""
        return part.images

    def learning_rate(self, share: float) -> float:
        """Share of the learning rate after a share of the training."""
        del share
        return 1.0

    def augment(self, images: Tensor) -> Tensor:
        """Change training images of shape `(B, 3, H, W)`, in [0, 1], before they are corrupted."""
        return images

    def mask(self, model: PatchGanModel, corrupted: CorruptedBatch, share: float) -> Tensor | None:
        """Images that R gets instead of corrupted ones, and D does not learn from; `None` for the corrupted ones."""
        del model, corrupted, share

    def reconstructor_learns(self, share: float) -> bool:
        """Whether R still learns after a share of the training."""
        del share
        return True

    def loss_of_reconstructor(self, module: PatchGan, corrupted: CorruptedBatch, restored: Tensor) -> Tensor:
        """Loss of R on a batch."""
        return module.loss(corrupted.originals, restored, None).total

    def loss_of_discriminator(self, module: PatchGan, corrupted: CorruptedBatch, restored: Tensor) -> Tensor:
        """Loss of D on a batch."""
        return foreign_loss(module, corrupted, corrupted.images, restored)

    def finish(self, module: PatchGan, images: Tensor, steps: int, batch_size: int) -> None:
        """Do something with the trained networks and the training images, before the evidences are calibrated."""

    def maps(self, model: PatchGanModel, images: Tensor) -> dict[str, Tensor]:
        """Map of each evidence alone, and of their sum, each relative to its level as in `PatchGanModel.combine`."""
        view = model.view(images)
        found = {type(evidence).__name__: evidence(view) for evidence in model.evidences}
        found[SUM] = torch.stack(list(found.values())).sum(dim=0)
        return {name: one / level_of(one, view.foreground) ** model.image_context for name, one in found.items()}

    def learn_scores(self, model: PatchGanModel, images: Tensor) -> None:
        """Learn from normal training images of shape `(N, 3, H, W)`, uint8, after the evidences were calibrated."""

    def score(self, model: PatchGanModel, maps: Tensor, images: Tensor) -> Tensor:
        """Scores `(B,)` of maps `(B, 1, h, w)` as `maps` gives them, and of their images `(B, 3, H, W)`, in [0, 1]."""
        del images
        scores: Tensor = model.ranking(maps)
        return scores


def as_input(model: PatchGanModel, images: Tensor) -> Tensor:
    """Images of shape `(B, 3, H, W)`, uint8, in [0, 1] on the model's device."""
    return images.to(next(model.parameters()).device).float() / 255


def show(model: PatchGanModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Prepare images as R sees them.

    Args:
        model: The model.
        images: Shape `(B, 3, H, W)`, in [0, 1], on the model's device.

    Returns:
        Normalised images, in [0, 1], averaged down as `PatchGanModel.prepare` does, and the
        foreground at the size of maps, `(B, 1, h, w)`, holding 0.0 and 1.0.
    """
    normalized, _ = normalize_intensity(model.prepare(images), model.intensity_normalization)
    return normalized, model.shrink(foreground_mask(normalized, model.foreground_threshold)).round()


def foreign_loss(module: PatchGan, corrupted: CorruptedBatch, images: Tensor, restored: Tensor) -> Tensor:
    """Loss of D on images and their restorations: where do they differ from the originals (`ForeignLoss`)."""
    model = module.model
    change = model.shrink(pixel_distance(images, corrupted.originals, "l1"))
    logits = model.discriminate(images, restored, corrupted.level)
    loss: Tensor = module.discriminator_loss(logits, change, corrupted.foreground)
    return loss
