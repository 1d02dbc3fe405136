"""Speed of preparation against `gzip -dc` on the same files, and its peak memory for 5 and for 50 cases.

    python benchmarks/prepare.py --root ../shared/data/brats2019_sample --out benchmarks/results/prepare/prepare.json

One core each. gzip and preparation take turns, so that a noisy machine slows both; the ratio of each pair counts. The
50 cases are copies of the given ones under other names.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from anomalib_patchgan import BraTS2019

PROTOCOLS = ("slices", "tiles")
# The peak of this process alone: `ru_maxrss` would begin with that of the process that started it.
PEAK = """
import sys
from pathlib import Path
from anomalib_patchgan import BraTS2019
peak = lambda: next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
before = peak()
BraTS2019(sys.argv[1], cache_dir=sys.argv[2], workers=1).prepare()
print(before, peak())
"""


def time_gzip(files: list[Path]) -> float:
    """Seconds that gzip takes to inflate the files into nothing."""
    started = time.perf_counter()
    subprocess.run(["gzip", "-dc", *map(str, files)], stdout=subprocess.DEVNULL, check=True)  # noqa: S603, S607
    return time.perf_counter() - started


def time_prepare(root: Path, protocol: str, folder: Path | None) -> tuple[float, int]:
    """Seconds of one preparation into a new folder, and how many files it wrote."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        data = BraTS2019(root, protocol=protocol, cache_dir=cache, workers=1)
        started = time.perf_counter()
        data.prepare()
        return time.perf_counter() - started, sum(path.is_file() for path in Path(cache).rglob("*"))


def measure_speed(root: Path, pairs: int, folder: Path | None) -> dict[str, dict[str, float]]:
    """Ratio of speeds, 1 is as fast as gzip."""
    files = [path for kind in ("flair", "seg") for path in sorted(root.rglob(f"*_{kind}.nii.gz"))]
    results = {}
    for protocol in PROTOCOLS:
        time_prepare(root, protocol, folder)
        times = [(time_gzip(files), *time_prepare(root, protocol, folder)) for _ in range(pairs)]
        results[protocol] = {
            "ratio_median": statistics.median(gzip / own for gzip, own, _ in times),
            "ratio_min": min(gzip / own for gzip, own, _ in times),
            "ratio_max": max(gzip / own for gzip, own, _ in times),
            "gzip_seconds_median": statistics.median(gzip for gzip, _, _ in times),
            "prepare_seconds_median": statistics.median(own for _, own, _ in times),
            "files_written": times[0][2],
        }
    return results


def measure_memory(root: Path, count: int) -> dict[str, float]:
    """Peak memory of a process that prepares so many cases, and what it had before."""
    cases = sorted(path for path in root.glob("**/[HL]GG/*") if path.is_dir())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            source = cases[number % len(cases)]
            name = f"{source.name.rsplit('_', 1)[0]}_copy{number:03d}_1"
            target = Path(folder) / "archive/HGG" / name
            target.mkdir(parents=True)
            for kind in ("flair", "seg"):
                shutil.copy(source / f"{source.name}_{kind}.nii.gz", target / f"{name}_{kind}.nii.gz")
        command = [sys.executable, "-c", PEAK, f"{folder}/archive", f"{folder}/cache"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    before, peak = map(int, output.split()[-2:])
    return {"cases": count, "before_mib": before / 1024, "peak_mib": peak / 1024}


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="BraTS 2019 archive or its parent")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--folders", type=Path, nargs="*", default=[], help="write there, too, such as /dev/shm")
    args = parser.parse_args()
    result = {
        "command": "python " + " ".join(sys.argv),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("anomalib-patchgan", "nibabel", "numpy", "pillow")},
        "cases": sum(1 for path in args.root.glob("**/[HL]GG/*") if path.is_dir()),
        "pairs": args.pairs,
        "speed": {
            str(folder or tempfile.gettempdir()): measure_speed(args.root, args.pairs, folder)
            for folder in (None, *args.folders)
        },
        "memory": [measure_memory(args.root, count) for count in (5, 50)],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(args.out)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
