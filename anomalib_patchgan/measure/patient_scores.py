"""From the scores of images to those of the patients that they are of, without scikit-learn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.patient import comparable_scores, median_slices, patient_score, rank_of_threshold

if TYPE_CHECKING:
    from typing_extensions import Self

MAX, TOP = "patient_AUROC_max", "patient_AUROC_top3"
PATIENT_METRICS = (MAX, TOP)


def score_patients(
    metric: str,
    scores: NDArray,
    labels: NDArray[np.bool_],
    patients: NDArray[np.str_],
    images: int | None = None,
) -> tuple[NDArray[np.str_], NDArray[np.bool_], NDArray[np.float64]]:
    """Score patients by their images; one with a lesion in any image is abnormal.

    Args:
        metric: `patient_AUROC_max` for the highest score of a patient, which is the higher the more images there are;
            `patient_AUROC_top3` for the mean of the three highest, or of as large a share where a patient has more or
            fewer images than the median patient, see `comparable_scores`.
        scores: Raw scores of the images, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.
        patients: Patient of each image, `(N,)`.
        images: Images of the patients that these are compared with; by default of the median one of them.

    Returns:
        The P patients by name, whether they are abnormal, and their scores, `(P,)` each.

    Raises:
        ConfigurationError: There is no such metric.

    Example:
        >>> scores, labels = np.array([0.1, 0.75, 0.2, 0.5]), np.array([False, False, False, True])
        >>> names, abnormal, found = score_patients("patient_AUROC_max", scores, labels, np.array(list("aabb")))
        >>> names.tolist(), abnormal.tolist(), found.tolist()
        (['a', 'b'], [False, True], [0.75, 0.5])
    """
    if metric not in PATIENT_METRICS:
        msg = f"The metric {metric!r} is none of patients: choose one of {', '.join(PATIENT_METRICS)}"
        raise ConfigurationError(msg)
    names = np.unique(patients)
    groups = [patients == patient for patient in names]
    abnormal = np.array([labels[group].any() for group in groups], dtype=bool)
    of_patients = [scores[group] for group in groups]
    if metric == MAX:
        found = [float(one.max()) for one in of_patients]
    elif images is None:
        found = comparable_scores(of_patients)
    else:
        found = [patient_score(one, images) for one in of_patients]
    return names, abnormal, np.array(found, np.float64)


@dataclass(frozen=True, kw_only=True)
class ValidatedPatients:
    """Threshold of patients, found on healthy validation patients.

    Args:
        value: Raw score, for `score > value`.
        images: Images of the median one of these patients.
    """

    value: float
    images: int

    @classmethod
    def of(cls, scores: NDArray, labels: NDArray[np.bool_], patients: NDArray[np.str_]) -> "Self | None":
        """Find it as `find_patient_threshold` does, on raw scores of any range.

        Args:
            scores: Raw scores of the validation images, `(N,)`.
            labels: Whether the image holds a lesion, `(N,)`.
            patients: Patient of each image, `(N,)`.

        Returns:
            The threshold; `None` without a healthy patient.

        Example:
            >>> scores, patients = np.array([0.1, 0.4, 0.2, 0.9]), np.array(["a", "b", "b", "c"])
            >>> ValidatedPatients.of(scores, np.array([False, False, False, True]), patients)
            ValidatedPatients(value=0.30000000000000004, images=1)
        """
        sick = np.unique(patients[labels])
        kept = ~np.isin(patients, sick)
        if not kept.any():
            return None
        images = median_slices(np.unique(patients[kept], return_counts=True)[1].tolist())
        _, _, ascending = score_patients(TOP, scores[kept], labels[kept], patients[kept], images)
        return cls(value=float(np.sort(ascending)[rank_of_threshold(ascending.size) - 1]), images=images)

    def judge(self, scores: NDArray, labels: NDArray[np.bool_], patients: NDArray[np.str_]) -> dict[str, float | None]:
        """Measure test patients at the threshold.

        Args:
            scores: Raw scores of the test images, `(N,)`.
            labels: Whether the image holds a lesion, `(N,)`.
            patients: Patient of each image, `(N,)`.

        Returns:
            `patient_sensitivity` and `patient_specificity`: each 0 to 1, or `None` where no patient is healthy or none
            has a lesion, as for `patient_metrics`.

        Example:
            >>> scores, patients = np.array([0.1, 0.4, 0.2, 0.9]), np.array(["a", "b", "b", "c"])
            >>> ValidatedPatients(value=0.25, images=1).judge(scores, np.array([False, False, False, True]), patients)
            {'patient_sensitivity': 1.0, 'patient_specificity': 0.5}
        """
        _, abnormal, found = score_patients(TOP, scores, labels, patients, self.images)
        above = found > self.value
        both = abnormal.any() and not abnormal.all()
        return {
            "patient_sensitivity": float(above[abnormal].mean()) if both else None,
            "patient_specificity": float((~above[~abnormal]).mean()) if both else None,
        }
