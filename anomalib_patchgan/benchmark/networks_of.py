"""The `networks_of` of a benchmark's YAML: a row that is evaluated with the networks that another row has trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.errors import ConfigurationError

if TYPE_CHECKING:
    from anomalib_patchgan.benchmark.plan import JobSpec


def find_sources(path: Path, jobs: Sequence["JobSpec"]) -> tuple["JobSpec", ...]:
    """Find the job whose networks each job takes over.

    Args:
        path: YAML file of the benchmark, for messages.
        jobs: All jobs.

    Returns:
        The jobs, those with `networks_of` with their `source`.

    Raises:
        ConfigurationError: There is no such job, or its networks are not those that this job would train.
    """
    return tuple(job if job.networks_of is None else replace(job, source=_find(path, job, jobs)) for job in jobs)


def _find(path: Path, job: "JobSpec", jobs: Sequence["JobSpec"]) -> "JobSpec":
    """Find the job that trains the networks of another one."""
    how = f"{path}: model {job.model!r} cannot take over the networks of {job.networks_of!r}"
    rows = [other for other in jobs if other.model == job.networks_of and other.model != job.model]
    if not rows:
        others = ", ".join(dict.fromkeys(other.model for other in jobs if other.model != job.model))
        msg = f"{how}, which is none of the other models: {others or 'there are none'}"
        raise ConfigurationError(msg)
    same = ((other.data, other.fold, other.seed) == (job.data, job.fold, job.seed) for other in rows)
    source = next((other for other, fits in zip(rows, same, strict=True) if fits), None)
    if source is None:
        where = ", ".join([job.data, *([job.fold] if job.fold else [])])
        msg = f"{how}, which is not trained on {where} with seed {job.seed}: give both the same data and seeds"
        raise ConfigurationError(msg)
    if source.networks_of is not None:
        msg = f"{how}, which trains none but takes over those of {source.networks_of!r}: name the row that trains"
        raise ConfigurationError(msg)
    for part in ("data_config", "trainer"):
        if vars(source)[part] != vars(job)[part]:
            msg = f"{how}: give both the same `{part.split('_')[0]}`"
            raise ConfigurationError(msg)
    trainer = job.trainer or {}
    epochs = trainer.get("max_epochs") or 0
    if not 0 < epochs <= trainer.get("check_val_every_n_epoch", 1) or trainer.get("val_check_interval") is not None:
        msg = (
            f"{how}: each would choose an epoch by its own scores; let the trainer of both validate after the last "
            f"epoch only (check_val_every_n_epoch equal to max_epochs)"
        )
        raise ConfigurationError(msg)
    return source
