"""Latency and file size of a checkpoint as PyTorch and as OpenVINO FP32, FP16 and INT8, on this machine's CPU.

    python benchmarks/latency.py --model CKPT --out benchmarks/results/latency

Batch 1. The models take turns, so that a noisy machine is noisy for all of them: read the ratios.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino
import torch
from anomalib.deploy import CompressionType
from anomalib.engine import Engine
from rich.console import Console
from rich.table import Table
from torch import nn

from anomalib_patchgan import PatchGan
from anomalib_patchgan.cli.options import add_renamed
from anomalib_patchgan.deploy.predictor import load_checkpoint
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.models.patchgan.evidence import Restoration
from anomalib_patchgan.version import ONNX_OPSET

FORMATS = {"OpenVINO FP32": None, "OpenVINO FP16": CompressionType.FP16, "OpenVINO INT8": CompressionType.INT8}

ALONE = "OpenVINO FP32, R alone"


def exported(module: PatchGan, folder: Path, size: int, compression: CompressionType | None = None) -> Path:
    """Export for square images and return the graph's file."""
    xml = Engine(logger=False).export(
        module,
        export_type="openvino",
        export_root=folder,
        input_size=(size, size),
        compression_type=compression,
        onnx_kwargs={"opset_version": ONNX_OPSET},
    )
    return Path(str(xml))


def file_size(xml: Path) -> int:
    """Bytes of an OpenVINO model: graph and weights."""
    return xml.stat().st_size + xml.with_suffix(".bin").stat().st_size


def compiled(xml: Path) -> Callable[[np.ndarray], object]:
    """Model compiled for latency, in float32 where the CPU would silently use bfloat16."""
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(xml, "CPU", hints)


def main() -> None:
    """Export, time in turns, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_renamed(parser, "--model", "--ckpt_path", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256, help="side of the input image in pixels")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    try:
        module = load_checkpoint(args.model)
    except PatchGanError as error:
        parser.error(str(error))
    image = np.random.default_rng(0).random((1, 3, args.size, args.size), dtype=np.float32)
    runners: dict[str, Callable[[np.ndarray], object]] = {}
    # What inference needs of the checkpoint, which also holds the optimizers.
    networks = [module.model.reconstructor, *([module.model.discriminator] if module.model.asks_discriminator else [])]
    sizes = {"PyTorch": sum(value.nbytes for network in networks for value in network.state_dict().values())}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, compression in FORMATS.items():
            xml = exported(module, Path(folder) / name.replace(" ", "_"), args.size, compression)
            sizes[name], runners[name] = file_size(xml), compiled(xml)
        others = [evidence for evidence in module.model.evidences if type(evidence) is not Restoration]
        if others:
            # The same weights with R alone: what the other evidences cost.
            evidences = module.model.evidences
            module.model.evidences = nn.ModuleList(e for e in evidences if type(e) is Restoration)
            xml = exported(module, Path(folder) / "alone", args.size)
            sizes[ALONE], runners[ALONE] = file_size(xml), compiled(xml)
            module.model.evidences = evidences
        tensor = torch.from_numpy(image)
        module.eval()
        runners["PyTorch"] = lambda _: module(tensor)
        milliseconds: dict[str, list[float]] = {name: [] for name in runners}
        for turn in range(args.repetitions + 10):
            for name, run in runners.items():
                started = time.perf_counter()
                run(image)
                if turn >= 10:  # noqa: PLR2004 - warm-up
                    milliseconds[name].append(1e3 * (time.perf_counter() - started))

    rows = {
        name: {
            "p50_ms": round(float(np.percentile(times, 50)), 2),
            "p95_ms": round(float(np.percentile(times, 95)), 2),
            "bytes": sizes[name],
        }
        for name, times in milliseconds.items()
    }
    table = Table("model", "p50 ms", "p95 ms", "kB", title=f"{args.size}x{args.size}, batch 1")
    for name, row in rows.items():
        table.add_row(name, str(row["p50_ms"]), str(row["p95_ms"]), f"{row['bytes'] / 1e3:.0f}")
    Console().print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    result = {
        "size": args.size,
        "repetitions": args.repetitions,
        "parameters_R": sum(p.numel() for p in module.model.reconstructor.parameters()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("anomalib", "torch", "openvino", "nncf")},
        "rows": rows,
    }
    (args.out / "latency.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
