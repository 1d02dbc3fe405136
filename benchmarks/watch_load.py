"""Drops many cases into a watched folder at once, kills the watch again and again, and counts what was lost.

    python benchmarks/watch_load.py --model edge/FP32/model.xml --out benchmarks/results/watch/load.json

A quarter of the kills come while the watch starts, the others while it processes cases. What it leaves is compared,
byte by byte, with what `volume --input` makes of the same folder without a kill. The exit code is 1 if anything is
lost, done twice, or other than that. Memory is measured on Linux only.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent))

from anomalib_patchgan.files import read_json, write_json
from tests.fakes.volumes import make_voxels, write_volume

PROGRAM = [sys.executable, "-m", "anomalib_patchgan", "volume"]
# Longer than any start or case takes.
PATIENCE_S = 300.0
DAMAGED = "damaged"
# What must be 0.
WRONG = ("lost", "done_twice", "different", "results_without_a_case", "exit_code")


@dataclass
class Load:
    """A watch that is killed.

    Args:
        model: What `--model` gets.
        folder: Empty folder to work in.
        settle_s: What `--settle` gets.
        interval_s: What `--interval` gets.

    Attributes:
        done: Inode and time of each record at the first time that it was there.
        redone: Cases whose record was there and is another one now.
        process: The last one that was started.
        peak_mib: Largest memory of a process.
    """

    model: Path
    folder: Path
    settle_s: float = 0.5
    interval_s: float = 0.2
    done: dict[str, tuple[int, int]] = field(default_factory=dict)
    redone: set[str] = field(default_factory=set)
    peak_mib: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the watch."""
        more = ["--watch", "in", "--out", "out", "--settle", str(self.settle_s), "--interval", str(self.interval_s)]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the command that is measured
                [*PROGRAM, "--model", str(self.model.absolute()), *more], cwd=self.folder, stdout=log, stderr=log
            )
        return self.process

    def status(self) -> dict[str, Any]:
        """Return what the watch says of itself."""
        return read_json(self.folder / "out" / "status.json") or {}

    def wait_until(self, process: subprocess.Popen[bytes], **wanted: object) -> dict[str, Any]:
        """Wait until the status of this process says something."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = self.status()
            if found.get("pid") == process.pid and all(found.get(key) == value for key, value in wanted.items()):
                return found
            if process.poll() is not None:
                break
            time.sleep(0.01)
        msg = f"the watch never said {wanted}, but {self.status()}: {(self.folder / 'log.txt').read_text()[-2000:]}"
        raise RuntimeError(msg)

    def look(self) -> None:
        """Note which records are there, and whether one was written again."""
        for path in (self.folder / "out").glob("[!.]*.json"):
            if path.name != "status.json":
                status = path.stat()
                mark = status.st_ino, status.st_mtime_ns
                if self.done.setdefault(path.stem, mark) != mark:
                    self.redone.add(path.stem)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the watch, and note what it has done."""
        self.note_memory(process)
        process.kill()
        process.wait()
        self.look()

    def close(self) -> None:
        """Leave no process behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def note_memory(self, process: subprocess.Popen[bytes]) -> None:
        """Note the largest memory of the process so far (Linux)."""
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return
        found = [int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:")]
        self.peak_mib = max([self.peak_mib, *found])


def run_load(model: Path, folder: Path, cases: int, kills: int, damaged: int = 2, seed: int = 0) -> dict[str, Any]:
    """Run one load.

    Args:
        model: Model of one modality, `flair`, by its card.
        folder: Empty folder to work in.
        cases: How many cases are dropped at once.
        kills: How often the watch is killed.
        damaged: How many files are dropped beside that are no volumes.
        seed: Of the kills.

    Returns:
        What was found; how many cases or files are wrong in each way of `WRONG`, and their names in `wrong`.
    """
    _make_cases(folder / "made", cases, damaged)
    (folder / "in").mkdir()
    load = Load(model, folder)
    try:
        found = _kill_and_wait(load, cases, kills, damaged, seed)
    finally:
        load.close()
    return {**found, **_compare(load, cases)}


def _make_cases(folder: Path, cases: int, damaged: int) -> None:
    """Write cases, and files that are none."""
    for number in range(cases):
        name = f"case-{number:03d}"
        write_volume(folder / name / f"{name}_flair.nii.gz", make_voxels(seed=number))
    for number in range(damaged):
        (folder / f"{DAMAGED}-{number}_flair.nii.gz").write_bytes(b"no volume")


def _kill_and_wait(load: Load, cases: int, kills: int, damaged: int, seed: int) -> dict[str, Any]:
    """Drop the cases, kill the watch, have the last one end its work, and stop it."""
    rng = np.random.default_rng(seed)
    folder = load.folder
    at_work = 0
    started = time.monotonic()
    process = load.start()
    load.wait_until(process, state="idle")
    for path in (folder / "made").iterdir():
        path.rename(folder / "in" / path.name)
    # What one run gets done before it is killed, so that the last kill finds work, too.
    share = max(1, cases // (kills + 1))
    for number in range(kills):
        if number % 4 == 3:  # noqa: PLR2004 - a quarter
            time.sleep(rng.uniform(0, 1.0))
        else:
            goal = min(len(load.done) + int(rng.integers(0, share + 1)), cases - 1)
            load.wait_until(process, state="working")
            while process.poll() is None and len(list((folder / "out").glob("case-*.json"))) < goal:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.1))
            at_work += load.status().get("state") == "working"
        load.kill(process)
        process = load.start()
    final = load.wait_until(process, state="idle", done=cases, failed=damaged, waiting=0)
    seconds = time.monotonic() - started
    load.look()
    load.note_memory(process)
    stopping = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(PATIENCE_S)
    stopped = time.monotonic() - stopping

    return {
        "cases": cases,
        "damaged": damaged,
        "kills": kills,
        "kills_at_work": at_work,
        "done": final["done"],
        "failed": final["failed"],
        "left_by_kills": len(list((folder / "out").glob(".*.tmp"))),
        "state_after_sigterm": load.status().get("state"),
        "exit_code": code,
        "seconds": round(seconds, 1),
        "seconds_to_stop": round(stopped, 2),
        "peak_mib": round(load.peak_mib),
    }


def _compare(load: Load, cases: int) -> dict[str, Any]:
    """Compare the results with those of `volume --input`."""
    folder, expected = load.folder, load.folder / "expected"
    plain = [*PROGRAM, "--model", str(load.model.absolute()), "--input", "in", "--out", str(expected)]
    # Damaged files make its exit code 1.
    subprocess.run(plain, cwd=folder, check=False, capture_output=True)  # noqa: S603 - the command that is measured
    names = [f"case-{number:03d}" for number in range(cases)]
    wanted = sorted(path.name for path in expected.iterdir())
    wrong = {
        "lost": [name for name in names if not (folder / "out" / f"{name}.json").is_file()],
        "done_twice": sorted(load.redone),
        "different": [name for name in wanted if not _same(folder / "out" / name, expected / name)],
        "results_without_a_case": sorted(
            path.name for path in (folder / "out").glob("[!.]*") if path.name not in {*wanted, "failed", "status.json"}
        ),
    }
    return {**{kind: len(found) for kind, found in wrong.items()}, "wrong": wrong}


def _same(path: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    return path.is_file() and path.read_bytes() == other.read_bytes()


def main() -> int:
    """Run the load, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="of FLAIR volumes, by its card")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="watch-load-"))
    try:
        found = run_load(args.model, folder, args.cases, args.kills, seed=args.seed)
    finally:
        shutil.rmtree(folder)
    write_json(
        args.out,
        {
            **found,
            "image_size": (read_json(args.model.with_name("model_card.json")) or {}).get("image_size"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "versions": {name: version(name) for name in ("anomalib-patchgan", "numpy", "openvino")},
        },
    )
    Console().print_json(json.dumps(found))
    return 1 if any(found[key] for key in WRONG) else 0


if __name__ == "__main__":
    sys.exit(main())
