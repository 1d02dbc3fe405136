"""The watched folder: which cases and DICOM studies have arrived in it, and why one cannot be taken just now."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.volume_names import is_nifti
from anomalib_patchgan.deploy.dicom.files import is_dicom, read_files
from anomalib_patchgan.deploy.dicom.series import Series, study_name
from anomalib_patchgan.deploy.dicom.studies import DicomOptions
from anomalib_patchgan.deploy.volume_result import MapType
from anomalib_patchgan.deploy.watch.arrivals import (
    Arrival,
    Listing,
    Stamp,
    find_nifti,
    list_folder,
    parent_of,
    stamp_of,
)
from anomalib_patchgan.errors import ConfigurationError, one_line
from anomalib_patchgan.files import short_hash

_ARRIVING = "files are still arriving, or cannot be read"
# Of a file that could not be looked at, so that it is again.
_NO_STAMP = Stamp(-1, -1)


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """What is watched, and how.

    Args:
        watched: Folder of the cases.
        dicom: Folder of the results, and how DICOM is taken.
        settle_s: How long the files of a case have to stay as they are before it is processed, in seconds.
        interval_s: Time between two looks at the folder, in seconds.
        map_type: Voxels of the heat map.
    """

    watched: Path
    dicom: DicomOptions
    settle_s: float
    interval_s: float
    map_type: MapType = "float32"


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


class Inbox:
    """The watched folder.

    Args:
        options: What is watched, and how.
        modalities: Modalities of the model.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a_flair.nii").touch()
        >>> options = WatchOptions(watched=folder, dicom=DicomOptions(folder / "out"), settle_s=10, interval_s=5)
        >>> inbox = Inbox(options, ("flair",))
        >>> [arrival.name for arrival in inbox.look()[0]]
        ['a']
    """

    def __init__(self, options: WatchOptions, modalities: Sequence[str]) -> None:
        self._options = options
        self._modalities = modalities
        self._known: dict[str, _Known] = {}
        self._young: dict[str, _Known] = {}
        self._is_first = True
        # Paths are compared as texts: `./a` would be another one than `a`.
        self._folder = options.watched.absolute()
        # In the words of that folder, if it lies in it.
        whole, output = self._folder.resolve(), options.dicom.output.resolve()
        self._skip = self._folder / output.relative_to(whole) if output.is_relative_to(whole) else None

    def look(self) -> tuple[list[Arrival], str, str]:
        """List what lies there now.

        Returns:
            The cases, names of images that the model does not take, and what could not be looked at.

        Raises:
            DataError: The folder cannot be listed, such as when its disk has gone.
        """
        listing = list_folder(self._folder, self._skip)
        problems = []
        if listing.unreadable:
            count = "1 folder" if listing.unreadable == 1 else f"{listing.unreadable} folders"
            problems.append(f"{count} in {self._folder} cannot be read: check the permissions.")
        arrivals: list[Arrival] = []
        left_out = ""
        beside: set[str] = set()
        # `--series` chooses among DICOM, as it does without a watch.
        if not self._options.dicom.series:
            arrivals, left_out, beside = find_nifti(self._folder, listing.files, self._modalities)
        try:
            arrivals += self._find_studies(listing, beside)
        except ConfigurationError as error:
            problems.append(one_line(error))
        return arrivals, left_out, " ".join(problems)

    def _find_studies(self, listing: Listing, left_out: set[str]) -> list[Arrival]:
        """Group files into studies; each file is opened once, and again when it has changed.

        Args:
            listing: The files.
            left_out: Folders whose files are left out, since NIfTI images lie beside.

        Raises:
            ConfigurationError: There is DICOM, and pydicom or highdicom is missing.
        """
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
            if not known.study and now - known.since < self._options.settle_s
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
            which = f"such as {min(stamps)}" if self._options.dicom.keep_identity else "--keep_identity names one"
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
        study = None
        if is_dicom(Path(path)):
            found, _ = read_files([Path(path)])
            study = study_name(Series(files=found)) if found else ""
        return _Known(stamp, study, self._since(stamp, now))

    def _note(self, path: str, stamp: Stamp, now: float) -> _Known:
        known = self._young.get(path)
        return known if known is not None and known.stamp == stamp else _Known(stamp, None, self._since(stamp, now))

    def _since(self, stamp: Stamp, now: float) -> float:
        """Return since when a file is as it is: one that lay there for long at the start keeps nobody waiting."""
        age = time.time() - stamp.mtime_ns / 1e9
        return now - age if self._is_first and age > self._options.settle_s else now


def is_unchanged(arrival: Arrival) -> bool:
    """Tell whether the files of a case are as they were when the folder was listed."""
    return all(stamp_of(path) == stamp for path, stamp in arrival.stamps.items())


def why_not_now(arrival: Arrival) -> str:
    """Say why a case cannot be taken now; empty if it can."""
    if not is_unchanged(arrival):
        return "changed just now"
    for path in arrival.stamps:
        try:
            # Shares of Windows refuse it while another program writes.
            with Path(path).open("rb") as file:
                file.read(1)
        except OSError as error:  # noqa: PERF203 - the first one ends the loop
            return f"a file of it cannot be read: {error.strerror}"
    return ""
