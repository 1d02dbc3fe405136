"""Metrics of finding images, and patients, with a lesion: scikit-learn on raw scores.

anomalib normalises and clamps the scores of its predictions to [0, 1], which ties the most anomalous images; all
metrics here take the raw scores. An image counts as found when its score is at or above the threshold. A metric that is
undefined, for want of lesions or of normal images, is `None`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score, roc_curve

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure.curves import require_finite
from anomalib_patchgan.measure.patient_scores import PATIENT_METRICS, score_patients

Metrics = dict[str, float | None]
Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]


def f1_threshold(scores: NDArray, labels: NDArray[np.bool_]) -> float:
    """Find the threshold of the highest F1, to be chosen on validation data.

    Args:
        scores: Raw scores, higher is more anomalous, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.

    Returns:
        The lowest of the best thresholds, for `score >= threshold`; without a lesion the smallest number above all
        scores, which finds none of these images.

    Raises:
        DataError: There is no score, or one that is not finite.

    Example:
        >>> f1_threshold(np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]))
        0.3
    """
    scores, labels = _checked(scores, labels)
    if not scores.size:
        msg = "There is no validation image to choose a threshold on: give the data module a validation split."
        raise DataError(msg)
    if not labels.any():
        return float(np.nextafter(scores.max(), np.inf))
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    # Rounding may part equal F1; the lowest of them is promised.
    return float(thresholds[np.flatnonzero(f1 >= f1.max() - 1e-12)[0]])


def image_metrics(scores: NDArray, labels: NDArray[np.bool_], threshold: float | None) -> Metrics:
    """Compute the metrics of the images.

    Args:
        scores: Raw scores, higher is more anomalous, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.
        threshold: Threshold chosen on validation data.

    Returns:
        `image_AUROC`, `image_AP`, `image_TPR_at_1FPR`, `image_TPR_at_5FPR` and, at the threshold, `image_F1`: each 0 to
        1, or `None`. The TPR is the highest that a threshold with at most this FPR reaches, without interpolation.

    Raises:
        DataError: A score is not finite.

    Example:
        >>> metrics = image_metrics(np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]), 0.3)
        >>> metrics["image_AUROC"], metrics["image_TPR_at_5FPR"], metrics["image_F1"]
        (0.75, 0.5, 0.8)
    """
    scores, labels = _checked(scores, labels)
    found = None if threshold is None else scores >= threshold
    return {
        "image_AUROC": _where_defined(roc_auc_score, labels, scores),
        "image_AP": _where_defined(average_precision_score, labels, scores),
        "image_TPR_at_1FPR": _where_defined(lambda *data: _tpr_at(0.01, *data), labels, scores),
        "image_TPR_at_5FPR": _where_defined(lambda *data: _tpr_at(0.05, *data), labels, scores),
        "image_F1": None if found is None else _where_defined(f1_score, labels, found),
    }


def patient_metrics(scores: NDArray, labels: NDArray[np.bool_], patients: NDArray[np.str_]) -> Metrics:
    """Compute the metrics of the patients; a patient with a lesion in any image counts as abnormal.

    Args:
        scores: Raw scores of the images, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.
        patients: Patient of each image, `(N,)`.

    Returns:
        The `PATIENT_METRICS`, of the scores that `score_patients` makes: each 0 to 1, or `None`.

    Raises:
        DataError: A score is not finite.

    Example:
        >>> scores, labels = np.array([0.1, 0.8, 0.2, 0.9]), np.array([False, False, False, True])
        >>> patient_metrics(scores, labels, np.array(["a", "a", "b", "b"]))["patient_AUROC_max"]
        1.0
    """
    scores, labels = _checked(scores, labels)
    metrics: Metrics = {}
    for metric in PATIENT_METRICS:
        _, abnormal, of_patients = score_patients(metric, scores, labels, patients)
        metrics[metric] = _where_defined(roc_auc_score, abnormal, of_patients)
    return metrics


def stratum_metrics(scores: NDArray, labels: NDArray[np.bool_], strata: NDArray[np.str_]) -> dict[str, Metrics]:
    """Compute the metrics of each kind of lesion against all normal images.

    Args:
        scores: Raw scores, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.
        strata: Kind of each lesion, such as `large` or `small`; "" for none, `(N,)`.

    Returns:
        `image_AUROC` and `image_AP` of each stratum that a lesion belongs to.

    Raises:
        DataError: A score is not finite.

    Example:
        >>> scores, labels = np.array([0.1, 0.5, 0.3, 0.9]), np.array([False, False, True, True])
        >>> metrics = stratum_metrics(scores, labels, np.array(["", "", "small", "large"]))
        >>> metrics["large"]["image_AUROC"], metrics["small"]["image_AUROC"]
        (1.0, 0.5)
    """
    scores, labels = _checked(scores, labels)
    metrics: dict[str, Metrics] = {}
    for stratum in np.unique(strata[labels & (strata != "")]):
        kept = ~labels | (strata == stratum)
        metrics[str(stratum)] = {
            "image_AUROC": _where_defined(roc_auc_score, labels[kept], scores[kept]),
            "image_AP": _where_defined(average_precision_score, labels[kept], scores[kept]),
        }
    return metrics


def _checked(scores: NDArray, labels: NDArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    scores = np.asarray(scores, dtype=np.float64)
    require_finite(scores, "scores")
    return scores, np.asarray(labels, dtype=bool)


def _where_defined(metric: Metric, labels: NDArray[np.bool_], scores: NDArray) -> float | None:
    return float(metric(labels, scores)) if labels.any() and not labels.all() else None


def _tpr_at(limit: float, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(tpr[fpr <= limit].max())
