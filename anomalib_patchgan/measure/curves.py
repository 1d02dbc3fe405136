"""Metrics from cumulative counts, for one curve or for many resampled ones at once.

scikit-learn computes one curve at a time; a bootstrap needs thousands. The last axis of every array runs over the
distinct thresholds, highest first: `true_positives[..., k]` is the weight of the lesions at or above threshold k.
"""

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.errors import DataError

Counts = NDArray[np.float64]


def require_finite(values: NDArray, name: str) -> None:
    """Refuse values that no threshold can order.

    Raises:
        DataError: Some are NaN or infinite.
    """
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        msg = f"{bad} of {values.size} {name} are NaN or infinite: train again with a lower learning rate."
        raise DataError(msg)


def auroc(true_positives: Counts, false_positives: Counts) -> Counts:
    """Area under the ROC curve, 0 to 1; NaN without a lesion or without anything else.

    Args:
        true_positives: Cumulative counts `(..., K)`.
        false_positives: Cumulative counts `(..., K)`.

    Returns:
        One value for each curve, `(...)`.

    Example:
        >>> float(auroc(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])))
        0.625
    """
    steps = np.diff(false_positives, prepend=0)
    # A tie counts half: the mean of the true positives before and after it.
    means = true_positives - np.diff(true_positives, prepend=0) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps * means).sum(-1) / (true_positives[..., -1] * false_positives[..., -1])


def average_precision(true_positives: Counts, false_positives: Counts) -> Counts:
    """Average precision without interpolation, as scikit-learn defines it; NaN where `auroc` is.

    Args:
        true_positives: Cumulative counts `(..., K)`.
        false_positives: Cumulative counts `(..., K)`.

    Returns:
        One value for each curve, `(...)`, 0 to 1.

    Example:
        >>> float(average_precision(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])))
        0.75
    """
    found = true_positives + false_positives
    precision = np.divide(true_positives, found, out=np.zeros_like(found), where=found > 0)
    sums = (np.diff(true_positives, prepend=0) * precision).sum(-1)
    return _where_both(true_positives, false_positives, sums, true_positives[..., -1])


def best_dice(true_positives: Counts, false_positives: Counts) -> Counts:
    """Highest Dice (F1) over all thresholds; NaN where `auroc` is.

    Args:
        true_positives: Cumulative counts `(..., K)`.
        false_positives: Cumulative counts `(..., K)`.

    Returns:
        One value for each curve, `(...)`, 0 to 1.

    Example:
        >>> round(float(best_dice(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))), 4)
        0.6667
    """
    lesions = true_positives[..., -1:]
    total = true_positives + false_positives + lesions
    dice = np.divide(2 * true_positives, total, out=np.zeros_like(total), where=total > 0)
    return _where_both(true_positives, false_positives, dice.max(-1), np.ones_like(lesions[..., 0]))


def _where_both(true_positives: Counts, false_positives: Counts, numerator: Counts, denominator: Counts) -> Counts:
    """The quotient where there are lesions and other samples, else NaN."""
    both = (true_positives[..., -1] > 0) & (false_positives[..., -1] > 0)
    return np.divide(numerator, denominator, out=np.full(both.shape, np.nan), where=both)
