"""What exported models cost on this machine's CPU, each measurement in a process without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.parallel import available_cores
from anomalib_patchgan.measure.cost import run_profile

SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one model costs.

    Args:
        mb: Size of graph and weights in 10**6 bytes.
        p50_ms: Median time of one image at batch 1.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        images_per_second: With asynchronous requests on the CPU, hint THROUGHPUT.
        images_per_second_auto: The same on the device AUTO.
        first_ms: Reading, compiling and the first image, in a fresh process.
        peak_mib: Memory of that above the imports; `None` where the system does not tell it.
    """

    mb: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    images_per_second: float
    images_per_second_auto: float
    first_ms: float
    peak_mib: float | None


def profile(
    models: Mapping[str, Path], size: tuple[int, int], threads: int | None = None, repetitions: int = 200
) -> dict[str, Cost]:
    """Measure models beside each other.

    Args:
        models: XML file of each, by name.
        size: Height and width of the image.
        threads: Threads; `None` for one per core.
        repetitions: Timed calls of each, in turns.

    Returns:
        Cost by name.

    Raises:
        PatchGanError: OpenVINO cannot run one.
    """
    common: dict[str, Any] = {"size": list(size), "threads": threads or available_cores()}
    paths = {name: str(path) for name, path in models.items()}
    times = run_profile("latency", models=paths, repetitions=repetitions, **common)
    costs = {}
    for name, path in paths.items():
        rates = run_profile("throughput", xml=path, seconds=SECONDS, **common)
        start = run_profile("first", xml=path, **common)
        p50, p95, p99 = (float(value) for value in np.percentile(times[name], [50, 95, 99]))
        costs[name] = Cost(
            mb=sum(Path(path).with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            images_per_second=rates["CPU"],
            images_per_second_auto=rates["AUTO"],
            first_ms=start["first_ms"],
            peak_mib=start["peak_mib"],
        )
    return costs
