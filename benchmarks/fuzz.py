"""Damaged files of every kind that is read from outside: counts what is accepted, refused, and what escapes.

    python benchmarks/fuzz.py --cases 10000 --out benchmarks/results/fuzz/fuzz.json

Anything but the plugin's own errors is printed with its kind and number, with which
`tests.data.fuzzing.run_case(kind, number)` repeats it, and the exit code is 1.
"""

import argparse
import logging
import os
import platform
import resource
import sys
import time
import traceback
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from anomalib_patchgan.files import write_json
from tests.data.fuzzing import ACCEPTED, KINDS, MAX_PEAK_BYTES, RUNNABLE, run_case

READERS = ("anomalib-patchgan", "nibabel", "numpy", "pandas", "pillow", "pydicom", "python-gdcm")


def resident_mib() -> float:
    """Largest memory of this process so far, with what C libraries took."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> int:
    """Run the cases, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if RUNNABLE != KINDS:
        parser.error("DICOM needs the extra dicom: pip install '.[dicom]'")

    # Skipped and repaired files are reported by the thousand.
    logging.disable(logging.WARNING)
    console = Console()
    # libtiff writes its own messages about each damaged file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    results: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    untyped: dict[str, list[int]] = defaultdict(list)
    peak, slowest = 0, 0.0
    for kind in KINDS:
        # The first case makes the valid files, which is not what is measured.
        run_case(kind, 0)
    before, started = resident_mib(), time.perf_counter()
    for index in track(range(args.cases), description="Fuzzing", console=console):
        kind, number = KINDS[index % len(KINDS)], args.first + index // len(KINDS)
        try:
            outcome = run_case(kind, number)
        except Exception as error:  # noqa: BLE001 - counting them is the purpose
            results[kind][f"untyped {type(error).__name__}"] += 1
            untyped[kind].append(number)
            console.print(f"run_case({kind!r}, {number}):")
            console.print(traceback.format_exc(limit=-4), markup=False, highlight=False, soft_wrap=True)
            continue
        results[kind][outcome.result] += 1
        peak, slowest = max(peak, outcome.peak_bytes), max(slowest, outcome.seconds)

    columns = sorted({result for counts in results.values() for result in counts} - {ACCEPTED})
    table = Table("kind", "cases", ACCEPTED, *columns, title=f"{args.cases} damaged files")
    for kind, counts in results.items():
        table.add_row(kind, *map(str, (counts.total(), *(counts[column] for column in (ACCEPTED, *columns)))))
    console.print(table)
    n_untyped = sum(map(len, untyped.values()))
    write_json(
        args.out,
        {
            "cases": args.cases,
            "first": args.first,
            "untyped_errors": n_untyped,
            "untyped_cases": untyped,
            "kinds": {kind: {"cases": counts.total(), **counts} for kind, counts in results.items()},
            "peak_mib": round(peak / 2**20, 2),
            "allowed_peak_mib": MAX_PEAK_BYTES / 2**20,
            "resident_growth_mib": round(resident_mib() - before, 1),
            "slowest_case_seconds": round(slowest, 2),
            "seconds": round(time.perf_counter() - started, 1),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "versions": {name: version(name) for name in READERS},
        },
    )
    console.print(f"{n_untyped} untyped errors, peak {peak / 2**20:.1f} MiB, written to {args.out}")
    return 1 if n_untyped else 0


if __name__ == "__main__":
    sys.exit(main())
