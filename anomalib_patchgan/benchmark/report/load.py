"""Reads run folders and puts together the jobs that belong to one comparison."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalib_patchgan.benchmark.job_spec import slug
from anomalib_patchgan.benchmark.results import JOBS, JobResult, JobScores, read_run, read_scores
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError

# Of a list of jobs in a note.
NAMES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, the run folder it lies in, and whether it counts although its model's code has changed since."""

    run: Path
    result: JobResult
    older_code: bool = False

    def scores(self) -> JobScores:
        """Read the raw scores.

        Raises:
            DatasetNotFoundError: There are none.
            DataError: They are damaged.
        """
        return read_scores(self.run / JOBS / f"{self.result.id}.npz")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All jobs on data of one name.

    Args:
        data: Name of the data.
        slug: The name as part of a file's name, unique in the report.
        jobs: In the order of the tables: by model, then fold, then seed.
        reference: Model that the others are tested against; `None` for no tests.
        commands: The commands of the runs.
        notes: What a reader of the tables has to know.
    """

    data: str
    slug: str
    jobs: tuple[Job, ...]
    reference: str | None
    commands: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """Models with a finished job, in the order of the tables."""
        return list(dict.fromkeys(job.result.model for job in self.jobs if job.result.error is None))

    @property
    def failed(self) -> list[JobResult]:
        """Jobs that did not finish."""
        return [job.result for job in self.jobs if job.result.error is not None]

    def finished(self, model: str) -> list[Job]:
        """Finished jobs of a model."""
        return [job for job in self.jobs if job.result.error is None and job.result.model == model]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What several runs hold.

    Args:
        name: Names of the runs.
        comparisons: One for each name of data, in the order in which they come.
        notes: Jobs left out or not run yet.
    """

    name: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def merge_runs(runs: Sequence[Path], reference: str | None = None) -> Merged:
    """Read runs and sort their jobs by the name of their data.

    A job that several runs hold counts once; one that failed in one run and finished in another has finished. Jobs of
    an earlier version of a run's configuration are left out.

    Args:
        runs: Run folders, at least one.
        reference: Model that the others are tested against; by default what the runs say.

    Raises:
        ConfigurationError: No run is given, two runs hold different results of one job or different settings of one
            model, seed and fold, maps were measured at different sizes, or no data have the reference.
        DatasetNotFoundError: A folder holds no run or no job.
        DataError: A job's file is not usable.
    """
    if not runs:
        msg = "No run folder is given: name at least one --out of `benchmark`."
        raise ConfigurationError(msg)
    jobs: dict[str, Job] = {}
    descriptions: dict[Path, Mapping[str, Any]] = {}
    notes: list[str] = []
    for run in dict.fromkeys(runs):
        description, results = read_run(run)
        wanted = description.get("jobs", [result.id for result in results])
        kept = [result for result in results if result.id in wanted]
        if not kept:
            msg = f"No job in {run.absolute() / JOBS} is of the configuration in its run.json: run the benchmark again."
            raise DatasetNotFoundError(msg)
        if len(kept) < len(results):
            notes.append(f"{len(results) - len(kept)} jobs of earlier settings or code in {run.name} are left out.")
        if missing := [name for name in wanted if name not in {result.id for result in kept}]:
            notes.append(f"Not run yet, {len(missing)} of {len(wanted)} jobs of {run.name}: {list_some(missing)}.")
        descriptions[run] = description
        for result in kept:
            older = result.id in description.get("older_code", [])
            jobs[result.id] = _choose(jobs.get(result.id), Job(run=run, result=result, older_code=older))
    _check_settings(jobs.values())
    _check_sizes(jobs.values())
    models = {job.result.model for job in jobs.values()}
    if reference is not None and reference not in models:
        msg = f"The reference {reference!r} is none of the models: {', '.join(sorted(models))}"
        raise ConfigurationError(msg)
    groups: dict[str, list[Job]] = {}
    for job in jobs.values():
        groups.setdefault(job.result.data, []).append(job)
    slugs = _unique_slugs(groups)
    names = dict.fromkeys(str(one.get("name") or run.name) for run, one in descriptions.items())
    return Merged(
        name=", ".join(names),
        comparisons=tuple(
            _compare(data, slugs[data], group, descriptions, reference) for data, group in groups.items()
        ),
        notes=tuple(notes),
    )


