"""The watched folder: what has arrived in it, and why a case cannot be taken just now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from anomalib_patchgan.deploy.dicom.studies import DicomOptions
from anomalib_patchgan.deploy.volume_result import MapType
from anomalib_patchgan.deploy.watch.arrivals import Arrival, find_nifti, image_folders
from anomalib_patchgan.deploy.watch.dicom_arrivals import DicomArrivals
from anomalib_patchgan.deploy.watch.folder import list_folder, stamp_of
from anomalib_patchgan.errors import ConfigurationError, one_line


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


class Found(NamedTuple):
    """What was found.

    Attributes:
        arrivals: The cases.
        left_out: Names of images that the model does not take.
        problem: What could not be looked at; empty for nothing.
    """

    arrivals: list[Arrival]
    left_out: str
    problem: str


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
        >>> [arrival.name for arrival in inbox.look().arrivals]
        ['a']
    """

    def __init__(self, options: WatchOptions, modalities: Sequence[str]) -> None:
        # Paths are compared as texts: `./a` would be another one than `a`.
        self._folder = options.watched.absolute()
        self._modalities = modalities
        # `--series` chooses among DICOM, as it does without a watch.
        self._only_dicom = bool(options.dicom.series)
        self._dicom = DicomArrivals(options.settle_s, name_files=options.dicom.keep_identity)
        self._skip = _below(self._folder, options.dicom.output)

    def look(self) -> Found:
        """List what lies there now.

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
        if not self._only_dicom:
            arrivals, left_out = find_nifti(self._folder, listing.files, self._modalities)
            beside = image_folders(self._folder, listing.files)
        try:
            arrivals += self._dicom.find(listing, beside)
        except ConfigurationError as error:
            problems.append(one_line(error))
        return Found(arrivals, left_out, " ".join(problems))


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


def _below(root: Path, folder: Path) -> Path | None:
    """Return a folder as a path below another one, in the words of that; `None` if it lies elsewhere."""
    whole, found = root.resolve(), folder.resolve()
    return root / found.relative_to(whole) if found.is_relative_to(whole) else None
