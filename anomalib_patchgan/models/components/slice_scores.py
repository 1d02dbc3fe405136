"""Scores of the slices of an epoch, by patient: for the threshold of patients, and for how patients are told apart."""

from typing import Any

import pandas as pd
import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from torch import Tensor, distributed

from anomalib_patchgan.measure.patients import JudgedScan, judge_patients
from anomalib_patchgan.patient import PatientThreshold, ValidatedSlice, find_patient_threshold, patient_score


def normalises(post_processor: object) -> bool:
    """Tell whether a post-processor has a threshold of slices, by which it normalises their scores."""
    return isinstance(post_processor, PostProcessor) and not bool(post_processor.image_threshold.isnan())


class SliceScores:
    """Collects the scores of the slices of an epoch and looks at them patient by patient.

    Example:
        >>> slices = SliceScores()
        >>> slices.add(["a_1.png"], torch.tensor([0.5]))
        >>> slices.find_threshold(None, None) is None  # nothing says of which patient it is
        True
    """

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}

    def add(self, paths: list[str], scores: Tensor) -> None:
        """Keep the scores `(B,)` of the images of a batch."""
        self._scores.update(zip(map(str, paths), scores.reshape(-1).float().tolist(), strict=True))

    def find_threshold(self, data: Any, post_processor: Any) -> PatientThreshold | None:  # noqa: ANN401 - anomalib's
        """Find the threshold of patients on what a validation collected, raw scores, and forget it.

        Args:
            data: The data module, whose validation table says patient, scan and slice of each image.
            post_processor: Normalises scores, with the thresholds of this validation.

        Returns:
            The threshold of normalised scores; `None` if the images are not known to be slices of patients, scores
            are not normalised, or no patient suffices.
        """
        table = self._take(getattr(data, "val_data", None))
        # Of scores without a threshold nothing is normalised, and no patient called.
        if table is None or not normalises(post_processor):
            return None
        scores = torch.tensor(table.score.tolist(), device=post_processor.image_threshold.device)
        # As inference gets them: the same normalisation, in the same precision.
        normal = post_processor(InferenceBatch(pred_score=scores)).pred_score.tolist()
        return find_patient_threshold(
            ValidatedSlice(str(patient), str(scan), score, bool(label))
            for patient, scan, score, label in zip(table.patient_id, table.scan, normal, table.label_index, strict=True)
        )

    def patient_metrics(self, data: Any, threshold: PatientThreshold | None) -> dict[str, float]:  # noqa: ANN401 - anomalib's
        """Measure on what a test collected, normalised scores, how patients are told apart, and forget it.

        Args:
            data: The data module, whose test table says patient, scan and slice of each image.
            threshold: The model's threshold of patients; `None` if it has none.

        Returns:
            As far as they are defined, each 0 to 1: `patient_AUROC`, with its 95 % interval over patients
            `patient_AUROC_low` and `patient_AUROC_high`, and at the threshold `patient_sensitivity` and
            `patient_specificity`, see `judge_patients`. Nothing where no patient is healthy or images are not known to
            be slices of patients.
        """
        table = self._take(getattr(data, "test_data", None))
        if table is None:
            return {}
        scans = []
        for (patient, _), rows in table.groupby(["patient_id", "scan"]):
            is_anomalous = None
            if threshold is not None and not threshold.misfit(len(rows)):
                is_anomalous = patient_score(rows["score"]) > threshold.value
            scans.append(
                JudgedScan(
                    slice_scores=dict(zip(rows["slice"], rows["score"], strict=True)),
                    lesion_slices=frozenset(rows["slice"][rows["label_index"].astype(bool)]),
                    is_anomalous=is_anomalous,
                    patient=str(patient),
                )
            )
        found = judge_patients(scans, None if threshold is None else threshold.value)
        if not found["healthy_patients"]:
            return {}
        low, high = found["patient_AUROC_interval"] or (None, None)
        falsely = found["false_positive_rate"]
        metrics = {
            "patient_AUROC": found["patient_AUROC"],
            "patient_AUROC_low": low,
            "patient_AUROC_high": high,
            "patient_sensitivity": found["sensitivity"],
            "patient_specificity": None if falsely is None else 1 - falsely,
        }
        return {name: value for name, value in metrics.items() if value is not None}

    def _take(self, dataset: Any) -> pd.DataFrame | None:  # noqa: ANN401 - anomalib's
        """Put the scores that were collected into the sample table of their images, as `score` beside `scan`.

        Returns:
            The rows; `None` if nothing was collected or the images are not known to be slices of patients.
        """
        raw = self._gather()
        self._scores = {}
        table = getattr(dataset, "samples", None)
        if not raw or table is None or not {"patient_id", "slice", "image_path", "label_index"} <= set(table.columns):
            return None
        table = table[table.image_path.map(str).isin(raw)]
        # A patient may have been scanned twice; without a case nothing tells the scans apart.
        case = table["case"] if "case" in table.columns else ""
        table = table.assign(scan=case).fillna({"scan": ""})
        # Tiles of one slice are no slices.
        if table.duplicated(["patient_id", "scan", "slice"]).any():
            return None
        return table.assign(score=[raw[str(path)] for path in table.image_path])

    def _gather(self) -> dict[str, float]:
        """Scores by path, of all processes; images that fill up a process's share are there twice."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self._scores
        parts: list[dict[str, float] | None] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, self._scores)
        return {path: score for part in parts if part for path, score in part.items()}
