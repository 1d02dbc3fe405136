"""Running one function over many jobs in parallel processes, with one progress bar."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.memory import keep_freed_memory
from anomalib_patchgan.processes import available_cores, end_with_parent

Result = TypeVar("Result")


class _RateColumn(ProgressColumn):
    """Cases per second."""

    def render(self, task: Task) -> Text:
        """Show the rate, if there is one yet."""
        return Text(f"{task.speed:.2f}/s" if task.speed else "", style="progress.data.speed")


def run_parallel(
    function: Callable[..., Result],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    description: str = "",
) -> list[Result]:
    """Call a function once per job, showing a progress bar with rate and remaining time when somebody is watching.

    Args:
        function: A module-level function; it must not use torch, because workers are forked on Linux.
        jobs: Its arguments, once per call.
        workers: Processes; `None` takes one per available core, 1 stays in this process.
        description: Stands before the bar.

    Returns:
        The results in the order of the jobs.

    Raises:
        DataError: A worker process was killed.
        Exception: The first one that a call raises; jobs that have not begun are given up.
    """
    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn()),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    workers = min(workers or available_cores(), len(jobs))
    if workers <= 1:
        with progress:
            return [function(*job) for job in progress.track(jobs, description=description)]

    pool = ProcessPoolExecutor(workers, mp_context=_context(), initializer=_start_worker)
    try:
        # Submitted before the bar starts its thread: the first submission forks.
        futures = [pool.submit(function, *job) for job in jobs]
        with progress:
            for future in progress.track(as_completed(futures), len(futures), description=description):
                future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        msg = "A worker process was ended from outside, probably for want of memory: start again with fewer workers."
        raise DataError(msg) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    # A spawned worker imports anomalib again, which takes long, and runs the user's script again, which fails without a
    # `__main__` guard. Forking is what DataLoader workers do at every epoch, and is safe here for the same reason:
    # workers use NumPy, SciPy and PIL, and never touch torch's threads or the GPU.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _start_worker() -> None:
    keep_freed_memory()
    end_with_parent()
