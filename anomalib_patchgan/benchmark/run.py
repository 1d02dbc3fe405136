"""Runs the jobs of a benchmark that have no result yet: each in a process of its own, at most one per device.

A loop of its own and not anomalib's runners: their pool ends with the first job that is killed.
"""

import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from anomalib_patchgan.benchmark import job
from anomalib_patchgan.benchmark.job_spec import JobSpec, canonical
from anomalib_patchgan.benchmark.results import JOBS, read_job, read_jobs, write_job
from anomalib_patchgan.benchmark.shared_networks import networks_file
from anomalib_patchgan.processes import end_with_parent

logger = logging.getLogger(__name__)

KILLED = "the job's process was killed; most likely it ran out of memory"


def run_jobs(specs: Sequence[JobSpec], run_folder: Path, *, force: bool = False) -> None:
    """Run what is missing; a job that fails or is killed has its result, too, and ends no other.

    Args:
        specs: All jobs of the benchmark.
        run_folder: Where results go.
        force: Do again what has a result; the old one stays until the new one replaces it.
    """
    missing = with_networks([spec for spec in specs if force or not is_finished(run_folder, spec)], run_folder)
    for accelerator in dict.fromkeys(spec.accelerator for spec in missing):
        mine = [spec for spec in missing if spec.accelerator == accelerator]
        run_on_devices(mine, specs, run_folder, devices_of(accelerator))


def with_networks(missing: Sequence[JobSpec], run_folder: Path) -> list[JobSpec]:
    """Let jobs write the networks that others take over.

    Args:
        missing: The jobs to do.
        run_folder: Where networks lie.

    Returns:
        These jobs, and before them those that have a result and whose networks are wanted and not there any more.
    """
    sources = {spec.source.id: spec.source for spec in missing if spec.source}
    known = {spec.id for spec in missing}
    lost = [one for name, one in sources.items() if name not in known and not networks_file(run_folder, one).is_file()]
    for source in lost:
        logger.info("%s trains again, for jobs that take over its networks; its result stays", source.id)
    again = [replace(source, keeps_networks=True, keeps_result=False) for source in lost]
    return again + [replace(spec, keeps_networks=spec.id in sources) for spec in missing]


def devices_of(accelerator: str) -> list[int]:
    """Number the devices of an accelerator: all GPUs, or the CPU as one."""
    return list(range(max(torch.cuda.device_count(), 1))) if accelerator == "cuda" else [0]


def run_on_devices(
    specs: Sequence[JobSpec], every: Sequence[JobSpec], run_folder: Path, devices: Sequence[int]
) -> None:
    """Run jobs, one on each device at a time.

    Args:
        specs: The jobs, in their order.
        every: All jobs of the benchmark, some of which may have measured the costs of a model already.
        run_folder: Where results go.
        devices: Numbers of the devices; on a CPU they only say how many jobs run at a time.
    """
    waiting = list(specs)
    running: dict[int, tuple[BaseProcess, JobSpec]] = {}
    context = _context()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("jobs", total=len(waiting))
        try:
            while waiting or running:
                for device in devices:
                    spec = _next(waiting, [started for _, started in running.values()])
                    if device not in running and spec is not None:
                        waiting.remove(spec)
                        running[device] = _start(context, spec, every, run_folder, device)
                wait([process.sentinel for process, _ in running.values()])
                for device, (process, spec) in list(running.items()):
                    if process.exitcode is not None:
                        del running[device]
                        _finish(process, spec, run_folder)
                        progress.advance(task)
        finally:
            for process, _ in running.values():
                process.terminate()


def is_finished(run_folder: Path, spec: JobSpec) -> bool:
    """Tell whether a job has a result; a failed one has not.

    Raises:
        DataError: Its file is of another version.
    """
    result = read_job(run_folder / JOBS / f"{spec.id}.json")
    return result is not None and result.error is None and (run_folder / JOBS / f"{spec.id}.npz").is_file()


def accept_older_code(specs: Sequence[JobSpec], run_folder: Path) -> tuple[JobSpec, ...]:
    """Let finished results of older code of a model count.

    Args:
        specs: All jobs of the benchmark.
        run_folder: Where results lie.

    Returns:
        The jobs; one without a result has the code, and by it the name, of its newest finished result with exactly the
        same settings, if there is one.

    Raises:
        DataError: A file is of another version.
    """
    newest_first = sorted(read_jobs(run_folder), key=lambda one: str(one.environment.get("started")), reverse=True)
    codes: dict[str, list[Mapping[str, str]]] = {}
    for result in newest_first:
        codes.setdefault(canonical(result.spec), []).append(result.code)
    accepted = []
    for spec in specs:
        candidates = [spec, *(replace(spec, code=code) for code in codes.get(canonical(spec.content), []))]
        accepted.append(next((one for one in candidates if is_finished(run_folder, one)), spec))
    return tuple(accepted)


def costs_are_known(run_folder: Path, spec: JobSpec, every: Sequence[JobSpec]) -> bool:
    """Tell whether a finished job of the same model and data has measured what the model costs."""
    same = (other for other in every if (other.model, other.data) == (spec.model, spec.data))
    results = (read_job(run_folder / JOBS / f"{other.id}.json") for other in same)
    return any(result is not None and "parameters" in result.cost for result in results)


def _next(waiting: Sequence[JobSpec], running: Sequence[JobSpec]) -> JobSpec | None:
    """Choose the first job that does not have to wait for networks; `None` if all have to."""
    unfinished = {spec.id for spec in (*waiting, *running)}
    return next((spec for spec in waiting if spec.source is None or spec.source.id not in unfinished), None)


def _context() -> BaseContext:
    """Choose how processes are started."""
    # A server that imports everything once and forks for each job; forking this process, in which torch may have
    # started threads, could hang.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([job.__name__])
    return context


def _start(
    context: BaseContext, spec: JobSpec, every: Sequence[JobSpec], run_folder: Path, device: int
) -> tuple[BaseProcess, JobSpec]:
    """Start a job; a later one measures the costs when the first of its model failed."""
    logger.info("%s", spec.id)
    spec = replace(spec, measure_cost=spec.measure_cost or not costs_are_known(run_folder, spec, every))
    process = context.Process(target=_work, args=(spec, run_folder, device))  # type: ignore[attr-defined] # every context has it
    process.start()
    return process, spec


def _work(spec: JobSpec, run_folder: Path, device: int) -> None:
    """Do a job in its own process; an end of the benchmark ends it, so that no job goes on unseen."""
    end_with_parent()
    job.perform(spec, run_folder, device)


def _finish(process: BaseProcess, spec: JobSpec, run_folder: Path) -> None:
    """Look how a job's process ended; one that was killed has written nothing."""
    process.join()
    if process.exitcode and not spec.keeps_result:
        logger.error("the networks of %s could not be trained again: %s", spec.id, KILLED)
        return
    if process.exitcode:
        write_job(run_folder, job.make_result(spec, error=KILLED), None)
    result = read_job(run_folder / JOBS / f"{spec.id}.json")
    if result is not None and result.error is not None:
        logger.error("%s failed: %s", spec.id, result.error)
