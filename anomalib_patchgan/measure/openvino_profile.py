"""Profiles exported models with OpenVINO; run by `cost.run_profile` in processes without torch.

    python -m anomalib_patchgan.measure.openvino_profile TASK < JSON

`TASK` is a key of `TASKS`; its arguments are read from standard input and its result is printed, both as JSON.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anomalib_patchgan.measure.cost import status_mib
from anomalib_patchgan.telemetry import block_telemetry

block_telemetry()

import openvino  # noqa: E402 - without its telemetry

WARMUP = 10
GEMM_SIDE = 1024
SECOND = 1000.0


def settings(threads: int, hint: str = "LATENCY", *, pinned: bool = True) -> dict[str, Any]:
    """Return what a model is compiled with: single precision, threads bound to the cores or not."""
    return {
        # Processors with bfloat16 would use it, and give other scores than torch.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": pinned,
    }


def fixed(xml: str, size: Sequence[int]) -> Any:  # noqa: ANN401 - openvino's model
    """Read a model for one image of a size."""
    model = openvino.Core().read_model(xml)
    model.reshape([1, 3, *size])
    return model


def image(size: Sequence[int]) -> np.ndarray:
    """Return the image that every model gets, `(1, 3, H, W)` float32 in [0, 1]."""
    return np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)


def latency(
    models: Mapping[str, str],
    size: Sequence[int],
    threads: int,
    repetitions: int,
    warmup: int = WARMUP,
    *,
    pinned: bool = True,
    own_sizes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, list[float]]:
    """Time models in turns, so that a noisy machine is noisy for all of them.

    Args:
        models: XML file of each by name.
        size: Height and width.
        threads: Threads.
        repetitions: Timed calls of each.
        warmup: Calls before them that are not timed.
        pinned: Whether threads are bound to cores. Beside other work they would wait there while another core is free.
        own_sizes: Height and width of models that get an image of another size, by name.

    Returns:
        Milliseconds of every call by name.
    """
    sizes = {name: (own_sizes or {}).get(name, size) for name in models}
    pixels = {name: image(own) for name, own in sizes.items()}
    core, options = openvino.Core(), settings(threads, pinned=pinned)
    requests = {
        name: core.compile_model(fixed(xml, sizes[name]), "CPU", options).create_infer_request()
        for name, xml in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(repetitions + warmup):
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer([pixels[name]])
            if turn >= warmup:
                times[name].append((time.perf_counter() - start) * SECOND)
    return times


def throughput(xml: str, size: Sequence[int], threads: int, seconds: float) -> dict[str, float]:
    """Count images per second of one model with asynchronous requests, on the devices CPU and AUTO."""
    pixels = image(size)
    found = {}
    options = {"CPU": settings(threads, "THROUGHPUT"), "AUTO": {"PERFORMANCE_HINT": "THROUGHPUT"}}
    for device, setting in options.items():
        queue = openvino.AsyncInferQueue(openvino.Core().compile_model(fixed(xml, size), device, setting))
        for _ in range(WARMUP):
            queue.start_async([pixels])
        queue.wait_all()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            queue.start_async([pixels])
            count += 1
        queue.wait_all()
        found[device] = count / (time.perf_counter() - start)
    return found


def first(xml: str, size: Sequence[int], threads: int) -> dict[str, float | None]:
    """Measure what a fresh process needs: milliseconds to the first result, and MiB of memory above the imports."""
    before = status_mib("VmRSS")
    pixels = image(size)
    start = time.perf_counter()
    openvino.Core().compile_model(fixed(xml, size), "CPU", settings(threads))([pixels])
    elapsed = (time.perf_counter() - start) * SECOND
    peak = status_mib("VmHWM")
    return {"first_ms": elapsed, "peak_mib": None if peak is None or before is None else peak - before}


def operations(xml: str, size: Sequence[int], threads: int, repetitions: int) -> dict[str, Any]:
    """Share a model's time among its kinds of operations, and compare its convolutions with a matrix product.

    Returns:
        `ms`: median milliseconds by kind, which ends with `, INT8` where the operation runs on bytes;
        `convolution_gflops` and `gemm_gflops`: billion operations per second of the convolutions and of NumPy's product
        of two matrices of 1024x1024, on the same threads.
    """
    model = fixed(xml, size)
    flops = sum(_convolution_flops(node) for node in model.get_ops() if "Convolution" in node.get_type_name())
    compiled = openvino.Core().compile_model(model, "CPU", {**settings(threads), "PERF_COUNT": True})
    request = compiled.create_infer_request()
    pixels = image(size)
    runs: list[dict[str, float]] = []
    for turn in range(repetitions + WARMUP):
        request.infer([pixels])
        kinds: dict[str, float] = {}
        for node in request.profiling_info:
            kind = f"{node.node_type}, INT8" if node.exec_type.endswith("I8") else node.node_type
            kinds[kind] = kinds.get(kind, 0.0) + node.real_time.total_seconds() * SECOND
        if turn >= WARMUP:
            runs.append(kinds)
    medians = {kind: float(np.median([run.get(kind, 0.0) for run in runs])) for kind in runs[-1]}
    medians = dict(sorted(((kind, ms) for kind, ms in medians.items() if ms), key=lambda item: -item[1]))
    convolution_ms = sum(ms for kind, ms in medians.items() if kind.startswith("Convolution"))
    return {
        "ms": medians,
        "convolution_gflops": flops / (convolution_ms or np.inf) / 1e6,
        "gemm_gflops": _gemm_gflops(repetitions),
    }


def _convolution_flops(node: Any) -> float:  # noqa: ANN401 - openvino's node
    """Multiplications and additions of a convolution."""
    weights = list(node.input(1).get_shape())
    return 2.0 * float(np.prod(list(node.output(0).get_shape()))) * float(np.prod(weights[1:]))


def _gemm_gflops(repetitions: int) -> float:
    square = np.random.default_rng(0).random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32)
    seconds = []
    for _ in range(max(repetitions // 5, 5)):
        start = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - start)
    return 2 * GEMM_SIDE**3 / float(np.median(seconds)) / 1e9


TASKS = {task.__name__: task for task in (latency, throughput, first, operations)}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]](**json.load(sys.stdin))))
