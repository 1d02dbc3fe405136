"""One job of a benchmark, which always leaves a result on disk."""

import contextlib
import logging
import os
import platform
import subprocess
import time
import traceback
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from anomalib_patchgan.benchmark.plan import JobSpec
from anomalib_patchgan.benchmark.results import JobResult, write_job
from anomalib_patchgan.benchmark.train_and_test import measure
from anomalib_patchgan.errors import one_line

logger = logging.getLogger(__name__)

_PACKAGES = ("anomalib", "anomalib-patchgan", "lightning", "openvino", "scikit-learn", "timm", "torch")


def perform(spec: JobSpec, run_folder: Path, device: int = 0) -> JobResult:
    """Do a job in this process and write its result, also that it failed, unless only its networks are wanted.

    Unlike anomalib's job, it seeds before the model is built, chooses the checkpoint on validation data, measures
    scores as the model gives them, and builds its objects itself, so that a model that cannot be built fails alone.

    Args:
        spec: What to do.
        run_folder: Where the result goes.
        device: Index of the GPU.

    Returns:
        The numbers, or the error.
    """
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    numbers: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    scores = None
    try:
        numbers, scores = measure(spec, run_folder, device)
    except Exception as error:  # noqa: BLE001 - a model may raise anything; it is written and does not end the benchmark
        numbers["error"] = f"{type(error).__name__}: {one_line(error)}"
        environment["traceback"] = traceback.format_exception(error)[-8:]
    environment |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    result = describe(spec, environment=describe_machine(spec.accelerator) | environment, **numbers)
    if spec.keeps_result:
        write_job(run_folder, result, scores)
    elif result.error is not None:
        logger.error("the networks of %s could not be trained again: %s", spec.id, result.error)
    return result


def describe(spec: JobSpec, **numbers: Any) -> JobResult:  # noqa: ANN401 - of the fields of JobResult
    """Make the result of a job.

    Example:
        >>> spec = JobSpec(model="A", data="B", model_config={"class_path": "A"}, data_config={"class_path": "B"})
        >>> describe(spec, error="too little memory").error
        'too little memory'
    """
    return JobResult(
        id=spec.id,
        model=spec.model,
        data=spec.data,
        fold=spec.fold,
        seed=spec.seed,
        spec=spec.content,
        code=spec.code,
        **numbers,
    )


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
