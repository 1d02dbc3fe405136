"""A model's raw scores and maps: collected while anomalib validates and tests it, and measured."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule, ImageBatch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.benchmark.results import PIXEL_BINS, JobScores
from anomalib_patchgan.benchmark.split_table import choose_lesion_images, read_examples, read_masks, read_split
from anomalib_patchgan.measure.detection import f1_threshold, image_metrics, patient_metrics, stratum_metrics
from anomalib_patchgan.measure.localisation import pixel_counts, pixel_metrics, pixel_threshold
from anomalib_patchgan.measure.patient_scores import ValidatedPatients

MONITOR = "benchmark_image_AUROC"


@dataclass
class Predictions:
    """Raw predictions of one split, in the order of the loader.

    Args:
        image_path: Paths of the N images.
        label: Labels, `(N,)`.
        score: Raw scores, `(N,)`.
        map: Raw maps at the evaluation size, `(N, H, W)`; empty for a model without maps.
    """

    image_path: list[str] = field(default_factory=list)
    label: list[bool] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    map: list[torch.Tensor] = field(default_factory=list)

    def scores(self) -> NDArray[np.float64]:
        """Return the scores as an array `(N,)`."""
        return np.array(self.score, np.float64)

    def labels(self) -> NDArray[np.bool_]:
        """Return the labels as an array `(N,)`."""
        return np.array(self.label, np.bool_)

    def maps(self) -> NDArray[np.float32]:
        """Return the maps as one array `(N, H, W)` float32; with N = 0 for a model without maps."""
        return torch.cat(self.map).numpy() if self.map else np.empty((0, 0, 0), np.float32)


class RawPredictions(Callback):
    """Collects raw predictions before anomalib normalises and clamps them, and times the training.

    Callbacks given to the trainer run before those of the model, so the post-processor has not touched a batch when
    this one sees it. The image AUROC of each validation is logged as `benchmark_image_AUROC`, for the choice of a
    checkpoint; without lesions to validate with it is the number of the epoch, so that the last one is chosen.

    Args:
        evaluation_size: Height and width to which maps are resized (bilinear); `None` keeps the model's.
    """

    def __init__(self, evaluation_size: tuple[int, int] | None) -> None:
        self.evaluation_size = evaluation_size
        self.predictions = Predictions()
        self.input_size: tuple[int, int] = (0, 0)
        self.epochs = 0
        self.images_trained = 0
        self.training_seconds = 0.0
        self._mark = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        del trainer, pl_module
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: ImageBatch,
        batch_idx: int,
    ) -> None:
        """Count what was trained; the time between the last batch and the next epoch is validation's."""
        del trainer, pl_module, outputs, batch_idx
        now = time.perf_counter()
        self.training_seconds += now - self._mark
        self._mark = now
        self.images_trained += batch.batch_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count epochs."""
        del trainer, pl_module
        self.epochs += 1

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a new split."""
        del trainer, pl_module
        self.predictions = Predictions()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the predictions of a batch; during a training only its scores."""
        del pl_module, batch_idx, dataloader_idx
        assert batch.image is not None
        assert batch.gt_label is not None
        self.input_size = (int(batch.image.shape[-2]), int(batch.image.shape[-1]))
        found = self.predictions
        found.image_path += batch.image_path or []
        found.label += batch.gt_label.bool().tolist()
        found.score += outputs.pred_score.detach().reshape(-1).double().tolist()
        if outputs.anomaly_map is not None and trainer.state.fn != TrainerFn.FITTING:
            maps = outputs.anomaly_map.detach().float()
            # Some models give (B, 1, H, W), some (B, H, W).
            maps = maps.reshape(len(maps), 1, *maps.shape[-2:])
            size = self.evaluation_size
            if size is not None and tuple(maps.shape[-2:]) != size:
                maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
            found.map.append(maps.squeeze(1).cpu())

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the AUROC by which the checkpoint is chosen."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.state.stage == RunningStage.SANITY_CHECKING:
            return
        found = self.predictions
        auroc = image_metrics(found.scores(), found.labels(), None)["image_AUROC"]
        pl_module.log(MONITOR, float(trainer.current_epoch) if auroc is None else auroc)


def evaluate(
    test: Predictions, validation: Predictions, data: AnomalibDataModule, *, examples: bool
) -> tuple[dict[str, Any], JobScores]:
    """Measure raw predictions.

    Args:
        test: Predictions of the test split.
        validation: Predictions of the validation split, on which thresholds are chosen.
        data: Data module of both.
        examples: Whether to keep small copies of some images and maps.

    Returns:
        `metrics`, `strata` and `thresholds` of `JobResult`, and the raw scores.
    """
    score, label = test.scores(), test.labels()
    val_score, val_label = validation.scores(), validation.labels()
    table = read_split(data.test_data.samples, test.image_path)
    val_table = read_split(data.val_data.samples, validation.image_path)
    stratum = np.where(label, table.stratum, "")
    thresholds: dict[str, float | None] = {"image": f1_threshold(val_score, val_label), "pixel": None, "patient": None}
    metrics = image_metrics(score, label, thresholds["image"])
    if len(set(table.patient)) < len(table.patient):
        metrics |= patient_metrics(score, label, table.patient)
        if patient := ValidatedPatients.of(val_score, val_label, val_table.patient):
            thresholds["patient"] = patient.value
            metrics |= patient.judge(score, label, table.patient)

    maps = test.maps()
    masks = read_masks(table, maps.shape[1:]) if len(maps) else None
    pixels: dict[str, Any] = {}
    if masks is not None:
        val_maps = validation.maps()
        val_masks = read_masks(val_table, val_maps.shape[1:])
        pixel = pixel_threshold(val_maps, np.zeros(val_maps.shape, bool) if val_masks is None else val_masks)
        thresholds["pixel"] = pixel
        metrics |= pixel_metrics(maps, masks, table.patient, pixel)
        names, owner = np.unique(table.patient, return_inverse=True)
        pixels = {"pixel_patient": names}
        for name, counts in zip(("positives", "negatives"), pixel_counts(maps, masks, PIXEL_BINS), strict=True):
            pixels[name] = np.zeros((len(names), PIXEL_BINS), np.uint32)
            np.add.at(pixels[name], owner, counts)
    chosen = choose_lesion_images(label) if examples else np.empty(0, np.int64)
    example_image, example_mask, example_map = read_examples(table, chosen, maps, masks)
    scores = JobScores(
        image=table.name,
        patient=table.patient,
        stratum=stratum,
        label=label,
        score=score,
        **pixels,
        example=chosen[: len(example_image)],
        example_image=example_image,
        example_mask=example_mask,
        example_map=example_map,
    )
    strata = stratum_metrics(score, label, stratum)
    return {"metrics": metrics, "strata": strata, "thresholds": thresholds}, scores
