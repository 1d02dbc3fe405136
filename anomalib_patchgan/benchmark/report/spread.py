"""A metric over the seeds and folds of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomalib_patchgan.benchmark.report.load import Job


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the jobs of one model.

    Args:
        seed_means: Mean over the folds of each seed; empty when the metric is defined nowhere.
        jobs: Number of jobs in which it is defined.
        folds: Their folds.
        complete: The seeds in which it is defined in all of these folds. The others' means are over other patients.
    """

    seed_means: Mapping[int, float]
    jobs: int
    folds: frozenset[str]
    complete: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.seed_means.values())))

    @property
    def complete_means(self) -> list[float]:
        """Mean over the folds of each complete seed."""
        return [self.seed_means[seed] for seed in self.complete]

    @property
    def sd(self) -> float:
        """Standard deviation over the complete seeds; NaN for fewer than two."""
        return float(np.std(self.complete_means, ddof=1)) if len(self.complete) > 1 else float("nan")


def spread(jobs: Sequence[Job], metric: str, stratum: str, folds: frozenset[str] | None = None) -> Spread:
    """Average a metric over the folds of each seed.

    Args:
        jobs: Finished jobs of one model.
        metric: Name of the metric.
        stratum: Kind of lesions; "" for all.
        folds: Folds to take part; all by default.
    """
    values: dict[int, dict[str, list[float]]] = {}
    for result in (job.result for job in jobs if folds is None or job.result.fold in folds):
        value = (result.strata.get(stratum, {}) if stratum else result.metrics).get(metric)
        if value is not None:
            values.setdefault(result.seed, {}).setdefault(result.fold, []).append(value)
    defined = frozenset(fold for seed in values.values() for fold in seed)
    return Spread(
        # Two accelerators may have run the same seed and fold.
        seed_means={seed: float(np.mean([np.mean(one) for one in of.values()])) for seed, of in values.items()},
        jobs=sum(len(one) for of in values.values() for one in of.values()),
        folds=defined,
        complete=tuple(seed for seed, of in values.items() if of.keys() == defined),
    )