def list_some(names: Sequence[str]) -> str:
    """List names, no more than a note has room for.

    Example:
        >>> list_some(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    return ", ".join([*names[:NAMES_SHOWN], *(["..."] if len(names) > NAMES_SHOWN else [])])


def _compare(
    data: str,
    slug: str,
    jobs: Sequence[Job],
    descriptions: Mapping[Path, Mapping[str, Any]],
    reference: str | None,
) -> Comparison:
    order = list(dict.fromkeys(model for one in descriptions.values() for model in one.get("models", [])))
    ranks = {model: rank for rank, model in enumerate(order)}

    def place(job: Job) -> tuple[int, str, str, int, str]:
        one = job.result
        return ranks.get(one.model, len(ranks)), one.model, one.fold, one.seed, one.id

    own = {run: one for run, one in descriptions.items() if any(job.run == run for job in jobs)}
    finished = {job.result.model for job in jobs if job.result.error is None}
    wishes = [reference] if reference else [one.get("reference") for one in own.values()]
    chosen = next((wish for wish in wishes if wish in finished), None)
    notes = []
    if chosen is None and any(wishes):
        wished = ", ".join(dict.fromkeys(wish for wish in wishes if wish))
        notes.append(f"The reference {wished} has no finished job on these data: no model is tested against it.")
    return Comparison(
        data=data,
        slug=slug,
        jobs=tuple(sorted(jobs, key=place)),
        reference=chosen,
        commands=tuple(dict.fromkeys(str(one["command"]) for one in own.values() if one.get("command"))),
        notes=tuple(notes),
    )


def _choose(first: Job | None, second: Job) -> Job:
    """Choose between two results of one job."""
    if first is None or first.result.error is not None:
        return second
    if second.result.error is None and _numbers(first.result) != _numbers(second.result):
        msg = f"{first.run} and {second.run} hold different results of the job {first.result.id}: report one of them."
        raise ConfigurationError(msg)
    return first


def _numbers(result: JobResult) -> str:
    return json.dumps([result.metrics, result.strata, result.thresholds], sort_keys=True)


def _check_settings(jobs: Iterable[Job]) -> None:
    """Refuse to average over different settings of one name."""
    seen: dict[tuple[Any, ...], Job] = {}
    for job in jobs:
        result = job.result
        key = (result.data, result.model, result.fold, result.seed, result.spec.get("accelerator"))
        other = seen.setdefault(key, job)
        if other is not job:
            msg = (
                f"{other.run} and {job.run} hold {result.model} on {result.data}, seed {result.seed}, with different "
                f"settings ({other.result.id}, {result.id}): give one of the two another name, or report them apart."
            )
            raise ConfigurationError(msg)


def _check_sizes(jobs: Iterable[Job]) -> None:
    """Refuse to compare maps of different sizes: small lesions are other shares of them."""
    seen: dict[str, tuple[list[int], str]] = {}
    for result in (job.result for job in jobs if job.result.metrics.get("pixel_AUROC") is not None):
        own = [int(result.cost.get(f"image_{side}") or 0) for side in ("height", "width")]
        size = result.spec.get("evaluation_size") or own
        first, model = seen.setdefault(result.data, (size, result.model))
        if first != size:
            msg = (
                f"{model} and {result.model} on {result.data} were compared with masks of different sizes ({first} and "
                f"{size}): run the benchmark with evaluation_size, or report them apart."
            )
            raise ConfigurationError(msg)


def _unique_slugs(names: Iterable[str]) -> dict[str, str]:
    slugs: dict[str, str] = {}
    for name in names:
        base = slug(name) or "data"
        numbered = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
        slugs[name] = next(one for one in numbered if one not in slugs.values())
    return slugs
