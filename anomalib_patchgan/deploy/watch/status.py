"""What a watch says of itself, `status.json`, and of the cases that failed, `failed/<case>.json`."""

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import read_json, write_json

STATUS = "status.json"
FAILED = "failed"
# Of failed and of waiting cases, in the file that is read by people and monitors.
_LISTED = 20

State = Literal["starting", "idle", "working", "stopped"]


@dataclass
class Status:
    """What a watch says of itself.

    Args:
        folder: Folder of the results.
        watched: Folder of the cases.

    Attributes:
        state: What it does.
        model: Name, file and SHA-256 of the model.
        counts: Cases in the watched folder that are `done`, `failed` and `waiting`.
        current: Name of the case that is processed, or at the start of the one that the last watch was killed at.
        problem: What keeps it from working, such as a full disk; empty for nothing.
        waiting_for: Why the first of the waiting cases wait, by name.
        failures: Case, reason and time of the last failures, the last one first.
        left_out: Names of images that the model does not take.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Status(folder, Path("in")).write()
        >>> is_status(folder / "status.json")
        True
    """

    folder: Path
    watched: Path
    state: State = "starting"
    model: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=lambda: {"done": 0, "failed": 0, "waiting": 0})
    current: str | None = None
    problem: str = ""
    waiting_for: Mapping[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    left_out: str = ""

    def __post_init__(self) -> None:
        """Note the time."""
        self._started_at = now_utc()

    def write(self) -> None:
        """Write the file.

        Raises:
            OSError: It cannot be written.
        """
        content = {
            "state": self.state,
            "pid": os.getpid(),
            "alive_at": now_utc(),
            "started_at": self._started_at,
            "watch": str(self.watched.absolute()),
            "model": dict(self.model),
            **self.counts,
            "current": self.current,
            "problem": self.problem or None,
            "failures": self.failures,
            "waiting_for": [
                {"case": name, "reason": reason} for name, reason in list(self.waiting_for.items())[:_LISTED]
            ],
            "left_out": self.left_out or None,
        }
        write_json(self.folder / STATUS, content)

    def recall(self) -> None:
        """Take over the counts of the last watch, and the case that it was at, if it was killed."""
        last = read_json(self.folder / STATUS) or {}
        self.counts = {name: last[name] if isinstance(last.get(name), int) else 0 for name in self.counts}
        if last.get("state") in {"starting", "working"} and isinstance(last.get("current"), str):
            self.current = last["current"]


def check_no_case(folder: Path) -> None:
    """Check that the file of the status is not the result of a case of that name.

    Raises:
        ConfigurationError: It is.
    """
    path = folder / STATUS
    if path.exists() and not is_status(path):
        msg = f"{path} is no status of a watch, which would replace it: move it away, or give another --out."
        raise ConfigurationError(msg)


def is_status(path: Path) -> bool:
    """Tell whether a file in a folder of results is the status of a watch and no result."""
    if path.name != STATUS:
        return False
    content = read_json(path)
    # After a crash of the disk it may be empty.
    return content is None or {"state", "pid", "alive_at"} <= content.keys()


class Failures:
    """Why cases failed; who deletes the file of one has it tried again at the next start.

    Args:
        folder: Folder of the results.
        settings: What a case is processed with: with something else it is tried again.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Failures(folder, "model 1").add("a", "0f", "it is damaged")
        >>> Failures(folder, "model 1").known["a"]["reason"], Failures(folder, "model 2").known
        ('it is damaged', {})
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder = folder / FAILED
        self._settings = settings
        found: list[dict[str, str]] = []
        for path in self._folder.glob("[!.]*.json"):
            record: dict[str, Any] = read_json(path) or {}
            entry = {key: str(record.get(key, "")) for key in ("case", "reason", "time", "files_sha256", "settings")}
            if entry["case"] == path.stem and entry["settings"] == settings:
                found.append(entry)
        self.known = {entry["case"]: entry for entry in sorted(found, key=lambda one: one["time"])}

    def add(self, case: str, files_sha256: str, reason: str) -> None:
        """Note that a case failed.

        Raises:
            OSError: It cannot be written.
        """
        entry = {
            "case": case,
            "reason": reason,
            "time": now_utc(),
            "files_sha256": files_sha256,
            "settings": self._settings,
        }
        # The last one comes last.
        self.known.pop(case, None)
        self.known[case] = entry
        write_json(self._folder / f"{case}.json", entry)

    def remove(self, case: str) -> None:
        """Forget that a case failed, which it does no longer.

        Raises:
            OSError: The file cannot be removed.
        """
        (self._folder / f"{case}.json").unlink(missing_ok=True)
        self.known.pop(case, None)

    def last(self, among: Container[str]) -> list[dict[str, str]]:
        """Return case, reason and time of the last failures, the last one first.

        Args:
            among: Names of the cases that count.
        """
        listed = (entry for name, entry in reversed(self.known.items()) if name in among)
        return [{key: entry[key] for key in ("case", "reason", "time")} for entry in islice(listed, _LISTED)]


def now_utc() -> str:
    """Return the time in ISO 8601, to the millisecond, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
