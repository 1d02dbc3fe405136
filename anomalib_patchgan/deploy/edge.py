"""Exports a model in several forms and measures each: files, speed and accuracy."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.data.prepare.parallel import available_cores
from anomalib_patchgan.data.prepare.writing import write_json
from anomalib_patchgan.deploy.accuracy import Accuracy, compare, predict, read_test_images
from anomalib_patchgan.deploy.edge_table import write_edge_table
from anomalib_patchgan.deploy.export import XML, Compression, export_model
from anomalib_patchgan.deploy.model_card import installed_versions
from anomalib_patchgan.deploy.profile import profile
from anomalib_patchgan.deploy.rivals import export_rival
from anomalib_patchgan.measure.cost import run_profile

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.base import PluginModule

# What a quantized model may lose before its sensitive parts stay in float.
MAX_AUROC_LOSS, MAX_AP_LOSS = 0.01, 0.02


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """What is exported and how it is measured.

    Args:
        out: Folder of the exports and of the table.
        compressions: Forms, see `anomalib_patchgan.deploy.export.Compression`.
        rivals: Other models to time, see `anomalib_patchgan.deploy.rivals`.
        side: Side of the timed image in pixels; `None` for the model's size.
        threads: Threads; `None` for one per core.
        repetitions: Timed calls of each model.
    """

    out: Path
    compressions: Sequence[Compression] = ("FP32",)
    rivals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    side: int | None = None
    threads: int | None = None
    repetitions: int = 200


def export_and_profile(
    module: "PluginModule", data: "AnomalibDataModule | None", options: EdgeOptions
) -> dict[str, dict[str, float | None]]:
    """Export a model, measure every form, and write `edge.csv`, `edge.md`, `edge.png` and `edge.json`.

    Args:
        module: Trained model.
        data: Data module, set up: validation images calibrate, test images give the metrics; `None` for no metrics.
        options: See there.

    Returns:
        The table's rows by model.

    Raises:
        PatchGanError: A model cannot be exported or run, or a file cannot be written.
    """
    size = (options.side, options.side) if options.side else module.resized
    # First, because this is where a wrong setting shows, and the rest takes minutes.
    rivals = {
        name: export_rival(rival, options.out / "rivals" / name.replace(" ", "_"), size)
        for name, rival in options.rivals.items()
        if size
    }
    models, accuracies, remarks = export_all(module, data, options.out, options.compressions)
    assert size is not None  # or it could not have been exported
    paths = models | rivals
    threads = options.threads or available_cores()
    costs = profile(paths, size, threads, options.repetitions)
    kinds = run_profile(
        "operations", xml=str(models["FP32"]), size=list(size), threads=threads, repetitions=options.repetitions
    )
    rows = {
        name: asdict(cost) | (asdict(accuracies[name]) if name in accuracies else {}) for name, cost in costs.items()
    }
    machine = f"{platform.machine()}, {threads} threads, OpenVINO {installed_versions()['openvino']}"
    convolution_ms, all_ms = kinds["ms"].get("Convolution", 0.0), sum(kinds["ms"].values())
    speed = (
        f"Convolutions take {convolution_ms:.2f} of the {all_ms:.2f} ms of FP32's operations, at "
        f"{kinds['convolution_gflops']:.1f} GFLOP/s; NumPy's product of two 1024x1024 matrices on the same threads: "
        f"{kinds['gemm_gflops']:.1f} GFLOP/s."
    )
    measured = (
        f"Images of {size[0]}x{size[1]} at batch 1, {options.repetitions} calls of each in turns; {machine}. All in "
        f"float32 but AUTO, which takes bfloat16 where the processor has it."
    )
    write_edge_table(rows, options.out, [measured, speed, *remarks])
    report = {
        "machine": machine,
        "size": list(size),
        "repetitions": options.repetitions,
        "rows": rows,
        "operations": kinds,
        "remarks": remarks,
        "versions": installed_versions(),
    }
    write_json(options.out / "edge.json", report)
    return rows


def export_all(
    module: "PluginModule", data: "AnomalibDataModule | None", out: Path, compressions: Sequence[Compression]
) -> tuple[dict[str, Path], dict[str, Accuracy], list[str]]:
    """Export a model in several forms; one that loses too much is exported again with less of it quantized.

    Args:
        module: Trained model.
        data: Data module, set up; `None` for no metrics.
        out: Folder of the exports.
        compressions: Forms; `FP32`, which the others are compared with, is among them in any case.

    Returns:
        XML files and metrics by form, and remarks.
    """
    models: dict[str, Path] = {}
    accuracies: dict[str, Accuracy] = {}
    remarks: list[str] = []
    test = reference = None
    every: tuple[Compression, ...] = ("FP32", *compressions)
    for compression in dict.fromkeys(every):
        export_model(module, out / compression, compression, data)
        models[compression] = out / compression / XML
        if data is None or module.resized is None:
            continue
        test = test or read_test_images(data, module.resized)
        predicted = predict(models[compression], test)
        reference = reference or predicted
        accuracies[compression] = compare(predicted, reference, test)
        lost = losses(accuracies["FP32"], accuracies[compression])
        if compression.startswith("INT8_") and lost:
            name = f"{compression}, networks only"
            folder = out / f"{compression}_NETWORKS"
            export_model(module, folder, compression, data, networks_only=True)
            models[name] = folder / XML
            accuracies[name] = compare(predict(models[name], test), reference, test)
            still = losses(accuracies["FP32"], accuracies[name])
            verdict = f"still loses {still}, do not use it" if still else "is within the limits"
            remarks.append(
                f"{compression} loses {lost}, more than allowed: `{folder.name}` leaves the layers that see or make an "
                f"image, residual, ranking and map in float and {verdict}."
            )
    return models, accuracies, remarks


def losses(full: Accuracy, compressed: Accuracy) -> str:
    """Say what a compressed model loses beyond the limits; an empty text where it does not."""
    found = []
    for name, label, limit in (("image_AUROC", "image AUROC", MAX_AUROC_LOSS), ("pixel_AP", "pixel AP", MAX_AP_LOSS)):
        before, after = getattr(full, name), getattr(compressed, name)
        if before is not None and after is not None and before - after > limit:
            found.append(f"{before - after:.3f} {label}")
    return " and ".join(found)
