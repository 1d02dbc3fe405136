"""The score of a patient, made of the scores of a scan's slices, and the threshold for it, found on healthy scans.

A threshold of single slices is none of patients: the mean of the highest of a hundred scores lies above nearly every
one of them. Models learn it at validation, inference applies it; both make the score with `patient_score`.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomalib_patchgan.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self

# A patient is as anomalous as the mean of this many slices, as in the benchmark.
PATIENT_SLICES = 3
# Share of healthy patients above the threshold that is aimed at.
FALSE_POSITIVE_RATE = 0.05
# Less of a scan cannot stand for the whole of it.
MIN_HEALTHY_SHARE = 0.25
# The mean of the highest scores grows with the number of slices; within this factor it hardly does.
MAX_SLICE_RATIO = 1.5
HEALTHY_PATIENTS = "healthy patients"
LESION_FREE_SLICES = "lesion-free slices"
MAX_COUNT = 10**9


class ValidatedSlice(NamedTuple):
    """Score of one validation slice, with what is known about it.

    Attributes:
        patient: Patient.
        scan: Scan of the patient.
        score: Score in [0, 1].
        abnormal: Whether it shows a lesion.
    """

    patient: str
    scan: str
    score: float
    abnormal: bool


@dataclass(frozen=True, kw_only=True)
class PatientThreshold:
    """Threshold of the score of a patient.

    Args:
        value: A patient with a score above it is called anomalous, in [0, 1].
        source: What it was found on: `healthy patients`, or `lesion-free slices` of patients with a lesion.
        patients: Number of these patients.
        slices: Median number of slices of their scans.

    Raises:
        DataError: A value is out of its range or of another type, since it may come from anybody's file.

    Example:
        >>> threshold = PatientThreshold(value=0.6, source="healthy patients", patients=3, slices=100)
        >>> threshold.expected_fpr, threshold.as_record()["patient_threshold_from"]
        (0.25, 'healthy patients')
    """

    value: float
    source: str
    patients: int
    slices: int

    def __post_init__(self) -> None:
        """Check every value."""
        valid = {
            "patient_threshold": type(self.value) in {int, float} and 0 <= self.value <= 1,
            "patient_threshold_from": self.source in {HEALTHY_PATIENTS, LESION_FREE_SLICES},
            "patient_threshold_patients": type(self.patients) is int and 1 <= self.patients <= MAX_COUNT,
            "patient_threshold_slices": type(self.slices) is int and 1 <= self.slices <= MAX_COUNT,
        }
        wrong = next((name for name, good in valid.items() if not good), None)
        if wrong is not None:
            msg = f"the threshold of patients is not valid, {wrong} is out of its range: train or export again."
            raise DataError(msg)

    @property
    def expected_fpr(self) -> float:
        """Share of new healthy patients that is expected above it, if they are like those it was found on."""
        return 1 - rank_of_threshold(self.patients) / (self.patients + 1)

    @property
    def origin(self) -> str:
        """What it was found on, and how much that allows to claim, in words."""
        number = f"{self.patients} patient{'' if self.patients == 1 else 's'}"
        found = f"{number} without a lesion" if self.source == HEALTHY_PATIENTS else f"lesion-free slices of {number}"
        return f"found on {found}; {self.expected_fpr:.0%} of healthy patients are expected above it"

    def misfit(self, slices: int) -> str:
        """Say why a scan of so many slices cannot be judged by it; an empty text where it can."""
        if 1 / MAX_SLICE_RATIO <= slices / self.slices <= MAX_SLICE_RATIO:
            return ""
        return (
            f"the scan has {slices} slices, the threshold of patients is of scans of about {self.slices}, and their "
            f"scores cannot be compared"
        )

    def as_record(self) -> dict[str, Any]:
        """Return the entries of a checkpoint, a model card or a result."""
        return {
            "patient_threshold": self.value,
            "patient_threshold_from": self.source,
            "patient_threshold_patients": self.patients,
            "patient_threshold_slices": self.slices,
            "patient_threshold_expected_fpr": round(self.expected_fpr, 6),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Self | None":
        """Read the entries of `as_record`; `None` where there is no threshold, as in files of older versions.

        Raises:
            DataError: A value is not valid.
        """
        if record.get("patient_threshold") is None:
            return None
        names = ("", "_from", "_patients", "_slices")
        value, source, patients, slices = (record.get(f"patient_threshold{name}") for name in names)
        if not isinstance(source, str):
            source = ""
        return cls(value=value, source=source, patients=patients, slices=slices)  # type: ignore[arg-type]  # checked there


def patient_score(scores: Iterable[float], slices: int | None = None) -> float:
    """Mean of the three highest scores of the slices of a scan.

    Args:
        scores: Scores of the slices, `(N,)`.
        slices: Slices of the scan that these are a part of, or with whose score theirs is compared. The mean is then
            taken of as large a share of the scores as the three are of that scan, or it would be lower for being of
            fewer slices, and higher for being of more.

    Returns:
        The score; in [0, 1] if those of the slices are.

    Example:
        >>> patient_score([0.1, 0.4, 0.2, 0.3]), patient_score([0.1, 0.4, 0.2, 0.3], slices=8)
        (0.3, 0.3666666666666667)
    """
    ordered = np.sort(np.asarray(list(scores), np.float64))[::-1]
    share = len(ordered) / (slices or len(ordered))
    # A fraction of a slice counts as such.
    weights = np.clip(min(PATIENT_SLICES * share, len(ordered)) - np.arange(len(ordered)), 0, 1)
    return float((ordered * weights).sum() / weights.sum())


def comparable_scores(scans: Sequence[Collection[float]]) -> list[float]:
    """Score scans of different numbers of slices so that none is higher for having more of them.

    Args:
        scans: Scores of the slices of each scan, at least one.

    Returns:
        The score of each scan: the mean of as large a share of its slices as three are of the median scan. Of scans of
        one length it is that of the three highest.

    Example:
        >>> thin, thick = [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.2, 0.1], [0.1, 0.8, 0.5, 0.2]
        >>> [round(score, 3) for score in comparable_scores([thin, thick])], round(patient_score(thin), 3)
        ([0.75, 0.65], 0.8)
    """
    lengths = [len(scores) for scores in scans]
    return [patient_score(scores, median_slices(lengths)) for scores in scans]


def median_slices(lengths: Sequence[int]) -> int:
    """Return the median of numbers of slices, a whole number."""
    return int(np.median(lengths))


def lesion_free_score(healthy: Sequence[float], slices: int, reference: int | None = None) -> float | None:
    """Score of the lesion-free slices of a scan, as if the whole scan were like them.

    Args:
        healthy: Scores of these slices, `(N,)`.
        slices: Slices of the whole scan.
        reference: Slices of the scans with whose scores it is compared; those of the scan itself by default.

    Returns:
        See `patient_score`; `None` if they are fewer than three or than a quarter of the scan.

    Example:
        >>> lesion_free_score([0.1, 0.4, 0.2, 0.3], slices=8), lesion_free_score([0.1, 0.4], slices=8)
        (0.3666666666666667, None)
    """
    if len(healthy) < max(PATIENT_SLICES, MIN_HEALTHY_SHARE * slices):
        return None
    return patient_score(healthy, reference or slices)


def rank_of_threshold(patients: int) -> int:
    """Place of the threshold among the ascending scores of so many healthy patients, from 1.

    A new healthy patient is as likely to fall between any two of them, or beyond them, as between any other two: the
    place is the lowest with at most 5 % expected above it, or the last one where they are fewer than 19.

    Example:
        >>> rank_of_threshold(4), rank_of_threshold(19), rank_of_threshold(99)
        (4, 19, 95)
    """
    # Rounded first: 0.95 * 20 is no whole number in floating point.
    return min(math.ceil(round((1 - FALSE_POSITIVE_RATE) * (patients + 1), 9)), patients)


def find_patient_threshold(slices: Iterable[ValidatedSlice]) -> PatientThreshold | None:
    """Find the threshold of patients on validation patients.

    It is taken from patients without a lesion in any slice. Where there are none, the lesion-free slices of a patient
    with a lesion count as a healthy scan. A patient with several scans has the highest of their scores, which are of
    equal shares of the scans, see `comparable_scores`.

    Args:
        slices: Scores of the validation slices.

    Returns:
        The threshold; `None` if no scan has three lesion-free slices that are a quarter of it.

    Example:
        >>> scans = [ValidatedSlice("a", "a_1", score / 10, abnormal=score > 4) for score in range(8)]
        >>> threshold = find_patient_threshold(scans)
        >>> threshold.source, round(threshold.value, 2), threshold.slices
        ('lesion-free slices', 0.35, 8)
    """
    patients: dict[str, dict[str, list[ValidatedSlice]]] = {}
    for one in slices:
        patients.setdefault(one.patient, {}).setdefault(one.scan, []).append(one)
    # Of each patient, the lesion-free scores and the number of slices of each scan.
    found: dict[str, list[list[tuple[list[float], int]]]] = {HEALTHY_PATIENTS: [], LESION_FREE_SLICES: []}
    for scans in patients.values():
        kind = LESION_FREE_SLICES if any(one.abnormal for scan in scans.values() for one in scan) else HEALTHY_PATIENTS
        parts = [([one.score for one in scan if not one.abnormal], len(scan)) for scan in scans.values()]
        enough = [part for part in parts if lesion_free_score(*part) is not None]
        if enough:
            found[kind].append(enough)
    kind = HEALTHY_PATIENTS if found[HEALTHY_PATIENTS] else LESION_FREE_SLICES
    if not found[kind]:
        return None
    length = median_slices([slices for parts in found[kind] for _, slices in parts])
    ordered = sorted(max(patient_score(scores, length) for scores, _ in parts) for parts in found[kind])
    return PatientThreshold(
        value=ordered[rank_of_threshold(len(ordered)) - 1], source=kind, patients=len(ordered), slices=length
    )
