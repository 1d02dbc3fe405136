"""What compression costs: metrics of exported models on images, and how far they are from single precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.deploy.plain_operations import resize_as_graph
from anomalib_patchgan.deploy.predictor import OpenVinoPredictor
from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.measure.localisation import pixel_metrics

# What a quantized model may lose before its sensitive parts stay in float.
MAX_AUROC_LOSS, MAX_AP_LOSS = 0.01, 0.02
# How far its scores and maps, in [0, 1], may lie from single precision in the mean, where no lesion tells what is lost.
MAX_SCORE_SHIFT, MAX_MAP_SHIFT = 0.02, 0.005


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images of one split with what is known about them.

    Args:
        split: `validation` or `test`.
        images: `(H, W, 3)` uint8 each, at the model's size.
        labels: `(N,)` bool.
        masks: `(N, h, w)` bool at the model's size; `None` where the data have none.
    """

    split: str
    images: Sequence[np.ndarray]
    labels: NDArray[np.bool_]
    masks: NDArray[np.bool_] | None

    @property
    def kinds(self) -> str:
        """Which of normal and abnormal images there are, in words."""
        if self.labels.all():
            return "all abnormal"
        return "normal and abnormal" if self.labels.any() else "all normal"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Scores `(N,)` and maps `(N, h, w)` of a model."""

    scores: NDArray[np.float64]
    maps: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Metrics of one model; differences are from the model in single precision.

    Args:
        image_AUROC: 0 to 1, or `None` where all images are of one kind.
        pixel_AP: 0 to 1, or `None` without masks or lesions.
        best_dice: 0 to 1, or `None` likewise.
        max_score_difference: Largest absolute difference of a score.
        max_map_difference: Largest absolute difference of a map's pixel.
        mean_map_difference: Mean absolute difference of the maps' pixels.
        mean_score_difference: Mean absolute difference of the scores.
    """

    image_AUROC: float | None  # noqa: N815 - the field's name of it
    pixel_AP: float | None  # noqa: N815
    best_dice: float | None
    max_score_difference: float
    max_map_difference: float
    mean_map_difference: float
    mean_score_difference: float = 0.0


def read_images(
    split: str,
    dataset: Any,  # noqa: ANN401 - anomalib's
    size: tuple[int, int],
    limit: int | None = None,
) -> LabelledImages | None:
    """Read the images of one split of a data module that is set up.

    Args:
        split: `validation` or `test`.
        dataset: The split; `None` if there is none.
        size: Height and width of the model's images.
        limit: About how many to read at most, at even distances; `None` for all.

    Returns:
        The images; `None` if there is none.
    """
    from torch.nn import functional as F  # noqa: N812

    count = 0 if dataset is None else len(dataset)
    if not count:
        return None
    images, labels, masks = [], [], []
    for index in spread(dataset, limit or count):
        item = dataset[index]
        # 8 bits are what they were read from.
        resized = resize_as_graph(item.image.numpy(), size)
        images.append((resized * 255).round().astype(np.uint8).transpose(1, 2, 0))
        labels.append(bool(item.gt_label))
        if item.gt_mask is not None:
            mask = item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float()
            masks.append(F.interpolate(mask, size, mode="nearest-exact")[0, 0].bool().numpy())
    return LabelledImages(
        split=split,
        images=images,
        labels=np.array(labels),
        masks=np.stack(masks) if len(masks) == len(images) else None,
    )


def spread(dataset: Any, limit: int) -> list[int]:  # noqa: ANN401 - anomalib's
    """Choose images of a data set at even distances, normal and abnormal ones alike, so that neither kind gets lost.

    Args:
        dataset: The data set, not empty.
        limit: About how many to choose.

    Returns:
        Their indices, ascending.
    """
    labels = np.asarray(dataset.samples.label_index)
    step = max(len(labels) // limit, 1)
    return sorted(int(index) for kind in np.unique(labels) for index in np.flatnonzero(labels == kind)[::step])


def predict(xml: Path, images: LabelledImages) -> Predicted:
    """Run an exported model on images."""
    found = list(OpenVinoPredictor(xml).predict(images.images))
    return Predicted(scores=np.array([one.score for one in found]), maps=np.stack([one.anomaly_map for one in found]))


def compare(predicted: Predicted, reference: Predicted, images: LabelledImages) -> Accuracy:
    """Measure a model.

    Args:
        predicted: What it says.
        reference: What the model in single precision says.
        images: The images.
    """
    pixels: dict[str, float | None] = {}
    if images.masks is not None:
        cases = np.arange(len(images.labels)).astype(str)
        pixels = pixel_metrics(predicted.maps, images.masks, cases, None)
    difference = np.abs(predicted.maps - reference.maps)
    shift = np.abs(predicted.scores - reference.scores)
    return Accuracy(
        image_AUROC=image_metrics(predicted.scores, images.labels, None)["image_AUROC"],
        pixel_AP=pixels.get("pixel_AP"),
        best_dice=pixels.get("pixel_best_dice"),
        max_score_difference=float(shift.max()),
        max_map_difference=float(difference.max()),
        mean_map_difference=float(difference.mean()),
        mean_score_difference=float(shift.mean()),
    )


def losses(full: Accuracy | None, compressed: Accuracy | None) -> str:
    """Say what a compressed model loses beyond the limits; an empty text where it does not, or nothing was measured.

    Where no metric is defined, for want of lesions, it is how far scores and maps lie from single precision.
    """
    if full is None or compressed is None:
        return ""
    limits = (("image_AUROC", "image AUROC", MAX_AUROC_LOSS), ("pixel_AP", "pixel AP", MAX_AP_LOSS))
    found = []
    for name, label, limit in limits:
        before, after = getattr(full, name), getattr(compressed, name)
        if before is not None and after is not None and before - after > limit:
            found.append(f"{before - after:.3f} {label}")
    if full.image_AUROC is None and full.pixel_AP is None:
        for value, label, limit in (
            (compressed.mean_score_difference, "scores", MAX_SCORE_SHIFT),
            (compressed.mean_map_difference, "maps", MAX_MAP_SHIFT),
        ):
            if value > limit:
                found.append(f"the agreement of {label} with single precision (mean difference {value:.4f})")
    return " and ".join(found)


def basis(images: LabelledImages, full: Accuracy) -> str:
    """Say in words on which images and by what `losses` decides."""
    metrics = [
        label for label, value in (("image AUROC", full.image_AUROC), ("pixel AP", full.pixel_AP)) if value is not None
    ]
    by = " and ".join(metrics) or "how well scores and maps agree with single precision, for want of lesions"
    return f"{len(images.images)} {images.split} images ({images.kinds}) by {by}"
