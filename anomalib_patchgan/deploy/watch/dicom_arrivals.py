"""The studies of DICOM files that have arrived, told apart by their UIDs, whatever their folders."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.volume_names import is_nifti
from anomalib_patchgan.deploy.dicom.files import is_dicom, read_files
from anomalib_patchgan.deploy.dicom.library import require_dicom
from anomalib_patchgan.deploy.dicom.series import Series, study_name
from anomalib_patchgan.deploy.watch.arrivals import Arrival, parent_of
from anomalib_patchgan.deploy.watch.folder import Listing, Stamp
from anomalib_patchgan.files import short_hash

_ARRIVING = "files are still arriving, or cannot be read"
# Of a file that could not be looked at, so that it is again.
_NO_STAMP = Stamp(-1, -1)


@dataclass(frozen=True)
class _Known:
    """What is known of a file.

    Args:
        stamp: Its stamp when it was looked at.
        study: Name of its study; empty if it is DICOM, but cannot be read; `None` if it is no DICOM.
        since: When it was seen first with that stamp, in seconds of the monotonic clock.
    """

    stamp: Stamp
    study: str | None
    since: float


class DicomArrivals:
    """Groups files into studies; each file is opened once, and again when it has changed.

    Args:
        settle_s: How long a file has to stay as it is, in seconds.
        name_files: Whether a damaged file may be named, since names of files may be those of patients.
    """

    def __init__(self, settle_s: float, *, name_files: bool = False) -> None:
        self._settle = settle_s
        self._name_files = name_files
        self._known: dict[str, _Known] = {}
        self._young: dict[str, _Known] = {}
        self._is_first = True

    def find(self, listing: Listing, skip: Iterable[str] = ()) -> list[Arrival]:
        """Find the studies.

        Args:
            listing: The files.
            skip: Folders whose files are left out, since NIfTI images lie beside.

        Raises:
            ConfigurationError: There is DICOM, and pydicom or highdicom is missing.
        """
        left_out = set(skip)
        now = time.monotonic()
        files = {
            path: stamp
            for path, stamp in listing.files.items()
            if not is_nifti(path) and parent_of(path) not in left_out
        }
        self._known = {path: self._look_at(path, stamp, now) for path, stamp in files.items()}
        self._young = {path: self._note(path, stamp, now) for path, stamp in listing.unfinished.items()}
        self._is_first = False
        # A file that says nothing of its study yet may belong to any that lies beside.
        busy = {
            parent_of(path)
            for path, known in [*self._known.items(), *self._young.items()]
            if not known.study and now - known.since < self._settle
        }
        studies: dict[str, dict[str, Stamp]] = {}
        damaged: dict[str, dict[str, Stamp]] = {}
        for path, known in self._known.items():
            if known.study:
                studies.setdefault(known.study, {})[path] = known.stamp
            elif known.study is not None:
                damaged.setdefault(parent_of(path), {})[path] = known.stamp
        found = []
        for name, stamps in studies.items():
            lacks = _ARRIVING if busy & {parent_of(path) for path in stamps} else ""
            found.append(Arrival(name=name, stamps=stamps, lacks=lacks))
        for folder, stamps in damaged.items():
            which = f"such as {min(stamps)}" if self._name_files else "--keep_identity names one"
            count = "1 DICOM file is" if len(stamps) == 1 else f"{len(stamps)} DICOM files are"
            problem = f"{count} damaged or deflated ({which}): copy or export the study again."
            found.append(Arrival(name=f"dicom-{short_hash(folder)}", stamps=stamps, problem=problem))
        return found

    def _look_at(self, path: str, stamp: Stamp, now: float) -> _Known:
        known = self._known.get(path)
        if known is not None and known.stamp == stamp:
            return known
        if not os.access(path, os.R_OK):
            return _Known(_NO_STAMP, None, now)
        return _Known(stamp, _study_of(Path(path)), self._since(stamp, now))

    def _note(self, path: str, stamp: Stamp, now: float) -> _Known:
        known = self._young.get(path)
        if known is not None and known.stamp == stamp:
            return known
        return _Known(stamp, None, self._since(stamp, now))

    def _since(self, stamp: Stamp, now: float) -> float:
        """Return since when a file is as it is: one that lay there for long at the start keeps nobody waiting."""
        age = time.time() - stamp.mtime_ns / 1e9
        return now - age if self._is_first and age > self._settle else now


def _study_of(path: Path) -> str | None:
    if not is_dicom(path):
        return None
    require_dicom()
    found, _ = read_files([path])
    return study_name(Series(files=found)) if found else ""
