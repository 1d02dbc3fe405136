"""One job of a benchmark: in a process of its own, and always with a result on disk."""

import contextlib
import logging
import multiprocessing
import os
import platform
import subprocess
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from anomalib.pipelines.benchmark.job import BenchmarkJob

from anomalib_patchgan.benchmark.plan import JobSpec
from anomalib_patchgan.benchmark.results import JobResult, write_job
from anomalib_patchgan.benchmark.train_and_test import measure
from anomalib_patchgan.errors import PatchGanError, one_line

logger = logging.getLogger(__name__)

_PACKAGES = ("anomalib", "anomalib-patchgan", "lightning", "openvino", "scikit-learn", "timm", "torch")


class RawScoreBenchmarkJob(BenchmarkJob):
    """anomalib's benchmark job, with raw scores, seeds that work and results that survive.

    Unlike anomalib's, it seeds before the model is built, chooses the checkpoint on validation data, measures scores as
    the model gives them, and its result is written at once. A job builds its objects itself, so that a model that
    cannot be built fails alone, and it works in a process of its own: one that runs out of memory fails alone, too, and
    none changes the memory of the next.

    Args:
        spec: What to do.
        run_folder: Where the result goes.
    """

    def __init__(self, spec: JobSpec, run_folder: Path) -> None:
        # The base class wants the objects themselves.
        super().__init__(spec.accelerator, None, None, spec.seed, spec.content)  # type: ignore[arg-type]
        self.spec = spec
        self.run_folder = run_folder

    def run(self, task_id: int | None = None) -> dict[str, Any]:
        """Run the job and write its result, also that it failed.

        Args:
            task_id: Index of the GPU when several run at the same time, each in a process already.

        Returns:
            Id and image AUROC, for anomalib's log.

        Raises:
            PatchGanError: Whatever went wrong, after it has been written.
        """
        logger.info("%s", self.spec.id)
        result = self._run_apart() if task_id is None else perform(self.spec, self.run_folder, task_id)
        if result.error is not None:
            logger.error("%s failed: %s", self.spec.id, result.error)
            raise PatchGanError(result.error)
        return {"id": self.spec.id, "image_AUROC": result.metrics["image_AUROC"]}

    def _run_apart(self) -> JobResult:
        """Run the job in a process of its own."""
        # A server that imports everything once and forks for each job; forking this process, in which torch may have
        # started threads, could hang.
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(1, mp_context=context, initializer=_die_with_parent) as executor:
            try:
                return executor.submit(perform, self.spec, self.run_folder).result()
            except BrokenProcessPool:
                result = _describe(self.spec, error="the job's process was killed; most likely it ran out of memory")
        write_job(self.run_folder, result, None)
        return result

    @staticmethod
    def collect(results: list[dict[str, Any]]) -> pd.DataFrame:
        """Put results side by side; unlike anomalib's, for any mix of models and for none at all."""
        return pd.DataFrame(results)

    @staticmethod
    def save(result: pd.DataFrame) -> None:
        """Do nothing: every job has written its own result."""


def perform(spec: JobSpec, run_folder: Path, task_id: int | None = None) -> JobResult:
    """Do a job in this process and write its result, also that it failed.

    Args:
        spec: What to do.
        run_folder: Where the result goes.
        task_id: Index of the GPU; `None` for the only one, or for the CPU.

    Returns:
        The numbers, or the error.
    """
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    numbers: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    scores = None
    try:
        numbers, scores = measure(spec, task_id)
    except Exception as error:  # noqa: BLE001 - a model may raise anything; it is written and does not end the benchmark
        numbers["error"] = f"{type(error).__name__}: {one_line(error)}"
        environment["traceback"] = traceback.format_exception(error)[-8:]
    environment |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    result = _describe(spec, environment=describe_machine(spec.accelerator) | environment, **numbers)
    write_job(run_folder, result, scores)
    return result


def _describe(spec: JobSpec, **numbers: Any) -> JobResult:  # noqa: ANN401 - of the fields of JobResult
    """Make the result of a job."""
    return JobResult(
        id=spec.id, model=spec.model, data=spec.data, fold=spec.fold, seed=spec.seed, spec=spec.content, **numbers
    )


def _die_with_parent() -> None:
    """End this process when the benchmark is killed, so that no job goes on unseen."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def describe_machine(accelerator: str) -> dict[str, Any]:
    """Describe the machine and the versions of what ran."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "machine": torch.cuda.get_device_name()
        if accelerator == "cuda" and torch.cuda.is_available()
        else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": accelerator,
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": versions,
    }


def _commit() -> str | None:
    """Name the commit of this package where it runs from a checkout, with `-dirty` if files differ from it."""
    checkout = Path(__file__).parents[2]
    # Installed into an environment inside somebody else's checkout, the commit would be theirs.
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()  # noqa: S603 - no shell
    return None


def _processor() -> str:
    """Name the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
