"""Exports a model in several forms and measures each on this machine's CPU: files, speed and accuracy."""

import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anomalib_patchgan.deploy import QUANTIZED, Compression
from anomalib_patchgan.deploy.edge_forms import FormExporter, make_plan
from anomalib_patchgan.deploy.edge_report import Row, write_edge_plot, write_edge_table
from anomalib_patchgan.deploy.model_card import describe, installed_versions
from anomalib_patchgan.deploy.rivals import Rival
from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.cost import run_profile
from anomalib_patchgan.outputs import writing

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

SECONDS = 3.0
# By how much the size of an export may change with versions of what exports it, which write the graph.
SIZE_TOLERANCE, SMALL_MB = 0.05, 0.1

logger = logging.getLogger(__name__)


def export_and_profile(
    module: "PluginModule",
    data: "AnomalibDataModule | None",
    out: Path,
    *,
    compressions: Sequence[Compression],
    named: bool,
    rivals: Mapping[str, Rival],
    remarks: Sequence[str],
    side: int | None,
    threads: int,
    repetitions: int,
) -> tuple[Mapping[str, Row], FormExporter]:
    """Export a model, measure every form, and write `edge.csv`, `edge.md`, `edge.png` and `edge.json`.

    A form or another model that fails is left out with a remark, and the others are measured.

    Args:
        module: Trained model.
        data: Data module, set up: validation images calibrate and decide, test images give the metrics; `None` for no
            metrics.
        out: Folder of the exports and of the table.
        compressions: Forms, see `anomalib_patchgan.deploy.Compression`.
        named: Whether the user named the forms: one that cannot be made is an error then, and left out otherwise.
        rivals: Other models to time, by name.
        remarks: What is to be said of them.
        side: Side of the timed image in pixels; `None` for the model's size.
        threads: Threads that are used.
        repetitions: Timed calls of each model.

    Returns:
        The table's rows by model, and the exports with what failed.

    Raises:
        PatchGanError: A form that was named cannot be made, single precision cannot be exported, or a file cannot be
            written.
    """
    size = (side, side) if side else describe(module).image_size
    exports = FormExporter(module, data, out, make_plan(module, data, compressions, named=named))
    exports.remarks += remarks
    # First, because this is where a model that does not take the size shows, and the rest takes minutes.
    others = _export_rivals(rivals, out / "rivals", size, exports.remarks)
    exports.export_all()
    own_sizes = {name: rival.size for name, rival in rivals.items() if rival.size}
    costs, failed = measure_costs(exports.models | others, size, threads, repetitions, own_sizes)
    exports.failed |= {name: reason for name, reason in failed.items() if name in exports.models}
    exports.remarks += [f"{name} could not be measured to the end: {reason}" for name, reason in failed.items()]
    qualities: dict[str, Row] = {name: asdict(accuracy) for name, accuracy in exports.accuracies.items()}
    qualities |= {name: rival.quality for name, rival in rivals.items() if rival.quality}
    rows = {
        name: {
            **costs.get(name, {}),
            **_relative(costs.get(name), costs.get("FP32")),
            **({"size": "x".join(map(str, own_sizes.get(name, size)))} if own_sizes else {}),
            **qualities.get(name, {}),
        }
        for name in dict.fromkeys([*exports.models, *rivals])
        if name in costs or name in qualities
    }
    exports.remarks += _unlike(rivals, costs)
    machine = f"{platform.machine()}, {threads} threads, OpenVINO {installed_versions()['openvino']}"
    which = f"Images of {size[0]}x{size[1]}" + (" or the size in the table" if own_sizes else "")
    measured = (
        f"{which} at batch 1, {repetitions} calls of each in turns; {machine}. All in float32 but AUTO, which takes "
        f"bfloat16 where the processor has it."
    )
    # Of the quantized forms the last one, which leaves most in float.
    quantized = [name for name in exports.models if name.startswith(QUANTIZED)][-1:]
    operations: dict[str, Any] = {}
    speeds = []
    for name in ("FP32", *quantized):
        operations[name], words = _operations(name, exports.models[name], size, threads, repetitions)
        speeds.append(words)
    report = {
        "machine": machine,
        "size": list(size),
        "repetitions": repetitions,
        "rows": rows,
        "operations": operations,
        "remarks": exports.remarks,
        "failed": exports.failed,
        "versions": installed_versions(),
    }
    with writing("the table", out):
        write_edge_table(rows, out, [measured, *speeds, *exports.remarks])
        write_edge_plot(rows, out)
        write_json(out / "edge.json", report)
    return rows, exports


