"""From jobs to numbers of models: means, spread, intervals and tests."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from anomalib_patchgan.benchmark.report.load import Comparison
from anomalib_patchgan.benchmark.report.resampling import FEWEST_FOR_TEST, Resampler, spread
from anomalib_patchgan.measure.statistics import holm
from anomalib_patchgan.measure.uncertainty import FEWEST_FOR_INTERVAL, Uncertainty, uncertainty

NAN = float("nan")
# What an interval is over, beside the patients.
WITH_SEEDS, PATIENTS_ONLY = "patients and seeds", "patients only"
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
        sd: Standard deviation over the seeds of the means over folds; seeds that miss a fold are left out.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        interval_over: What that interval is over: `patients and seeds`, or `patients only`; "" without an interval.
        difference: Mean minus that of the reference on the folds that both have.
        difference_low: Lower bound of its 95 % interval.
        difference_high: Upper bound.
        difference_over: What that interval is over.
        p: Two-sided p-value of the difference; none for one seed, of the model or of the reference.
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
    interval_over: str = ""
    difference: float = NAN
    difference_low: float = NAN
    difference_high: float = NAN
    difference_over: str = ""
    p: float = NAN
    p_holm: float = NAN


def tidy(comparisons: Iterable[Comparison]) -> bytes:
    """List every number of every job as CSV; a failed job is one row with its error, an undefined number none.

    Returns:
        The columns `data`, `fold`, `model`, `seed`, `status`, `error`, `kind`, `stratum`, `metric` and `value`.
    """
    rows: list[list[Any]] = []
    for result in (job.result for comparison in comparisons for job in comparison.jobs):
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
    return _to_csv(TIDY_COLUMNS, rows)


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
    metrics = [("", metric) for job in jobs for metric in job.result.metrics]
    strata = [(name, metric) for job in jobs for name, values in job.result.strata.items() for metric in values]
    found = []
    for stratum, metric in dict.fromkeys([*metrics, *strata]):
        over = spread(jobs, metric, stratum)
        if not over.jobs:
            continue
        can = resampler.can(metric, stratum)
        numbers: dict[str, Any] = {}
        if can and resampler.sample_size(metric, over.folds) >= FEWEST_FOR_INTERVAL:
            known = uncertainty(resampler.trainings(metric, stratum, over))
            low, high = known.interval(over.mean)
            numbers = {"low": max(low, 0.0), "high": min(high, 1.0), "interval_over": _over(known)}
        folds = over.folds & spread(rivals, metric, stratum).folds
        if reference and folds and resampler.images(folds) == reference.images(folds):
            mine, other = (spread(group, metric, stratum, folds) for group in (jobs, rivals))
            difference = numbers["difference"] = mine.mean - other.mean
            patients = resampler.sample_size(metric, folds)
            if can and reference.can(metric, stratum) and patients >= FEWEST_FOR_INTERVAL:
                pair = (group.trainings(metric, stratum, of) for group, of in ((resampler, mine), (reference, other)))
                known = uncertainty(*pair)
                low, high = known.interval(difference)
                numbers |= {"difference_low": low, "difference_high": high, "difference_over": _over(known)}
                numbers["p"] = known.p_value(difference) if patients >= FEWEST_FOR_TEST else NAN
        found.append(
            Aggregate(
                data=comparison.data,
                model=model,
                stratum=stratum,
                metric=metric,
                jobs=over.jobs,
                seeds=len(over.seed_means),
                folds=len(over.folds),
                mean=over.mean,
                sd=over.sd,
                **numbers,
            )
        )
    return found


def correct(aggregates: Sequence[Aggregate]) -> list[Aggregate]:
    """Apply Holm's correction over the rivals of each data, stratum and metric."""
    groups: dict[tuple[str, str, str], list[Aggregate]] = {}
    for one in aggregates:
        groups.setdefault((one.data, one.stratum, one.metric), []).append(one)
    corrected = {key: iter(holm([one.p for one in group])) for key, group in groups.items()}
    return [replace(one, p_holm=next(corrected[one.data, one.stratum, one.metric])) for one in aggregates]


def tabulate(aggregates: Sequence[Aggregate]) -> bytes:
    """Write the aggregates as CSV, a column for each of their attributes."""
    return _to_csv([field.name for field in fields(Aggregate)], [list(vars(one).values()) for one in aggregates])


def _to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Write a table as CSV in UTF-8, with six decimals at most and nothing for NaN."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_decimals(value) if isinstance(value, float) else value for value in row] for row in rows)
    return text.getvalue().encode()


def _decimals(value: float) -> float | str:
    return "" if np.isnan(value) else float(np.round(value, 6))


def _over(known: Uncertainty) -> str:
    return "" if np.isnan(known.variance) else WITH_SEEDS if known.with_seeds else PATIENTS_ONLY


def _text(value: object) -> str:
    """Write a value of a job; ten digits tell numbers apart without the noise of rounding."""
    return f"{value:.10g}" if isinstance(value, float) and np.isfinite(value) else str(value)
