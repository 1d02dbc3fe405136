"""How patients are judged: whole scans of patients with and without a lesion, and lesion-free parts of scans.

Where every patient has a lesion, as in BraTS, nobody can be falsely called anomalous. What is left is the lesion-free
part of a scan taken for a healthy one; that is not the same, since a lesion changes tissue far from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.measure.statistics import Scores, bootstrap, point_estimate
from anomalib_patchgan.measure.uncertainty import FEWEST_FOR_INTERVAL, Trainings, uncertainty
from anomalib_patchgan.patient import comparable_scores, lesion_free_score

_AUROC = "image_AUROC"
# Why a rate is not known, if the model has a threshold.
_UNDEFINED = {
    "sensitivity": "no patient with a lesion",
    "false_positive_rate": "no healthy patient",
    "false_positive_rate_of_lesion_free_parts": "no scan has enough slices without a lesion",
}


@dataclass(frozen=True, kw_only=True)
class JudgedScan:
    """A scan of a patient.

    Args:
        slice_scores: Score in [0, 1] of each processed slice, by its number.
        lesion_slices: Numbers of the slices with a lesion; none for a healthy patient.
        is_anomalous: What the model calls the patient; `None` without a verdict.
        patient: Whose scan it is; `None` for a patient with no other one.
    """

    slice_scores: Mapping[int, float]
    lesion_slices: frozenset[int] = field(default_factory=frozenset)
    is_anomalous: bool | None = None
    patient: str | None = None

    @property
    def lesion_free_score(self) -> float | None:
        """Score of the slices without a lesion, as if the whole scan were like them; `None` if they are too few."""
        healthy = [score for number, score in self.slice_scores.items() if number not in self.lesion_slices]
        return lesion_free_score(healthy, len(self.slice_scores))


@dataclass(frozen=True, kw_only=True)
class JudgedPatient:
    """What the scans of a patient say together.

    Args:
        score: The highest of their scores, see `comparable_scores`.
        abnormal: Whether one of them shows a lesion.
        is_anomalous: Whether one of them is called anomalous; `None` where none has a verdict.
    """

    score: float
    abnormal: bool
    is_anomalous: bool | None


def judge_patients(scans: Sequence[JudgedScan], threshold: float | None) -> dict[str, Any]:
    """Measure how patients are told apart.

    Scores for the AUROC are those of `comparable_scores`: scans of many slices are not higher for it.

    Args:
        scans: The scans of all patients.
        threshold: Threshold of patients, for `score > threshold`; `None` if the model has none.

    Returns:
        Numbers of patients; `patient_AUROC` with its 95 % interval, see `patient_auroc`; `sensitivity` and
        `false_positive_rate` over patients, and `false_positive_rate_of_lesion_free_parts` over lesion-free parts of
        scans with a lesion: each 0 to 1, or `None`, for which `undefined` gives the reason.

    Example:
        >>> scans = [JudgedScan(slice_scores={1: 0.2, 2: 0.3, 3: 0.2, 4: 0.9}, lesion_slices=frozenset({4}))]
        >>> found = judge_patients(scans, 0.4)
        >>> found["patient_AUROC"], found["false_positive_rate_of_lesion_free_parts"]
        (None, 0.0)
    """
    patients = merge_scans(scans)
    labels = np.array([one.abnormal for one in patients], dtype=bool)
    parts = [score for scan in scans if scan.lesion_slices and (score := scan.lesion_free_score) is not None]
    numbers: dict[str, Any] = {
        "patients": len(patients),
        "healthy_patients": int((~labels).sum()),
        "patients_with_lesion": int(labels.sum()),
        "patients_without_verdict": sum(one.is_anomalous is None for one in patients),
        "lesion_free_parts": len(parts),
        "patient_threshold": threshold,
    }
    judged = [one for one in patients if one.is_anomalous is not None]
    verdicts = {
        "sensitivity": [bool(one.is_anomalous) for one in judged if one.abnormal],
        "false_positive_rate": [bool(one.is_anomalous) for one in judged if not one.abnormal],
        "false_positive_rate_of_lesion_free_parts": [] if threshold is None else [score > threshold for score in parts],
    }
    rates = {name: float(np.mean(found)) if found else None for name, found in verdicts.items()}
    undefined = {
        name: _UNDEFINED[name] if threshold is not None else "the model has no threshold of patients"
        for name, rate in rates.items()
        if rate is None
    }
    auroc, interval = patient_auroc(np.array([[one.score for one in patients]]), labels)
    if auroc is None:
        present = "no patient" if not patients else "all patients have a lesion" if labels.all() else "none has one"
        undefined["patient_AUROC"] = f"it takes healthy patients and some with a lesion: {present}"
    return {**numbers, "patient_AUROC": auroc, "patient_AUROC_interval": interval, **rates, "undefined": undefined}


def patient_auroc(
    scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> tuple[float | None, tuple[float, float] | None]:
    """Compute the AUROC over patients, and how much it depends on which patients these are.

    Args:
        scores: Score of each patient by each of n trainings, higher is more anomalous, `(n, P)`.
        labels: Whether the patient has a lesion, `(P,)`.

    Returns:
        The AUROC, mean over trainings, 0 to 1, or `None` where all patients are of one kind; and its 95 % interval
        from a bootstrap over patients, which holds the randomness of training where there are several, or `None` where
        one kind has fewer than five patients, which tell too little of others.

    Raises:
        DataError: A score is not finite.

    Example:
        >>> auroc, interval = patient_auroc(np.arange(12.0)[None], np.arange(12) % 3 == 1)
        >>> auroc, interval
        (0.5, None)
    """
    if not labels.any() or labels.all():
        return None, None
    # Of one length, so that their order is that of the patients.
    names = np.array([f"{index:09d}" for index in range(len(labels))], np.str_)
    jobs = [Scores(patients=names, labels=labels, scores=of_training) for of_training in scores]
    values = np.array([point_estimate(job, _AUROC) for job in jobs])
    auroc = float(values.mean())
    if min(np.count_nonzero(labels), np.count_nonzero(~labels)) < FEWEST_FOR_INTERVAL:
        return auroc, None
    resampled = np.stack([bootstrap([job], _AUROC) for job in jobs])
    low, high = uncertainty(Trainings(values=values, resampled=resampled, patients=len(labels))).interval(auroc)
    return auroc, (max(low, 0.0), min(high, 1.0))


def merge_scans(scans: Sequence[JudgedScan]) -> list[JudgedPatient]:
    """Put the scans of each patient together.

    Args:
        scans: The scans of all patients.

    Returns:
        The patients, in the order of their first scans.

    Example:
        >>> scores, lesion = {1: 0.2, 2: 0.4, 3: 0.3}, frozenset({2})
        >>> first = JudgedScan(slice_scores=scores, patient="a", is_anomalous=False)
        >>> second = JudgedScan(slice_scores=scores, lesion_slices=lesion, patient="a")
        >>> merge_scans([first, second])
        [JudgedPatient(score=0.3, abnormal=True, is_anomalous=False)]
    """
    scores = comparable_scores([list(scan.slice_scores.values()) for scan in scans])
    groups: dict[tuple[str, int], list[int]] = {}
    for index, scan in enumerate(scans):
        # Without a name nobody is the same as anybody.
        groups.setdefault(("", index) if scan.patient is None else (scan.patient, -1), []).append(index)
    patients = []
    for indices in groups.values():
        verdicts = [verdict for index in indices if (verdict := scans[index].is_anomalous) is not None]
        patients.append(
            JudgedPatient(
                score=max(scores[index] for index in indices),
                abnormal=any(scans[index].lesion_slices for index in indices),
                is_anomalous=any(verdicts) if verdicts else None,
            )
        )
    return patients
