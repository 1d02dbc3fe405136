"""How well a model finds the lesions of held-out patients: each evidence alone, and their sum."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.measure.localisation import pixel_metrics
from anomalib_patchgan.models.components.training import CALIBRATION_IMAGES
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel
from held_out.data import Part
from held_out.direction import BATCH, Direction, as_input

METRICS = ("image_AUROC", "pixel_AP", "pixel_best_dice")


@torch.no_grad()
def evaluate(
    model: PatchGanModel, direction: Direction, normal: Tensor, part: Part
) -> dict[str, dict[str, float | None]]:
    """Calibrate the evidences on normal training images, and measure them on the images of other patients.

    Args:
        model: The trained model, in the state of a test.
        direction: Which makes the maps.
        normal: Normal training images of shape `(N, 3, H, W)`, uint8.
        part: Images of the held-out patients.

    Returns:
        For the class of each evidence and for `sum`: image AUROC, and over all pixels of all images together AP and
        best Dice; `None` where the images have no lesion, or nothing else.
    """
    chosen = np.random.default_rng(0).permutation(len(normal))[:CALIBRATION_IMAGES]
    model.calibrate(as_input(model, normal[chosen]), batch_size=BATCH)
    direction.learn_scores(model, normal)
    scores: dict[str, list[Tensor]] = {}
    maps: dict[str, list[Tensor]] = {}
    for batch in direction.images(part).split(BATCH):
        shown = as_input(model, batch)
        for name, one in direction.maps(model, shown).items():
            scores.setdefault(name, []).append(direction.score(model, one, shown).cpu())
            enlarged = F.interpolate(one, batch.shape[-2:], mode="bilinear", align_corners=False)
            maps.setdefault(name, []).append(enlarged[:, 0].cpu())
    found = {}
    for name, batches in scores.items():
        measured = image_metrics(torch.cat(batches).double().numpy(), part.labels, None)
        measured |= pixel_metrics(torch.cat(maps.pop(name)).numpy(), part.masks, part.patients, None)
        found[name] = {metric: measured[metric] for metric in METRICS}
    return found
