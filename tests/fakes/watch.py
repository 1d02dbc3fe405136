"""Watches in this process, whose turns are taken one by one."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from anomalib_patchgan.deploy.dicom.studies import DicomOptions
from anomalib_patchgan.deploy.volume import VolumeInferencer
from anomalib_patchgan.deploy.watch.inbox import WatchOptions
from anomalib_patchgan.deploy.watch.lock import FolderLock
from anomalib_patchgan.deploy.watch.service import Watch
from anomalib_patchgan.deploy.watch.status import Status
from anomalib_patchgan.deploy.watch.stopping import Stopping

# Below the folder of a test.
OUT = "out"
# Of a clock that tests advance: longer than any of them takes.
SETTLE_S = 600.0


class Clock:
    """The clock by which files settle.

    Args:
        monkeypatch: Puts it in the place of the module `time` where that is asked.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        for module in ("backlog", "inbox"):
            monkeypatch.setattr(f"anomalib_patchgan.deploy.watch.{module}.time", self)

    def monotonic(self) -> float:
        """As `time.monotonic`, ahead."""
        return time.monotonic() + self.ahead_s

    def time(self) -> float:
        """As `time.time`, ahead."""
        return time.time() + self.ahead_s


class Watched:
    """A watch of `in` that writes to `out`, both below one folder.

    Args:
        root: The folder.
        inferencer: The model.
        settle_s: How long files have to stay as they are.
        series: What `--series` got.
        source: The watched folder, if it is another one.
    """

    def __init__(
        self,
        root: Path,
        inferencer: VolumeInferencer,
        settle_s: float = 0.0,
        series: tuple[str, ...] = (),
        source: str = "in",
    ) -> None:
        self.source, self.out = root / source, root / OUT
        self.source.mkdir(exist_ok=True)
        self.out.mkdir(exist_ok=True)
        self.lock = FolderLock(self.out)
        self.lock.acquire(0)
        status = Status(self.out, self.source)
        status.recall()
        options = WatchOptions(
            watched=self.source, dicom=DicomOptions(self.out, series), settle_s=settle_s, interval_s=0.01
        )
        self.watch = Watch(inferencer, options, self.lock, status, Stopping())

    def turn(self, seconds: float = 0.0) -> dict[str, Any]:
        """Take turns for a while, until there is nothing to do; return the status."""
        until = time.monotonic() + seconds
        while True:
            self.watch.turn()
            status = self.status()
            if time.monotonic() >= until and status["state"] == "idle":
                return status

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Take turns until the status says something; return it."""
        for _ in range(1000):
            self.watch.turn()
            status = self.status()
            if status["state"] == "idle" and all(status[key] == value for key, value in wanted.items()):
                return status
        message = f"it never said {wanted}, but {status}"
        raise AssertionError(message)

    def status(self) -> dict[str, Any]:
        """What `status.json` says."""
        return json.loads((self.out / "status.json").read_text())

    def results(self) -> list[str]:
        """Names of the cases that have a result."""
        return sorted(path.stem for path in self.out.glob("[!.]*.json") if path.name != "status.json")

    def end(self) -> None:
        """Give the lock back, as a killed process does."""
        self.lock.release()


def touch(path: Path) -> None:
    """Give a file another time, as a copy of it has."""
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
