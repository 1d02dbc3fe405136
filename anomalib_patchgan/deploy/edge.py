"""Exports a model in several forms and measures each: files, speed and accuracy."""

import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.deploy.edge_forms import FormExporter
from anomalib_patchgan.deploy.edge_plan import QUANTIZED, make_plan
from anomalib_patchgan.deploy.edge_plot import write_edge_plot
from anomalib_patchgan.deploy.edge_table import Row, write_edge_table
from anomalib_patchgan.deploy.export import Compression
from anomalib_patchgan.deploy.model_card import describe, installed_versions
from anomalib_patchgan.deploy.profile import Cost, profile
from anomalib_patchgan.deploy.rivals import Rival
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.cost import run_profile
from anomalib_patchgan.processes import available_cores

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

# By how much the size of an export may change with versions of what exports it, which write the graph.
SIZE_TOLERANCE, SMALL_MB = 0.05, 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """What is exported and how it is measured.

    Args:
        out: Folder of the exports and of the table.
        compressions: Forms, see `anomalib_patchgan.deploy.export.Compression`.
        named: Whether the user named the forms: one that cannot be made is an error then, and left out otherwise.
        rivals: Other models to time, by name.
        remarks: What is to be said of them.
        side: Side of the timed image in pixels; `None` for the model's size.
        threads: Threads; `None` for one per core.
        repetitions: Timed calls of each model.
    """

    out: Path
    compressions: Sequence[Compression] = ("FP32",)
    named: bool = True
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    side: int | None = None
    threads: int | None = None
    repetitions: int = 200


@dataclass(frozen=True, kw_only=True)
class EdgeResult:
    """What came out.

    Args:
        rows: The table's rows by model.
        failed: Why an export or its measurement failed, by its name.
        usable: XML file by form, see `FormExporter`.
    """

    rows: Mapping[str, Row]
    failed: Mapping[str, str]
    usable: Mapping[str, Path]


def export_and_profile(module: "PluginModule", data: "AnomalibDataModule | None", options: EdgeOptions) -> EdgeResult:
    """Export a model, measure every form, and write `edge.csv`, `edge.md`, `edge.png` and `edge.json`.

    A form or another model that fails is left out with a remark, and the others are measured.

    Args:
        module: Trained model.
        data: Data module, set up: validation images calibrate and decide, test images give the metrics; `None` for no
            metrics.
        options: See there.

    Returns:
        The table's rows, and what failed.

    Raises:
        PatchGanError: A form that was named cannot be made, single precision cannot be exported, or a file cannot be
            written.
    """
    height, width = describe(module).image_size
    size = (options.side, options.side) if options.side else (height, width)
    plan = make_plan(module, data, options.compressions, named=options.named)
    exports = FormExporter(module, data, options.out, plan)
    exports.remarks += [*plan.remarks, *options.remarks]
    # First, because this is where a model that does not take the size shows, and the rest takes minutes.
    rivals = _export_rivals(options, size, exports.remarks)
    exports.export_all()
    threads = options.threads or available_cores()
    own_sizes = {name: rival.size for name, rival in options.rivals.items() if rival.size}
    costs, failed = profile(exports.models | rivals, size, threads, options.repetitions, own_sizes)
    exports.failed |= {name: reason for name, reason in failed.items() if name in exports.models}
    exports.remarks += [f"{name} could not be measured to the end: {reason}" for name, reason in failed.items()]
    qualities = {name: asdict(accuracy) for name, accuracy in exports.accuracies.items()}
    qualities |= {name: dict(rival.quality) for name, rival in options.rivals.items() if rival.quality}
    rows = {
        name: (asdict(costs[name]) | _relative(costs[name], costs.get("FP32")) if name in costs else {})
        | ({"size": "x".join(map(str, own_sizes.get(name, size)))} if own_sizes else {})
        | qualities.get(name, {})
        for name in dict.fromkeys([*exports.models, *options.rivals])
        if name in costs or name in qualities
    }
    exports.remarks += _unlike(options.rivals, costs)
    machine = f"{platform.machine()}, {threads} threads, OpenVINO {installed_versions()['openvino']}"
    which = f"Images of {size[0]}x{size[1]}" + (" or the size in the table" if own_sizes else "")
    measured = (
        f"{which} at batch 1, {options.repetitions} calls of each in turns; {machine}. All in "
        f"float32 but AUTO, which takes bfloat16 where the processor has it."
    )
    # Of the quantized forms the last one, which leaves most in float.
    quantized = [name for name in exports.models if name.startswith(QUANTIZED)][-1:]
    operations: dict[str, Any] = {}
    speeds = []
    for name in ("FP32", *quantized):
        operations[name], words = _operations(name, exports.models[name], size, threads, options.repetitions)
        speeds.append(words)
    remarks = [measured, *speeds, *exports.remarks]
    report = {
        "machine": machine,
        "size": list(size),
        "repetitions": options.repetitions,
        "rows": rows,
        "operations": operations,
        "remarks": exports.remarks,
        "failed": exports.failed,
        "versions": installed_versions(),
    }
    try:
        write_edge_table(rows, options.out, remarks)
        write_edge_plot(rows, options.out)
        write_json(options.out / "edge.json", report)
    except OSError as error:
        msg = f"the table cannot be written to {options.out} ({error.strerror or error}): check space and permissions."
        raise DataError(msg) from error
    return EdgeResult(rows=rows, failed=exports.failed, usable=exports.usable)


def _export_rivals(options: EdgeOptions, size: tuple[int, int], remarks: list[str]) -> dict[str, Path]:
    rivals = {}
    for name, rival in options.rivals.items():
        logger.info("exporting %s", name)
        try:
            rivals[name] = rival.export(options.out / "rivals" / rival.folder, rival.size or size)
            remarks += [rival.remark] if rival.remark else []
        except PatchGanError as error:
            remark = f"{name} is {'not timed' if rival.quality else 'left out'}: {one_line(error)}"
            logger.warning("%s", remark)
            remarks.append(remark)
    return rivals


def _relative(cost: Cost, reference: Cost | None) -> dict[str, float]:
    """Return how many times as long as the reference a model takes."""
    return {} if reference is None or not reference.p50_ms else {"p50_relative": cost.p50_ms / reference.p50_ms}


def _unlike(rivals: Mapping[str, Rival], costs: Mapping[str, Cost]) -> list[str]:
    """Name the rivals whose export has not the size that it should have."""
    found = []
    for name, rival in rivals.items():
        expected, cost = rival.megabytes, costs.get(name)
        if cost is not None and expected and abs(cost.mb - expected) > max(SIZE_TOLERANCE * expected, SMALL_MB):
            found.append(
                f"The export of {name} that was timed has {cost.mb:.2f} MB, that of the run had {expected:.2f}: what "
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
