"""How patients are judged: whole scans of patients with and without a lesion, and lesion-free parts of scans.

Where every patient has a lesion, as in BraTS, nobody can be falsely called anomalous. What is left is the lesion-free
part of a scan taken for a healthy one; that is not the same, since a lesion changes tissue far from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.patient import lesion_free_score, patient_score


@dataclass(frozen=True, kw_only=True)
class JudgedScan:
    """A scan of a patient.

    Args:
        slice_scores: Score in [0, 1] of each processed slice, by its number.
        lesion_slices: Numbers of the slices with a lesion; none for a healthy patient.
        is_anomalous: What the model calls the patient; `None` without a verdict.
    """

    slice_scores: Mapping[int, float]
    lesion_slices: frozenset[int] = field(default_factory=frozenset)
    is_anomalous: bool | None = None

    @property
    def lesion_free_score(self) -> float | None:
        """Score of the slices without a lesion, as if the whole scan were like them; `None` if they are too few."""
        healthy = [score for number, score in self.slice_scores.items() if number not in self.lesion_slices]
        return lesion_free_score(healthy, len(self.slice_scores))


def judge_patients(scans: Sequence[JudgedScan], threshold: float | None) -> dict[str, Any]:
    """Measure how patients are told apart.

    Args:
        scans: One scan of each patient.
        threshold: Threshold of patients, for `score > threshold`; `None` if the model has none.

    Returns:
        Numbers of patients; `patient_AUROC`, `sensitivity` and `false_positive_rate` over patients, and
        `false_positive_rate_of_lesion_free_parts` over lesion-free parts of patients with a lesion: each 0 to 1, or
        `None`, for which `undefined` gives the reason.

    Example:
        >>> scans = [JudgedScan(slice_scores={1: 0.2, 2: 0.3, 3: 0.2, 4: 0.9}, lesion_slices=frozenset({4}))]
        >>> found = judge_patients(scans, 0.4)
        >>> found["patient_AUROC"], found["false_positive_rate_of_lesion_free_parts"]
        (None, 0.0)
    """
    labels = np.array([bool(scan.lesion_slices) for scan in scans], dtype=bool)
    scores = np.array([patient_score(scan.slice_scores.values()) for scan in scans])
    parts = [score for scan in scans if scan.lesion_slices and (score := scan.lesion_free_score) is not None]
    numbers: dict[str, Any] = {
        "patients": len(scans),
        "healthy_patients": int((~labels).sum()),
        "patients_with_lesion": int(labels.sum()),
        "patients_without_verdict": sum(scan.is_anomalous is None for scan in scans),
        "lesion_free_parts": len(parts),
        "patient_threshold": threshold,
    }
    unknown = "the model has no threshold of patients"
    undefined: dict[str, str] = {}

    def rate(name: str, verdicts: Sequence[bool], reason: str) -> float | None:
        if verdicts:
            return float(np.mean(verdicts))
        undefined[name] = unknown if threshold is None else reason
        return None

    judged = [scan for scan in scans if scan.is_anomalous is not None]
    rates = {
        "sensitivity": ([bool(one.is_anomalous) for one in judged if one.lesion_slices], "no patient with a lesion"),
        "false_positive_rate": (
            [bool(one.is_anomalous) for one in judged if not one.lesion_slices],
            "no healthy patient",
        ),
        "false_positive_rate_of_lesion_free_parts": (
            [] if threshold is None else [score > threshold for score in parts],
            "no scan has enough slices without a lesion",
        ),
    }
    auroc = image_metrics(scores, labels, None)["image_AUROC"] if len(scans) else None
    if auroc is None:
        present = "no patient" if not len(scans) else "all patients have a lesion" if labels.all() else "none has one"
        undefined["patient_AUROC"] = f"it takes healthy patients and some with a lesion: {present}"
    found = {name: rate(name, verdicts, reason) for name, (verdicts, reason) in rates.items()}
    return {**numbers, "patient_AUROC": auroc, **found, "undefined": undefined}
