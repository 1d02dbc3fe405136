"""The loop of a watch: looks at the folder, processes one case after the other, and says how it is."""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from anomalib_patchgan.deploy.dicom.studies import dicom_case_of_files
from anomalib_patchgan.deploy.volume import VolumeInferencer, run_case
from anomalib_patchgan.deploy.watch.arrivals import Arrival
from anomalib_patchgan.deploy.watch.backlog import MEMORY, Backlog, Entry
from anomalib_patchgan.deploy.watch.inbox import Inbox, WatchOptions, is_unchanged, why_not_now
from anomalib_patchgan.deploy.watch.lock import FolderLock
from anomalib_patchgan.deploy.watch.status import FAILED, STATUS, Failures, State, Status, Troubles, is_trouble
from anomalib_patchgan.deploy.watch.stopping import DroppedError, Stopping
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.failures import describe
from anomalib_patchgan.files import TEMPORARY, remove_temporary_files
from anomalib_patchgan.version import __version__

_STUDY = re.compile(r"study-[0-9a-f]{8}")


class Watch:
    """Processes cases as they arrive.

    Args:
        inferencer: The model.
        options: What is watched, and how.
        lock: The lock on the folder of the results, held.
        status: What is said of all this.
        stopping: Says when to stop.
    """

    def __init__(
        self, inferencer: VolumeInferencer, options: WatchOptions, lock: FolderLock, status: Status, stopping: Stopping
    ) -> None:
        self._inferencer = inferencer
        self._options = options
        self._output = options.dicom.output
        self._lock = lock
        self._status = status
        self._stopping = stopping
        self._inbox = Inbox(options, inferencer.modalities)
        self._troubles = Troubles(options.interval_s)
        # What the last process was at when it was killed comes last: it may be what kills it.
        self._interrupted = status.current or ""
        self._look_at = 0.0
        self._open()

    def run(self) -> None:
        """Work until it is time to stop."""
        while not self._stopping.requested:
            try:
                self.turn()
            # Of a network that fails between two questions.
            except OSError as error:  # noqa: PERF203 - it is what the loop is for
                self._troubles.pause(f"{self._output}: {error.strerror}.")
                self._stopping.sleep(self._options.interval_s)
        if not self._lock.problem():
            self._say("stopped")

    def turn(self) -> None:
        """Look at the folder if it is time, then process a case or wait."""
        if self._is_away():
            self._stopping.sleep(self._options.interval_s)
            return
        if time.monotonic() >= self._look_at:
            self._look()
            self._look_at = time.monotonic() + self._options.interval_s
        pausing = self._troubles.is_pausing()
        entry = None if pausing else self._backlog.next_ready()
        if entry is not None:
            self._process(entry)
        else:
            if not pausing:
                # Whatever it was about has gone.
                self._troubles.clear()
            self._say("idle")
            self._stopping.sleep(self._look_at - time.monotonic())

    def _open(self) -> None:
        """Read what the folder of the results says of earlier days."""
        self._keep("temporary files", lambda: remove_temporary_files(self._output.glob(TEMPORARY)))
        self._backlog = Backlog(self._output, self._options.settle_s)
        inferencer, options = self._inferencer, self._options
        settings = [__version__, inferencer.predictor.identity, options.map_type, list(options.dicom.series)]
        self._failures = Failures(self._output, json.dumps(settings))
        names = {path.stem for path in self._output.glob("*.json")}
        # A result is named by study and series, and by the patient where that is wanted.
        self._results = names | {found for name in names for found in _STUDY.findall(name)}
        self._identity = self._lock.identity

    def _is_away(self) -> bool:
        """Tell whether the folder of the results has gone: nothing is written to what may lie there instead."""
        problem = self._lock.problem()
        self._troubles.say("output", problem)
        if not problem and self._lock.identity != self._identity:
            self._open()
        return bool(problem)

    def _look(self) -> None:
        """Take over what lies in the watched folder."""
        self._backlog.begin()
        try:
            arrivals, left_out, problem = self._inbox.look()
        except DataError as error:
            # The cases are not gone because a network is.
            self._troubles.say("watch", one_line(error))
            return
        self._troubles.say("watch", problem)
        self._status.left_out = left_out
        self._backlog.update(arrivals, self._has_result, self._failures.known)
        if self._interrupted:
            self._backlog.count_try(self._interrupted)
            self._interrupted = ""
        self._keep(MEMORY, self._backlog.write)

    def _has_result(self, name: str) -> bool:
        return name in self._results or (self._output / f"{name}.json").is_file()

    def _process(self, entry: Entry) -> None:
        """Process a case, and keep what became of it."""
        name = entry.arrival.name
        if reason := why_not_now(entry.arrival):
            self._put_off(entry, reason)
            return
        self._say("working", name)
        try:
            with self._stopping.case():
                line = self._result_of(entry.arrival)
        except DroppedError:
            sys.stderr.write(f"{name}: dropped, it is done at the next start\n")
        # One case must not end the others, whatever is wrong with it.
        except Exception as error:  # noqa: BLE001
            self._fail(entry, error)
        else:
            entry.finish("done")
            self._troubles.clear()
            if line:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            self._keep(FAILED, lambda: self._failures.remove(name))

    def _result_of(self, arrival: Arrival) -> str:
        """Write the result of a case; returns it in words, or nothing if it was there."""
        if arrival.problem:
            raise DataError(arrival.problem)
        options, inferencer = self._options, self._inferencer
        case = arrival.case or dicom_case_of_files(
            map(Path, sorted(arrival.stamps)), inferencer.modalities, options.dicom, inferencer.limits
        )

        def check() -> None:
            problem = self._lock.problem() or ("" if is_unchanged(arrival) else "it changed while it was processed.")
            if problem:
                raise DataError(problem)

        line = run_case(case, self._output, inferencer, options.map_type, check=check)
        origin = case.describe()
        return f"{line} ({origin})" if line and origin else line

    def _fail(self, entry: Entry, error: Exception) -> None:
        """Keep why a case failed, unless that may pass."""
        name = entry.arrival.name
        reason = one_line(error) if isinstance(error, PatchGanError) else describe(error)[0]
        if not is_unchanged(entry.arrival):
            self._put_off(entry, "changed while it was processed")
        elif is_trouble(error) or self._lock.problem():
            entry.tries += 1
            entry.reason = reason
            self._troubles.pause(reason)
        else:
            entry.finish("failed", reason)
            sys.stderr.write(f"failed {name}: {reason}\n")
            self._keep(FAILED, lambda: self._failures.add(name, entry.fingerprint, reason))

    def _put_off(self, entry: Entry, reason: str) -> None:
        """Leave a case until the next look, which finds what it is then, or that it has gone."""
        entry.reason, entry.not_before = reason, time.monotonic() + self._options.interval_s

    def _keep(self, what: str, write: Callable[[], None]) -> None:
        """Write what this process does without, and so goes on where that is not possible."""
        try:
            write()
        except OSError as error:
            self._troubles.say(what, f"{what} in {self._output} cannot be written: {error.strerror}.")
        else:
            self._troubles.say(what, "")

    def _say(self, state: State, current: str | None = None) -> None:
        """Write the status."""
        status, backlog = self._status, self._backlog
        status.state, status.current = state, current
        status.counts = backlog.counts()
        status.waiting_for = backlog.waiting_for()
        status.failures = self._failures.last(backlog.failed())
        status.problem = self._troubles.text
        self._keep(STATUS, status.write)
