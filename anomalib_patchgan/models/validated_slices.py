"""Scores of the validation slices of an epoch, by patient, for the threshold of patients."""

from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.post_processing import PostProcessor
from torch import Tensor, distributed

from anomalib_patchgan.patient import PatientThreshold, ValidatedSlice, find_patient_threshold


class ValidatedSlices:
    """Collects the raw scores of a validation and makes the threshold of patients of them.

    Example:
        >>> slices = ValidatedSlices()
        >>> slices.add(["a_1.png"], torch.tensor([0.5]))
        >>> slices.find_threshold(None, None) is None  # nothing says of which patient it is
        True
    """

    def __init__(self) -> None:
        self._batches: list[tuple[list[str], Tensor]] = []

    def add(self, paths: list[str], scores: Tensor) -> None:
        """Keep the scores `(B,)` of the images of a batch."""
        self._batches.append(([str(path) for path in paths], scores.detach().reshape(-1).float()))

    def find_threshold(self, data: Any, post_processor: Any) -> PatientThreshold | None:  # noqa: ANN401 - anomalib's
        """Find the threshold of patients on what was collected, and forget it.

        Args:
            data: The data module, whose validation table says patient, scan and slice of each image.
            post_processor: Normalises scores, with the thresholds of this validation.

        Returns:
            The threshold of normalised scores; `None` if the images are not known to be slices of patients, scores
            are not normalised, or no patient suffices.
        """
        raw = self._gather()
        self._batches.clear()
        table = getattr(getattr(data, "val_data", None), "samples", None)
        # Of scores without a threshold nothing is normalised, and nothing judged.
        if not raw or not isinstance(post_processor, PostProcessor) or bool(post_processor.image_threshold.isnan()):
            return None
        if table is None or not {"patient_id", "slice", "image_path", "label_index"} <= set(table.columns):
            return None
        table = table[table.image_path.map(str).isin(raw)]
        # A patient may have been scanned twice; without a case nothing tells the scans apart.
        case = table["case"] if "case" in table.columns else ""
        table = table.assign(scan=case).fillna({"scan": ""})
        # Tiles of one slice are no slices.
        if table.duplicated(["patient_id", "scan", "slice"]).any():
            return None
        device = post_processor.image_threshold.device
        scores = torch.tensor([raw[str(path)] for path in table.image_path], device=device)
        # As inference gets them: the same normalisation, in the same precision.
        normal = post_processor(InferenceBatch(pred_score=scores)).pred_score.tolist()
        return find_patient_threshold(
            ValidatedSlice(str(patient), str(scan), score, bool(label))
            for patient, scan, score, label in zip(table.patient_id, table.scan, normal, table.label_index, strict=True)
        )

    def _gather(self) -> dict[str, float]:
        """Scores by path, of all processes; images that fill up a process's share are there twice."""
        own = {
            path: score
            for paths, scores in self._batches
            for path, score in zip(paths, scores.cpu().tolist(), strict=True)
        }
        if not (distributed.is_available() and distributed.is_initialized()):
            return own
        parts: list[dict[str, float] | None] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, own)
        return {path: score for part in parts if part for path, score in part.items()}
