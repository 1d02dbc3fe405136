"""What a watch says of itself, of the cases that failed, and of what keeps it from working."""

import errno
import logging
import os
import time
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
# What the system says of a name or content, and will say again; everything else may pass.
_OF_THE_CASE = frozenset({
    errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
    errno.ENOTEMPTY, errno.EFBIG,
})  # fmt: skip
_LONGEST_PAUSE_S = 60.0
_CASE = "case"

logger = logging.getLogger(__name__)


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


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error is due to the machine: the case is tried again later.

    Args:
        error: Any error; those that it was raised from count.

    Example:
        >>> is_trouble(OSError(errno.ENOSPC, "No space left on device")), is_trouble(ValueError("no NIfTI file"))
        (True, False)
    """
    found: BaseException | None = error
    while found is not None:
        # Errors of the plugin are some of them, too, but without a number.
        if isinstance(found, OSError) and found.errno is not None:
            return found.errno not in _OF_THE_CASE
        found = found.__cause__
    return False


class Troubles:
    """What keeps a watch from working, each said once, and the pauses because of it.

    Args:
        first_s: The first pause in seconds; each further one is twice as long, up to a minute.

    Example:
        >>> troubles = Troubles(first_s=5)
        >>> troubles.pause("No space left on device")
        >>> troubles.is_pausing(), troubles.text
        (True, 'No space left on device')
        >>> troubles.clear()
        >>> troubles.is_pausing(), troubles.text
        (False, '')
    """

    def __init__(self, first_s: float) -> None:
        self._first = first_s
        self._known: dict[str, str] = {}
        self._pauses = 0
        self._until = 0.0

    @property
    def text(self) -> str:
        """All of them; empty for none."""
        return " ".join(self._known.values())

    def say(self, about: str, problem: str) -> None:
        """Note what is wrong with something.

        Args:
            about: What it is about.
            problem: What is wrong; empty if nothing is any longer.
        """
        if problem and problem != self._known.get(about):
            logger.error("%s", problem)
        if problem:
            self._known[about] = problem
        else:
            self._known.pop(about, None)

    def pause(self, problem: str) -> None:
        """Note that a case could not be written or read, and wait before the next one."""
        self.say(_CASE, problem)
        self._until = time.monotonic() + min(_LONGEST_PAUSE_S, self._first * 2 ** min(self._pauses, 10))
        self._pauses += 1

    def is_pausing(self) -> bool:
        """Tell whether it is too early for the next case."""
        return time.monotonic() < self._until

    def clear(self) -> None:
        """Note that a case could be done."""
        self.say(_CASE, "")
        self._pauses, self._until = 0, 0.0
