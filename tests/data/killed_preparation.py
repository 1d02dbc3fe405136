"""Preparations that are killed again and again, and what they leave."""

import multiprocessing
import time
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepared_archive import PreparedArchive


def prepare_with_kills(data: PreparedArchive) -> None:
    """Kill a preparation at random points until one ends by itself, and leave its workers time to end.

    Forked instead of started anew: importing anomalib would take ten seconds each time.
    """
    rng = np.random.default_rng(0)
    kills = 0
    context = multiprocessing.get_context("fork")
    while True:
        process = context.Process(target=data.prepare)
        process.start()
        # From a few milliseconds up, so that a fast machine is interrupted as well as a slow one.
        process.join(rng.uniform(0.004, 0.008) * 1.35**kills if kills < 12 else 60)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 3
    time.sleep(0.5)  # workers of the last killed process end when they notice


def contents(root: Path) -> dict[str, bytes]:
    """Bytes of the finished files below a folder, by their paths in it."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".tmp"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
