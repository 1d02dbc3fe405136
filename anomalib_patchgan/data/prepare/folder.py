"""Preparing a whole folder: what is missing is made in parallel processes, then the manifest is written."""

import hashlib
import json
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anomalib_patchgan.data.prepare.writing import (
    PreparedSlice,
    count_files,
    read_case,
    read_json,
    write_case,
    write_json,
)
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.version import __version__

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


def folder_name(generator: str, parameters: Mapping[str, Any]) -> str:
    """Name the folder of one set of parameters, so that other parameters never meet its files.

    Args:
        generator: Short name of what makes the slices.
        parameters: JSON-able parameters that determine every pixel.

    Returns:
        `generator` with eight hexadecimal digits of the SHA-256 of the parameters.

    Example:
        >>> folder_name("phantom", {"seed": 0}) == folder_name("phantom", {"seed": 1})
        False
    """
    text = json.dumps([FORMAT_VERSION, generator, dict(parameters)], sort_keys=True)
    return f"{generator}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def prepare_folder(
    root: Path,
    *,
    cases: Sequence[str],
    make_case: Callable[[str], Iterable[PreparedSlice]],
    generator: str,
    parameters: Mapping[str, Any],
    workers: int | None = None,
) -> dict[str, Any]:
    """Bring a prepared folder to completion, making only the cases that are not yet there.

    Args:
        root: Prepared folder; the parameters should be part of its name, see `folder_name`.
        cases: Names of all cases.
        make_case: Makes the slices of a case. A module-level function or a `functools.partial` of one, because
            other processes call it; its result may depend on nothing but its arguments.
        generator: Short name of what makes the slices.
        parameters: JSON-able parameters that determine every pixel.
        workers: Processes; `None` takes one per available core, 1 stays in this process.

    Returns:
        The manifest: format version, generator, parameters, package version, counts per split and label, and
        the names of the cases.

    Raises:
        ConfigurationError: `workers` is below 1, or `root` was prepared with other parameters.
    """
    if workers is not None and workers < 1:
        msg = f"workers must be at least 1, or none for one per core, got {workers}."
        raise ConfigurationError(msg)
    head = {"format_version": FORMAT_VERSION, "generator": generator, "parameters": dict(parameters)}
    manifest = read_json(root / MANIFEST)
    if manifest is not None and {key: manifest.get(key) for key in head} != head:
        msg = f"{root} was prepared with other parameters (see {root / MANIFEST}): choose another folder or delete it."
        raise ConfigurationError(msg)

    missing = [case for case in cases if read_case(root, case) is None]
    if manifest is not None and not missing and manifest["cases"] == list(cases):
        return manifest
    logger.info("Preparing %d of %d cases in %s", len(missing), len(cases), root)
    _make_cases(root, missing, make_case, workers or _available_cores())

    files = [name for case in cases for name in read_case(root, case) or ()]
    manifest = head | {"package_version": __version__, "counts": count_files(files), "cases": list(cases)}
    write_json(root / MANIFEST, manifest)
    return manifest


def _make_cases(
    root: Path, cases: Sequence[str], make_case: Callable[[str], Iterable[PreparedSlice]], workers: int
) -> None:
    """Make and write cases, showing one progress bar when somebody is watching."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    if min(workers, len(cases)) <= 1:
        with progress:
            for case in progress.track(cases, description=f"Preparing {root.name}"):
                write_case(root, case, make_case(case))
        return

    pool = ProcessPoolExecutor(min(workers, len(cases)), mp_context=_context(), initializer=_end_with_parent)
    try:
        # Submitted before the bar starts its thread: the first submission forks.
        futures: list[Future[None]] = [pool.submit(_write_one, root, case, make_case) for case in cases]
        with progress:
            for future in progress.track(as_completed(futures), len(futures), description=f"Preparing {root.name}"):
                future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_one(root: Path, case: str, make_case: Callable[[str], Iterable[PreparedSlice]]) -> None:
    write_case(root, case, make_case(case))


def _context() -> multiprocessing.context.BaseContext:
    # A spawned worker imports anomalib again (about 8 s) and runs the user's script again, which fails without a
    # `__main__` guard. Forking is what DataLoader workers do at every epoch, and is safe here for the same reason:
    # workers use NumPy, SciPy and PIL, and never touch torch's threads or the GPU.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _end_with_parent() -> None:
    """End this worker when its parent is killed: it would otherwise wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _available_cores() -> int:
    # A container or a job scheduler may allow fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
