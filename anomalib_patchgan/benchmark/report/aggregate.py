"""From jobs to numbers of models: means, spread, intervals and tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from anomalib_patchgan.benchmark.report.merge import Comparison, Job
from anomalib_patchgan.benchmark.report.resampling import FEWEST_FOR_INTERVAL, FEWEST_FOR_TEST, Resampler
from anomalib_patchgan.measure.statistics import holm, interval, paired_p_value

NAN = float("nan")
TIDY_COLUMNS = ["data", "fold", "model", "seed", "status", "error", "kind", "stratum", "metric", "value"]


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One metric of one model over its jobs; NaN where there is none.

    Args:
        data: Name of the data.
        model: Name of the model.
        stratum: Kind of lesions; "" for all.
        metric: Name of the metric.
        jobs: Number of jobs in which it is defined.
        seeds: Number of their seeds.
        folds: Number of their folds.
        mean: Mean over the folds of each seed, then over seeds.
        sd: Standard deviation over the seeds of the means over folds.
        low: Lower bound of the 95 % interval over patients.
        high: Upper bound.
        difference: Mean minus that of the reference on the folds that both have.
        difference_low: Lower bound of its 95 % interval over patients.
        difference_high: Upper bound.
        p: Two-sided p-value of the paired bootstrap against the reference.
        p_holm: The same after Holm's correction for the number of rivals.
    """

    data: str
    model: str
    stratum: str
    metric: str
    jobs: int
    seeds: int
    folds: int
    mean: float
    sd: float
    low: float = NAN
    high: float = NAN
    difference: float = NAN
    difference_low: float = NAN
    difference_high: float = NAN
    p: float = NAN
    p_holm: float = NAN


def tidy(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """List every number of every job; a failed job is one row with its error, an undefined number none.

    Returns:
        Rows with `data`, `fold`, `model`, `seed`, `status`, `error`, `kind`, `stratum`, `metric` and `value`.
    """
    rows = []
    for comparison in comparisons:
        for job in comparison.jobs:
            result = job.result
            head = [result.data, result.fold, result.model, result.seed]
            if result.error is not None:
                rows.append([*head, "failed", result.error, "", "", "", ""])
                continue
            groups = [
                ("metric", "", result.metrics),
                *(("stratum", stratum, values) for stratum, values in result.strata.items()),
                ("cost", "", result.cost),
                ("training", "", result.training),
            ]
            rows += [
                [*head, "finished", "", kind, stratum, name, _text(value)]
                for kind, stratum, values in groups
                for name, value in values.items()
                if value is not None
            ]
    return pd.DataFrame(rows, columns=TIDY_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the jobs of one model.

    Args:
        seed_means: Mean over the folds of each seed; empty when the metric is defined nowhere.
        jobs: Number of jobs in which it is defined.
        folds: Number of their folds.
    """

    seed_means: tuple[float, ...]
    jobs: int
    folds: int

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.seed_means))

    @property
    def sd(self) -> float:
        """Standard deviation over seeds; NaN for a single one."""
        return float(np.std(self.seed_means, ddof=1)) if len(self.seed_means) > 1 else NAN


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
    return Spread(
        # Two accelerators may have run the same seed and fold.
        seed_means=tuple(float(np.mean([np.mean(one) for one in seed.values()])) for seed in values.values()),
        jobs=sum(len(one) for seed in values.values() for one in seed.values()),
        folds=len({fold for seed in values.values() for fold in seed}),
    )


def aggregate_model(
    comparison: Comparison, model: str, resampler: Resampler, reference: Resampler | None
) -> list[Aggregate]:
    """Aggregate all metrics of one model, without Holm's correction.

    Args:
        comparison: Its jobs and those of the reference.
        model: Name of the model.
        resampler: The model's raw scores.
        reference: Those of the reference; `None` for the reference itself, or without one.

    Returns:
        One for each stratum and metric that is defined in at least one job.
    """
    jobs = comparison.finished(model)
    rivals = comparison.finished(comparison.reference) if reference and comparison.reference else []
    folds = resampler.folds & reference.folds if reference else frozenset()
    same = reference is not None and resampler.tested_as(reference, folds)
    found = []
    for stratum, metric in _names(jobs):
        over = spread(jobs, metric, stratum)
        if not over.jobs:
            continue
        one = Aggregate(
            data=comparison.data,
            model=model,
            stratum=stratum,
            metric=metric,
            jobs=over.jobs,
            seeds=len(over.seed_means),
            folds=over.folds,
            mean=over.mean,
            sd=over.sd,
        )
        if resampler.can(metric, stratum) and resampler.patients(resampler.folds) >= FEWEST_FOR_INTERVAL:
            low, high = interval(resampler.values(metric, stratum, resampler.folds, over.mean))
            one = replace(one, low=max(low, 0.0), high=min(high, 1.0))
        mine, other = (spread(group, metric, stratum, folds) for group in (jobs, rivals))
        if reference and same and mine.jobs and other.jobs:
            one = replace(one, difference=mine.mean - other.mean)
            patients = resampler.patients(folds)
            both = resampler.can(metric, stratum) and reference.can(metric, stratum)
            if both and patients >= FEWEST_FOR_INTERVAL:
                theirs = reference.values(metric, stratum, folds, other.mean)
                ours = resampler.values(metric, stratum, folds, mine.mean)
                low, high = interval(ours - theirs)
                p = paired_p_value(theirs, ours) if patients >= FEWEST_FOR_TEST else NAN
                one = replace(one, difference_low=low, difference_high=high, p=p)
        found.append(one)
    return found


def correct(aggregates: Sequence[Aggregate]) -> list[Aggregate]:
    """Apply Holm's correction over the rivals of each data, stratum and metric."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, one in enumerate(aggregates):
        groups.setdefault((one.data, one.stratum, one.metric), []).append(index)
    corrected = list(aggregates)
    for indices in groups.values():
        for index, p_holm in zip(indices, holm([aggregates[index].p for index in indices]), strict=True):
            corrected[index] = replace(aggregates[index], p_holm=p_holm)
    return corrected


def to_csv(table: pd.DataFrame) -> bytes:
    """Write a table as CSV in UTF-8, with six decimals at most."""
    return table.round(6).to_csv(index=False, lineterminator="\n").encode()


def as_table(aggregates: Sequence[Aggregate]) -> pd.DataFrame:
    """Put the aggregates into a table, a column for each of their attributes."""
    return pd.DataFrame([vars(one) for one in aggregates], columns=list(Aggregate.__dataclass_fields__))


def _names(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Stratum and metric of all numbers of some jobs."""
    metrics = [("", metric) for job in jobs for metric in job.result.metrics]
    strata = [(name, metric) for job in jobs for name, values in job.result.strata.items() for metric in values]
    return list(dict.fromkeys([*metrics, *strata]))


def _text(value: object) -> str:
    """Write a value of a job; ten digits tell numbers apart without the noise of rounding."""
    return f"{value:.10g}" if isinstance(value, float) and np.isfinite(value) else str(value)
