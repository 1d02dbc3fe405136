"""What a model costs: parameters, operations, memory and the time of one image on the CPU."""

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomalib_patchgan.errors import DatasetNotFoundError, PatchGanError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from typing_extensions import Self

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
# Resets the peak resident memory; see proc_pid_clear_refs(5).
RESET_PEAK = "5"


class Latency(NamedTuple):
    """Time of one call.

    Attributes:
        p50_ms: Median in milliseconds.
        p95_ms: 95th percentile in milliseconds.
    """

    p50_ms: float
    p95_ms: float


def count_parameters(module: "nn.Module") -> int:
    """Count the parameters of a module, trained or frozen, without its buffers.

    Example:
        >>> from torch import nn
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in module.parameters())


def count_flops(module: "nn.Module", image: "Tensor") -> int:
    """Count the floating-point operations of a forward pass with torch's counter.

    A multiplication and an addition count as two. Only matrix products, convolutions and attention count, which leaves
    out distances to a memory bank. The module is left in evaluation mode.

    Args:
        module: Model that takes an image.
        image: Batch of one, `(1, C, H, W)`.

    Returns:
        Number of operations.

    Example:
        >>> import torch
        >>> count_flops(torch.nn.Conv2d(3, 4, kernel_size=1), torch.zeros(1, 3, 8, 8))
        1536
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(image)
    return int(counter.get_total_flops())


class PeakMemory:
    """Measure the most memory that the process held above what it held at the start.

    `mib` is set on leaving: resident memory in MiB, without child processes such as the workers of a data loader;
    `None` where the system cannot reset its peak, as outside Linux. Not to be nested: entering resets the outer peak.

    Example:
        >>> with PeakMemory() as memory:
        ...     block = bytearray(1 << 20)
        >>> memory.mib is None or memory.mib >= 0
        True
    """

    def __init__(self) -> None:
        self.mib: float | None = None
        self._start: float | None = None

    def __enter__(self) -> "Self":
        """Reset the peak."""
        if platform.libc_ver()[0] == "glibc":
            # Memory that an earlier job freed, and `keep_freed_memory` kept, would be used again unseen.
            ctypes.CDLL(None).malloc_trim(0)
        try:
            CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
            self._start = status_mib("VmRSS")
        except OSError:
            self._start = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Read the peak."""
        peak = None if self._start is None else status_mib("VmHWM")
        self.mib = None if peak is None or self._start is None else max(0.0, peak - self._start)


def measure_latency(call: Callable[[], object], repetitions: int = 50, warmup: int = 5) -> Latency:
    """Time a call.

    Args:
        call: What to time.
        repetitions: Number of timed calls, at least 1.
        warmup: Number of calls before them that are not timed.

    Example:
        >>> measure_latency(lambda: time.sleep(0.002), repetitions=3).p50_ms > 1
        True
    """
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    p50, p95 = np.percentile(seconds, [50, 95])
    return Latency(p50_ms=float(p50) * 1000, p95_ms=float(p95) * 1000)


def torch_latency(module: "nn.Module", image: "Tensor", repetitions: int = 50, warmup: int = 5) -> Latency:
    """Time the forward pass of a module on the CPU with torch's current number of threads.

    Args:
        module: Model on the CPU; it is left in evaluation mode.
        image: Batch of one, `(1, C, H, W)`.
        repetitions: Number of timed calls, at least 1.
        warmup: Number of calls before them that are not timed.

    Example:
        >>> import torch
        >>> torch_latency(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8), repetitions=3).p95_ms > 0
        True
    """
    import torch

    module.eval()
    with torch.inference_mode():
        return measure_latency(lambda: module(image), repetitions=repetitions, warmup=warmup)


def openvino_latency(xml: Path, size: tuple[int, int], threads: int, repetitions: int = 50, warmup: int = 5) -> Latency:
    """Time an exported model with OpenVINO on the CPU, in single precision and in a process of its own.

    Where torch has worked before, its threads wait for more work and take the processor from OpenVINO's.

    Args:
        xml: The export's XML file, with its BIN file beside it.
        size: Height and width of the model's input.
        threads: Number of threads.
        repetitions: Number of timed calls, at least 1.
        warmup: Number of calls before them that are not timed.

    Raises:
        DatasetNotFoundError: There is no such file.
        PatchGanError: OpenVINO cannot run it.
    """
    if not xml.is_file():
        msg = f"There is no OpenVINO model at {xml}: export the model first."
        raise DatasetNotFoundError(msg)
    times = run_profile(
        "latency", models={"model": str(xml)}, size=list(size), threads=threads, repetitions=repetitions, warmup=warmup,
        pinned=False,
    )  # fmt: skip
    p50, p95 = np.percentile(times["model"], [50, 95])
    return Latency(p50_ms=float(p50), p95_ms=float(p95))


def run_profile(task: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
    """Run a task of `anomalib_patchgan.measure.openvino_profile` in a process of its own, without torch.

    Raises:
        PatchGanError: It failed.
    """
    threads = str(arguments["threads"])
    # NumPy's product shall use as many threads as OpenVINO.
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    command = [sys.executable, "-m", "anomalib_patchgan.measure.openvino_profile", task]
    finished = subprocess.run(  # noqa: S603 - no shell
        command, input=json.dumps(arguments), capture_output=True, text=True, check=False, env=os.environ | limits
    )
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        msg = f"OpenVINO cannot run the task {task} ({reason}): export the models again."
        raise PatchGanError(msg)
    return json.loads(finished.stdout)


def status_mib(name: str) -> float | None:
    """A size of the process in MiB, such as `VmRSS`; `None` where the system does not tell it."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), None)
