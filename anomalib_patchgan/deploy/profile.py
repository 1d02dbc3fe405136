"""What exported models cost on this machine's CPU, each measurement in a process without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.measure.cost import run_profile
from anomalib_patchgan.processes import available_cores

SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one model costs.

    Args:
        mb: Size of graph and weights in 10**6 bytes.
        p50_ms: Median time of one image at batch 1.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        images_per_second: With asynchronous requests on the CPU, hint THROUGHPUT; `None` if that failed.
        images_per_second_auto: The same on the device AUTO.
        first_ms: Reading, compiling and the first image, in a fresh process.
        peak_mib: Memory of that above the imports; `None` where the system does not tell it.
    """

    mb: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    images_per_second: float | None
    images_per_second_auto: float | None
    first_ms: float
    peak_mib: float | None


def profile(
    models: Mapping[str, Path],
    size: tuple[int, int],
    threads: int | None = None,
    repetitions: int = 200,
    own_sizes: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[dict[str, Cost], dict[str, str]]:
    """Measure models beside each other; one that cannot be run does not stop the others.

    Args:
        models: XML file of each, by name.
        size: Height and width of the image.
        threads: Threads; `None` for one per core.
        repetitions: Timed calls of each, in turns.
        own_sizes: Height and width of models that get an image of another size, by name.

    Returns:
        Cost by name, and by name why a model could not be measured, or not to the end.
    """
    common: dict[str, Any] = {"threads": threads or available_cores()}
    sizes = {name: list((own_sizes or {}).get(name, size)) for name in models}
    costs: dict[str, Cost] = {}
    failed: dict[str, str] = {}
    starts: dict[str, Any] = {}
    # Alone first: in the process that times them in turns, one that cannot be run would take all others with it.
    for name, xml in models.items():
        if (start := _try(name, failed, "first", xml=str(xml), size=sizes[name], **common)) is not None:
            starts[name] = start
    paths = {name: str(models[name]) for name in starts}
    turns = {"models": paths, "size": list(size), "own_sizes": {name: sizes[name] for name in paths}}
    times = _try("", failed, "latency", repetitions=repetitions, **turns, **common) if paths else None
    if times is None:
        failed |= dict.fromkeys(paths, failed.pop("", "nothing could be run"))
        return costs, failed
    for name, path in paths.items():
        rates = _try(name, failed, "throughput", xml=path, size=sizes[name], seconds=SECONDS, **common) or {}
        p50, p95, p99 = (float(value) for value in np.percentile(times[name], [50, 95, 99]))
        costs[name] = Cost(
            mb=sum(Path(path).with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            images_per_second=rates.get("CPU"),
            images_per_second_auto=rates.get("AUTO"),
            first_ms=starts[name]["first_ms"],
            peak_mib=starts[name]["peak_mib"],
        )
    return costs, failed


def _try(name: str, failed: dict[str, str], task: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
    """Run a task, and note the reason where it fails."""
    try:
        return run_profile(task, **arguments)
    except PatchGanError as error:
        failed[name] = one_line(error)
        return None
