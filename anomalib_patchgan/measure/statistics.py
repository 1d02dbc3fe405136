"""The bootstrap over patients, the same for all models, and a correction for many comparisons.

Slices of one patient resemble each other, so that slices drawn one by one would make the intervals too narrow. A
resample draws patients with replacement, each with all its images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.measure import curves

# Numbers in one array of a chunk of resamples: 16 MiB.
CHUNK = 2_000_000

# The cumulative true and false positives of each resample, from the weights of a job's patients.
Curve = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Scores of one job's N test images.

    Args:
        patients: Patient of each image, `(N,)`.
        labels: Whether the image holds a lesion, `(N,)`.
        scores: Raw scores, higher is more anomalous, `(N,)`.
    """

    patients: NDArray[np.str_]
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def weighted(self) -> tuple[NDArray[np.str_], Curve]:
        """Return the patients by name, and what makes the curve of the images from weights of them."""
        names, owner = np.unique(self.patients, return_inverse=True)
        scores = np.asarray(self.scores, dtype=np.float64)
        curves.require_finite(scores, "scores")
        order = np.argsort(scores)[::-1]
        # Only the last of equal scores is a threshold.
        last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
        owner, labels = owner[order], self.labels[order].astype(bool)

        def curve(draws: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            weights = draws[:, owner]
            positives = np.cumsum(weights * labels, axis=1)[:, last]
            return positives, np.cumsum(weights, axis=1)[:, last] - positives

        return names, curve


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelCounts:
    """Pixels of one job's N test images, counted in K bins of the map's value as `localisation.pixel_counts` does.

    Args:
        patients: Patient of each image, `(N,)`.
        positives: Lesion pixels, lowest values first, `(N, K)`.
        negatives: Other pixels, `(N, K)`.
    """

    patients: NDArray[np.str_]
    positives: NDArray[np.uint32]
    negatives: NDArray[np.uint32]

    def weighted(self) -> tuple[NDArray[np.str_], Curve]:
        """Return the patients by name, and what makes the curve of the pixels from weights of them."""
        names, owner = np.unique(self.patients, return_inverse=True)
        sums = []
        for counts in (self.positives, self.negatives):
            of_patient = np.zeros((names.size, counts.shape[1]))
            np.add.at(of_patient, owner, counts)
            sums.append(np.cumsum(of_patient[:, ::-1], axis=1))
        positives, negatives = sums
        return names, lambda draws: (draws @ positives, draws @ negatives)


Computation = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
RESAMPLED: dict[str, tuple[type, Computation]] = {
    "image_AUROC": (Scores, curves.auroc),
    "image_AP": (Scores, curves.average_precision),
    "pixel_AUROC": (PixelCounts, curves.auroc),
    "pixel_AP": (PixelCounts, curves.average_precision),
    "pixel_best_dice": (PixelCounts, curves.best_dice),
}


def bootstrap(
    jobs: Sequence[Scores] | Sequence[PixelCounts], metric: str, resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """Resample the patients of some jobs of a model (such as a seed's folds) and compute their mean metric each time.

    The draw depends on `seed` and the sorted patients of all jobs alone: models tested on the same patients get the
    same resamples, and their values may be compared pair by pair. An image weighs as often as its patient was drawn.
    The mean over jobs weighs each by the number of drawn patients in its fold and leaves out jobs where the metric is
    undefined.

    Args:
        jobs: What the model's jobs found on their test images.
        metric: `image_AUROC` or `image_AP` for `Scores`; `pixel_AUROC`, `pixel_AP` or `pixel_best_dice` for counts.
        resamples: Number of resamples B.
        seed: Seed of the draw.

    Returns:
        The metric of each resample, `(B,)`, 0 to 1; NaN where it is undefined in all jobs.

    Raises:
        ConfigurationError: The metric is unknown or does not fit these jobs.
        DataError: A score is not finite.

    Example:
        >>> job = Scores(
        ...     patients=np.array(["a", "b", "c", "d"]),
        ...     labels=np.array([False, False, True, True]),
        ...     scores=np.array([0.1, 0.2, 0.8, 0.9]),
        ... )
        >>> values = bootstrap([job], "image_AUROC", resamples=200)
        >>> float(np.nanmin(values)), float(np.nanmax(values))
        (1.0, 1.0)
    """
    patients, mean_of = _mean_over_jobs(jobs, metric)
    if not patients:
        return np.full(resamples, np.nan)
    width = max(patients, *(len(job.patients) for job in jobs))
    chunks = _draws(patients, resamples, seed, size=max(1, CHUNK // width))
    return np.concatenate([mean_of(draws) for draws in chunks])


def point_estimate(job: Scores, metric: str) -> float:
    """Compute a metric of the patients as they are, which a bootstrap resamples.

    Args:
        job: What a job found on its test images.
        metric: `image_AUROC` or `image_AP`.

    Returns:
        The metric, 0 to 1; NaN where it is undefined.

    Raises:
        ConfigurationError: The metric is unknown or does not fit the job.
        DataError: A score is not finite.

    Example:
        >>> names, labels, scores = np.array(["a", "b", "c"]), np.array([False, False, True]), np.array([0.1, 0.3, 0.2])
        >>> point_estimate(Scores(patients=names, labels=labels, scores=scores), "image_AUROC")
        0.5
    """
    patients, mean_of = _mean_over_jobs([job], metric)
    return float(mean_of(np.ones((1, patients)))[0]) if patients else float("nan")


def bootstrap_mean(values: NDArray[np.float64], resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Resample patients and compute the mean of a number that each has, with the draws that `bootstrap` makes of them.

    Args:
        values: One number of each patient, in the order of their sorted names, `(P,)`.
        resamples: Number of resamples B.
        seed: Seed of the draw.

    Returns:
        The mean of each resample, `(B,)`.

    Example:
        >>> means = bootstrap_mean(np.array([0.0, 0.0, 1.0, 1.0]), resamples=1000)
        >>> round(float(means.mean()), 1), round(float(means.std()), 1)
        (0.5, 0.2)
    """
    chunks = _draws(values.size, resamples, seed, size=max(1, CHUNK // values.size))
    return np.concatenate([draws @ values for draws in chunks]) / values.size


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method (Holm 1979, https://www.jstor.org/stable/4615733).

    Args:
        p_values: Values in [0, 1]; NaN stays NaN and does not count.

    Returns:
        The corrected values, in the order given.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    valid = order[: np.count_nonzero(~np.isnan(values))]
    corrected = np.full(values.shape, np.nan)
    factors = np.arange(valid.size, 0, -1)
    corrected[valid] = np.minimum(1.0, np.maximum.accumulate(values[valid] * factors))
    return [float(value) for value in corrected]


def _mean_over_jobs(
    jobs: Sequence[Scores] | Sequence[PixelCounts], metric: str
) -> tuple[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Return how many patients the jobs have, and what computes the mean metric of draws `(b, patients)` of them."""
    kind, compute = RESAMPLED.get(metric, (None, None))
    if kind is None or compute is None or not all(isinstance(job, kind) for job in jobs):
        needed = f"{kind.__name__} are needed" if kind else f"choose one of {', '.join(RESAMPLED)}"
        msg = f"The metric {metric!r} cannot be resampled from these jobs: {needed}"
        raise ConfigurationError(msg)
    prepared = [job.weighted() for job in jobs]
    patients = np.unique(np.concatenate([names for names, _ in prepared])) if jobs else np.zeros(0, dtype=np.str_)
    members_and_curves = [(np.searchsorted(patients, names), curve) for names, curve in prepared]

    def mean_of(draws: NDArray[np.float64]) -> NDArray[np.float64]:
        total, weight = np.zeros(len(draws)), np.zeros(len(draws))
        for members, curve in members_and_curves:
            values = compute(*curve(draws[:, members]))
            drawn = np.where(np.isnan(values), 0.0, draws[:, members].sum(1))
            total += drawn * np.nan_to_num(values)
            weight += drawn
        return np.divide(total, weight, out=np.full(len(draws), np.nan), where=weight > 0)

    return patients.size, mean_of


def _draws(patients: int, resamples: int, seed: int, size: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each patient was drawn, `(b, patients)`, `size` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = generator.integers(patients, size=(count, patients)) + patients * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * patients).reshape(count, patients).astype(np.float64)
