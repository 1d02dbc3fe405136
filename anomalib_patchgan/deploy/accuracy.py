"""What compression costs: metrics of exported models on the test images, and how far they are from single precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.deploy.predictor import OpenVinoPredictor, resize_as_graph
from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.measure.localisation import pixel_metrics

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule


@dataclass(frozen=True, kw_only=True)
class TestImages:
    """Test images with what is known about them.

    Args:
        images: `(H, W, 3)` uint8 each, at the model's size.
        labels: `(N,)` bool.
        masks: `(N, h, w)` bool at the model's size; `None` where the data have none.
    """

    images: list[np.ndarray]
    labels: NDArray[np.bool_]
    masks: NDArray[np.bool_] | None


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
        pixel_AP: 0 to 1, or `None` without masks.
        best_dice: 0 to 1, or `None` without masks.
        max_score_difference: Largest absolute difference of a score.
        max_map_difference: Largest absolute difference of a map's pixel.
        mean_map_difference: Mean absolute difference of the maps' pixels.
    """

    image_AUROC: float | None  # noqa: N815 - the field's name of it
    pixel_AP: float | None  # noqa: N815
    best_dice: float | None
    max_score_difference: float
    max_map_difference: float
    mean_map_difference: float


def read_test_images(data: "AnomalibDataModule", size: tuple[int, int]) -> TestImages:
    """Read the test images of a data module that is set up.

    Args:
        data: The data module.
        size: Height and width of the model's images.
    """
    from torch.nn import functional as F  # noqa: N812

    images, labels, masks = [], [], []
    dataset: Any = data.test_data
    for index in range(len(dataset)):
        item = dataset[index]
        # 8 bits are what they were read from.
        resized = resize_as_graph(item.image[None], size)[0]
        images.append((resized * 255).round().byte().permute(1, 2, 0).numpy())
        labels.append(bool(item.gt_label))
        if item.gt_mask is not None:
            mask = item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float()
            masks.append(F.interpolate(mask, size, mode="nearest")[0, 0].bool().numpy())
    return TestImages(
        images=images, labels=np.array(labels), masks=np.stack(masks) if len(masks) == len(images) else None
    )


def predict(xml: Path, test: TestImages) -> Predicted:
    """Run an exported model on the test images."""
    found = list(OpenVinoPredictor(xml).predict(test.images))
    return Predicted(scores=np.array([one.score for one in found]), maps=np.stack([one.anomaly_map for one in found]))


def compare(predicted: Predicted, reference: Predicted, test: TestImages) -> Accuracy:
    """Measure a model.

    Args:
        predicted: What it says.
        reference: What the model in single precision says.
        test: The images.
    """
    pixels: dict[str, float | None] = {}
    if test.masks is not None:
        cases = np.arange(len(test.labels)).astype(str)
        pixels = pixel_metrics(predicted.maps, test.masks, cases, None)
    difference = np.abs(predicted.maps - reference.maps)
    return Accuracy(
        image_AUROC=image_metrics(predicted.scores, test.labels, None)["image_AUROC"],
        pixel_AP=pixels.get("pixel_AP"),
        best_dice=pixels.get("pixel_best_dice"),
        max_score_difference=float(np.abs(predicted.scores - reference.scores).max()),
        max_map_difference=float(difference.max()),
        mean_map_difference=float(difference.mean()),
    )
