r"""Shares the time of `volume` on one case among reading, preparing, inference and writing.

    python benchmarks/volume_profile.py --model edge/FP32/model.xml --input CASE_flair.nii.gz \
        --out benchmarks/results/volume_profile/volume_profile.json

Python's profiler says how long the functions below take, in the run of median length of several; inference is the time
from the first slice that is asked for to the last map, in which the next slices are prepared beside it. The first case
of a process also waits for the model to be compiled. Memory is measured on Linux only.
"""

import argparse
import cProfile
import platform
import pstats
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
from rich.console import Console
from rich.table import Table

from anomalib_patchgan.deploy import VolumeInferencer
from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.cost import status_mib
from anomalib_patchgan.processes import available_cores

# Part of the work: file and name of the functions whose time it is, with all that they call.
PARTS = {
    "reading, inflating": ("volume_files.py", "load_volumes"),
    "preparing all slices": ("volume_recipe.py", "open"),
    "inference": ("predictor.py", "_run"),
    "ranking places": ("hot_spots.py", "find_hot_spots"),
    "compressing results": ("volume_result.py", "compress"),
}
OTHER = "everything else"


def seconds_of(profile: cProfile.Profile) -> dict[str, float]:
    """Return the seconds of each part, and of all of it."""
    statistics = pstats.Stats(profile)
    found = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in statistics.stats.items():  # type: ignore[attr-defined]
        for part, place in PARTS.items():
            if place == (Path(file).name, function):
                found[part] += cumulative
    total = statistics.total_tt  # type: ignore[attr-defined]
    return {**found, OTHER: total - sum(found.values()), "all": total}


def measure(model: Path, source: Path, repetitions: int) -> dict[str, Any]:
    """Process one case again and again."""
    start = time.perf_counter()
    inferencer = VolumeInferencer(model)
    compiled = time.perf_counter()
    runs, slices = [], 0
    for _ in range(repetitions):
        profile = cProfile.Profile()
        with tempfile.TemporaryDirectory() as folder:
            profile.enable()
            result = inferencer.predict(source)
            result.save(folder)
            profile.disable()
        slices = len(result.slice_scores)
        runs.append(seconds_of(profile))
    runs.sort(key=lambda run: run["all"])
    median = runs[len(runs) // 2]
    return {
        "compile_s": compiled - start,
        "slices_inferred": slices,
        "image_size": list(inferencer.predictor.card.image_size),
        "seconds": median,
        "share": {part: value / median["all"] for part, value in median.items()},
        "needed_share": (median["reading, inflating"] + median["inference"]) / median["all"],
        "fastest_s": runs[0]["all"],
        "slowest_s": runs[-1]["all"],
        "peak_mib": status_mib("VmHWM"),
    }


def main() -> None:
    """Profile, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model.xml or bundle")
    parser.add_argument("--input", type=Path, required=True, help="NIfTI file of a case")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        found = measure(args.model, args.input, args.repetitions)
    except PatchGanError as error:
        parser.error(one_line(error))
    table = Table("part", "s", "share", title=f"{found['slices_inferred']} slices of {args.input.name}")
    for part, seconds in found["seconds"].items():
        table.add_row(part, f"{seconds:.3f}", f"{found['share'][part]:.0%}")
    Console().print(table)
    result = {
        "case": args.input.name.removesuffix(".nii.gz"),
        "shape": [int(side) for side in nib.load(args.input).shape],
        "repetitions": args.repetitions,
        **found,
        "machine": f"{platform.machine()}, {available_cores()} cores",
        "versions": {name: version(name) for name in ("openvino", "numpy", "nibabel")},
    }
    write_json(args.out, result)


if __name__ == "__main__":
    main()
