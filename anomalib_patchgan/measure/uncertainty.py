"""Intervals and tests that hold both the choice of the patients and the randomness of training.

The test split is a sample of patients, and a model's seeds are a sample of its trainings: the design of a study in
which several readers read the same cases. A model's seeds are readers of its own, all of them read all patients. The
variance of a mean over seeds, or of the difference of two, is the sum of

- for each model, the variance of its seeds' metrics divided by their number, which holds the randomness of training and
  what it does to single patients;
- what all seeds owe to the same patients: the covariances between bootstrapped metrics of different seeds (Obuchowski
  and Rockette 1995, https://doi.org/10.1080/03610919508813243; Hillis 2014, https://doi.org/10.1002/sim.5926).

Three seeds know their variance badly, so that a normal distribution, or seeds drawn anew with the patients, would find
differences where there are none. Student's t with the degrees of freedom of such a sum (Satterthwaite 1946,
https://doi.org/10.2307/3002019) keeps the level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# With fewer patients a bootstrap does not know how they vary, and with one every resample is the same.
FEWEST_FOR_INTERVAL = 5
# Of the metric: smaller differences are the rounding of sums in another order.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Trainings:
    """One metric of one model: n seeds, tested on the same P patients.

    Args:
        values: The metric of each seed, `(n,)`, with folds its mean over the folds. A single value may also be the mean
            of trainings that cannot be told apart.
        resampled: The same in B bootstrap samples of the patients, `(n, B)`; NaN where undefined.
        patients: Number of patients P, at least 2.
    """

    values: NDArray[np.float64]
    resampled: NDArray[np.float64]
    patients: int


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """How far a mean, or a difference of means, may lie from the truth.

    Args:
        variance: Of the estimate; NaN when the metric is undefined in all bootstrap samples.
        degrees: Degrees of freedom of the variance.
        resamples: Number of bootstrap samples behind it.
        with_seeds: Whether the variance holds the randomness of training, or the patients' alone.
    """

    variance: float
    degrees: float
    resamples: int
    with_seeds: bool

    def interval(self, centre: float, level: float = 0.95) -> tuple[float, float]:
        """Return the interval around an estimate.

        Args:
            centre: The estimate.
            level: Probability that the interval shall cover, in (0, 1).

        Returns:
            Lower and upper bound; NaN without a variance.

        Example:
            >>> low, high = Uncertainty(variance=0.01, degrees=2, resamples=2000, with_seeds=True).interval(0.5)
            >>> round(low, 2), round(high, 2)
            (0.07, 0.93)
        """
        half = float(stats.t.ppf(0.5 + level / 2, self.degrees)) * self.variance**0.5
        return centre - half, centre + half

    def p_value(self, difference: float) -> float:
        """Test whether a difference is 0, two-sided; the interval of the same level excludes 0 where this is smaller.

        Args:
            difference: The estimate.

        Returns:
            From 2 / (B + 1), because B resamples do not tell more about rarer cases, to 1; NaN without a variance, and
            for patients alone: that would take the luck of one training for the merit of a method.

        Example:
            >>> known = Uncertainty(variance=0.0001, degrees=4, resamples=2000, with_seeds=True)
            >>> round(known.p_value(0.05), 4)
            0.0075
        """
        if not self.with_seeds or np.isnan(self.variance):
            return float("nan")
        p = 2 * float(stats.t.sf(abs(difference) / (self.variance + ROUNDING**2) ** 0.5, self.degrees))
        return max(p, 2 / (self.resamples + 1))


def uncertainty(model: Trainings, reference: Trainings | None = None) -> Uncertainty:
    """Estimate the uncertainty of a model's mean over seeds, or of the difference to another model's.

    Seeds of two models are not paired, not even those of one number; their patients are, so that the bootstrap samples
    must be the same. Where a model has one seed only, nothing is known of its trainings: then the uncertainty is that
    of the choice of patients alone, given these trainings.

    Args:
        model: The model.
        reference: The other model, with as many bootstrap samples of the same patients.

    Returns:
        The uncertainty of `model.values.mean()`, or of that minus the reference's.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> patients = rng.normal(0, 0.03, 2000)  # seeds on the same patients
        >>> seeds = np.array([0.84, 0.85, 0.89])
        >>> model = Trainings(values=seeds, resampled=seeds[:, None] + patients, patients=25)
        >>> [round(bound, 2) for bound in uncertainty(model).interval(0.86)]
        [0.79, 0.93]
    """
    models = [model] if reference is None else [model, reference]
    resampled = np.concatenate([one.resampled for one in models])
    resampled = resampled[:, ~np.isnan(resampled).any(0)]
    count = resampled.shape[1]
    with_seeds = all(len(one.values) > 1 for one in models)
    if count < 2:  # noqa: PLR2004 - no variance
        return Uncertainty(variance=float("nan"), degrees=1.0, resamples=count, with_seeds=with_seeds)
    # A bootstrap's variance is that of a population of the patients drawn from.
    covariance = np.cov(resampled).reshape(len(resampled), -1) * model.patients / (model.patients - 1)
    signs = (1.0, -1.0)[: len(models)]
    weights = np.concatenate(
        [np.full(len(one.values), sign / len(one.values)) for sign, one in zip(signs, models, strict=True)]
    )
    patients, seeds, start = float(weights @ covariance @ weights), [], 0
    for one in models if with_seeds else ():
        number = len(one.values)
        own = covariance[start : start + number, start : start + number]
        # Mean variance minus mean covariance: what patients do to single seeds is in the seeds' own variance, too.
        patients -= float(np.trace(own) - own.sum() / number) / (number - 1) / number
        seeds.append((float(one.values.var(ddof=1)) / number, number - 1))
        start += number
    return _sum([(max(patients, 0.0), model.patients - 1), *seeds], count, with_seeds=with_seeds)


def _sum(parts: Sequence[tuple[float, int]], resamples: int, *, with_seeds: bool) -> Uncertainty:
    """Add variances, each with its degrees of freedom, by Satterthwaite's approximation."""
    variance = sum(part for part, _ in parts)
    squares = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / squares if squares > 0 else float(parts[0][1])
    return Uncertainty(variance=variance, degrees=degrees, resamples=resamples, with_seeds=with_seeds)
