"""The cases of a watched folder: which have settled, which is next, and what of it outlives the process."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anomalib_patchgan.deploy.watch.arrivals import Arrival
from anomalib_patchgan.files import read_json, write_json

MEMORY = ".watch.json"


@dataclass
class Entry:
    """One case.

    Args:
        arrival: Its files.
        fingerprint: Hash of them.
        since: When they were seen first as they are, in seconds of the monotonic clock.
        state: What became of it.
        reason: Why it waits or failed.
        seen_done: Whether a result of the name lay there at the start, which is still to be compared with the files.
        tries: How often it was begun and neither done nor failed, since the process was killed or the disk full.
        not_before: When to try it again, in seconds of the monotonic clock.
    """

    arrival: Arrival
    fingerprint: str
    since: float
    state: Literal["waiting", "done", "failed"] = "waiting"
    reason: str = ""
    seen_done: bool = False
    tries: int = 0
    not_before: float = 0.0

    def finish(self, state: Literal["done", "failed"], reason: str = "") -> None:
        """Note what became of it."""
        self.state, self.reason, self.tries, self.seen_done = state, reason, 0, False


class Backlog:
    """Keeps what is known of each case; what has gone from the folder is forgotten.

    Args:
        folder: Folder of the results, which also keeps since when files are as they are: otherwise a process that is
            killed more often than files settle would never come to work.
        settle_s: How long the files of a case have to stay as they are, in seconds.

    Example:
        >>> from anomalib_patchgan.deploy.watch.arrivals import Stamp
        >>> backlog = Backlog(Path("out"), settle_s=0)
        >>> backlog.update([Arrival(name="a", stamps={"a.nii": Stamp(1, 1)})], has_result=lambda _: False, failed={})
        >>> backlog.next_ready().arrival.name
        'a'
    """

    def __init__(self, folder: Path, settle_s: float) -> None:
        self._path = folder / MEMORY
        self._settle = settle_s
        self._entries: dict[str, Entry] = {}
        self._begun = self._listed_at = -math.inf
        self._written: Mapping[str, Any] = {}
        self._remembered: dict[str, tuple[str, float, int]] = {}
        now, now_utc = time.monotonic(), time.time()
        for name, item in (read_json(self._path) or {}).items():
            try:
                age, tries = now_utc - float(item["since"]), int(item["tries"])
                # A clock that was put back says that files come from the future.
                since = now - max(age, 0.0) if math.isfinite(age) else now
                self._remembered[name] = str(item["files_sha256"]), since, tries
            except (KeyError, TypeError, ValueError):  # noqa: PERF203 - anybody may have written it
                continue

    def begin(self) -> None:
        """Note that a look at the folder begins, which may take long where it is far away."""
        self._begun = time.monotonic()

    def update(
        self,
        arrivals: Iterable[Arrival],
        has_result: Callable[[str], bool],
        failed: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Take over what lies in the folder now.

        Args:
            arrivals: The cases.
            has_result: Whether a case has a result, which counts until it is compared with the files.
            failed: What is known of cases that failed, by name, with the hash of their files.
        """
        now, self._listed_at = time.monotonic(), self._begun
        before, self._entries = self._entries, {}
        for arrival in arrivals:
            found = arrival.fingerprint
            entry = before.get(arrival.name)
            if entry is None or entry.fingerprint != found:
                entry = Entry(arrival, found, now, seen_done=entry is None and has_result(arrival.name))
                known, since, tries = self._remembered.pop(arrival.name, ("", now, 0))
                if known == found:
                    entry.since, entry.tries = since, tries
                if failed.get(arrival.name, {}).get("files_sha256") == found:
                    entry.state, entry.reason = "failed", failed[arrival.name]["reason"]
            entry.arrival = arrival
            self._entries[arrival.name] = entry

    def next_ready(self) -> Entry | None:
        """Return the case whose turn it is: new ones by age, then those to be compared, last those that were begun."""
        now = time.monotonic()
        ready = [
            entry
            for entry in self._entries.values()
            if entry.state == "waiting"
            and not entry.arrival.lacks
            and self._has_settled(entry)
            and entry.not_before <= now
        ]
        return min(ready, key=lambda one: (one.tries, one.seen_done, one.since, one.arrival.name), default=None)

    def counts(self) -> dict[str, int]:
        """Count the cases by what became of them."""
        counts = {"done": 0, "failed": 0, "waiting": 0}
        for entry in self._entries.values():
            counts["done" if entry.state == "waiting" and entry.seen_done else entry.state] += 1
        return counts

    def waiting_for(self) -> dict[str, str]:
        """Return why cases wait, by name."""
        return {
            name: entry.arrival.lacks or entry.reason or ("" if self._has_settled(entry) else "just arrived")
            or "its turn comes"
            for name, entry in self._waiting().items()
        }  # fmt: skip

    def count_try(self, name: str) -> None:
        """Note that a case was begun and not ended, so that the others come first."""
        if name in self._entries:
            self._entries[name].tries += 1

    def failed(self) -> set[str]:
        """Return the names of the cases that failed."""
        return {name for name, entry in self._entries.items() if entry.state == "failed"}

    def write(self) -> None:
        """Keep since when the waiting cases are as they are.

        Raises:
            OSError: The file cannot be written.
        """
        now, now_utc = time.monotonic(), time.time()
        waiting = self._waiting()
        state = {name: (entry.fingerprint, entry.tries) for name, entry in waiting.items()}
        if state == self._written:
            return
        content = {
            name: {"files_sha256": entry.fingerprint, "since": now_utc - (now - entry.since), "tries": entry.tries}
            for name, entry in waiting.items()
        }
        write_json(self._path, content)
        self._written = state

    def _has_settled(self, entry: Entry) -> bool:
        # From the end of the first look to the begin of the last one, between which nothing has changed.
        return self._settle <= 0 or self._listed_at - entry.since >= self._settle

    def _waiting(self) -> dict[str, Entry]:
        return {name: one for name, one in self._entries.items() if one.state == "waiting" and not one.seen_done}
