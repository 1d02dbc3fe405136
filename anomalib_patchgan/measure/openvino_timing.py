"""Times an exported model with OpenVINO; run by `cost.openvino_latency` in a process that imports no torch.

    python -m anomalib_patchgan.measure.openvino_timing MODEL.xml HEIGHT WIDTH THREADS REPETITIONS WARMUP

Prints the fields of `cost.Latency` as JSON.
"""

import json
import sys
from dataclasses import asdict

import numpy as np
import openvino

from anomalib_patchgan.measure.cost import Latency, measure_latency


def time_model(xml: str, height: int, width: int, threads: int, repetitions: int, warmup: int) -> Latency:
    """Time a model.

    Args:
        xml: The export's XML file, with its BIN file beside it.
        height: Height of its input.
        width: Width of its input.
        threads: Number of threads.
        repetitions: Number of timed calls.
        warmup: Number of calls before them that are not timed.
    """
    settings = {
        # Processors with bfloat16 would use it, and give other scores than torch.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # Bound to a core, it would wait there for whoever else works on it while another core is free.
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(xml, "CPU", settings).create_infer_request()
    pixels = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    return measure_latency(lambda: request.infer([pixels]), repetitions=repetitions, warmup=warmup)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(time_model(sys.argv[1], *map(int, sys.argv[2:])))))