def _export_rivals(
    rivals: Mapping[str, Rival], folder: Path, size: tuple[int, int], remarks: list[str]
) -> dict[str, Path]:
    found = {}
    for name, rival in rivals.items():
        logger.info("exporting %s", name)
        try:
            found[name] = rival.export(folder / rival.folder, rival.size or size)
            remarks += [rival.remark] if rival.remark else []
        except PatchGanError as error:
            remark = f"{name} is {'not timed' if rival.quality else 'left out'}: {one_line(error)}"
            logger.warning("%s", remark)
            remarks.append(remark)
    return found


def measure_costs(
    models: Mapping[str, Path],
    size: tuple[int, int],
    threads: int,
    repetitions: int,
    own_sizes: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Measure models beside each other, each in a process without torch; one that cannot be run stops no other.

    Args:
        models: XML file of each, by name.
        size: Height and width of the image.
        threads: Threads that are used.
        repetitions: Timed calls of each, in turns.
        own_sizes: Height and width of models that get an image of another size, by name.

    Returns:
        By name columns of the table: `mb`, graph and weights in 10**6 bytes; `p50_ms`, `p95_ms` and `p99_ms`, the time
        of one image at batch 1; `images_per_second` with asynchronous requests on the CPU, hint THROUGHPUT, and
        `images_per_second_auto` on the device AUTO, `None` if that failed; `first_ms`, reading, compiling and the first
        image in a fresh process; `peak_mib`, memory of that above the imports, `None` where the system does not tell
        it. And by name why a model could not be measured, or not to the end.
    """
    sizes = {name: list(own_sizes.get(name, size)) for name in models}
    costs: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}

    def attempt(name: str, task: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            return run_profile(task, threads=threads, **arguments)
        except PatchGanError as error:
            failed[name] = one_line(error)
            return None

    # Alone first: in the process that times them in turns, one that cannot be run would take all others with it.
    starts = {name: attempt(name, "first", xml=str(xml), size=sizes[name]) for name, xml in models.items()}
    paths = {name: str(models[name]) for name, start in starts.items() if start is not None}
    turns = {"models": paths, "size": list(size), "own_sizes": {name: sizes[name] for name in paths}}
    times = attempt("", "latency", repetitions=repetitions, **turns) if paths else None
    if times is None:
        failed |= dict.fromkeys(paths, failed.pop("", ""))
        return costs, failed
    for name, path in paths.items():
        rates = attempt(name, "throughput", xml=path, size=sizes[name], seconds=SECONDS) or {}
        p50, p95, p99 = (float(value) for value in np.percentile(times[name], [50, 95, 99]))
        costs[name] = {
            "mb": sum(models[name].with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 1e6,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "images_per_second": rates.get("CPU"),
            "images_per_second_auto": rates.get("AUTO"),
            "first_ms": starts[name]["first_ms"],
            "peak_mib": starts[name]["peak_mib"],
        }
    return costs, failed


def _relative(cost: Row | None, reference: Row | None) -> Row:
    """Return how many times as long as the reference a model takes, where both are known."""
    if not cost or not reference or not reference["p50_ms"]:
        return {}
    return {"p50_relative": cost["p50_ms"] / reference["p50_ms"]}


def _unlike(rivals: Mapping[str, Rival], costs: Mapping[str, Row]) -> list[str]:
    """Name the rivals whose export has not the size that it should have."""
    found = []
    for name, rival in rivals.items():
        expected, timed = rival.megabytes, costs.get(name, {}).get("mb")
        if expected and timed and abs(timed - expected) > max(SIZE_TOLERANCE * expected, SMALL_MB):
            found.append(
                f"The export of {name} that was timed has {timed:.2f} MB, that of the run had {expected:.2f}: what "
                f"it fits on the training images, or its code, is another."
            )
    return found


def _operations(
    name: str, xml: Path, size: tuple[int, int], threads: int, repetitions: int
) -> tuple[dict[str, Any] | None, str]:
    """Measure what the operations of an export cost, and say it in words."""
    try:
        kinds = run_profile("operations", xml=str(xml), size=list(size), threads=threads, repetitions=repetitions)
    except PatchGanError as error:
        return None, f"What {name}'s operations cost could not be measured: {one_line(error)}"
    convolution_ms = sum(ms for kind, ms in kinds["ms"].items() if kind.startswith("Convolution"))
    float_ms, all_ms = kinds["ms"].get("Convolution", 0.0), sum(kinds["ms"].values())
    in_float = f" ({float_ms:.2f} of it in float)" if float_ms < convolution_ms else ""
    return kinds, (
        f"Convolutions take {convolution_ms:.2f}{in_float} of the {all_ms:.2f} ms of {name}'s operations, at "
        f"{kinds['convolution_gflops']:.1f} GFLOP/s; NumPy's product of two 1024x1024 matrices on the same threads: "
        f"{kinds['gemm_gflops']:.1f} GFLOP/s."
    )
