"""Finds the DICOM files of a folder and reads their headers, as far as they are needed."""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy.volume_files import read_name
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, read_bytes

if TYPE_CHECKING:
    from pydicom import FileDataset

# The extra by what is in it: by its name it would bring torch to where models only run.
REMEDY = "pip install highdicom pydicom python-gdcm"
DIRECTORY = "DICOMDIR"
# A file begins with 128 bytes for any use, and these four.
_PREAMBLE, _MAGIC = 128, b"DICM"
# Of the elements that say how a file is encoded.
_META_GROUP = 2
# What files without them begin with: the first elements of the first group that an image has, in little endian.
_BARE = tuple(bytes((8, 0, element, 0)) for element in (0x00, 0x05, 0x08, 0x16))

# Nothing else is read: what identifies the patient and the study, as far as a segmentation of it has to, and what
# describes image and place.
# fmt: off
_KEYWORDS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved",
    "DeidentificationMethod", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
    "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "ImageType", "NumberOfFrames",
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)
# fmt: on
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

logger = logging.getLogger(__name__)


@contextmanager
def quiet_dicom() -> Iterator[None]:
    """Keep both libraries from writing single values into warnings, and from refusing odd ones while reading.

    Raises:
        ConfigurationError: pydicom or highdicom is not installed, or cannot be imported.
    """
    try:
        import highdicom  # noqa: F401 - whether it can be
        import pydicom.pixels  # noqa: F401
        from pydicom import config
    except ImportError as error:
        msg = f"DICOM input needs pydicom and highdicom ({error}): {REMEDY}"
        raise ConfigurationError(msg) from error
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    mode = config.settings.reading_validation_mode
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True)
class DicomFile:
    """One file and its header.

    Args:
        path: The file. What others called it and its folders may be a patient's name.
        header: Its header without pixels.
    """

    path: Path
    header: "FileDataset"


def holds_dicom(source: Path, skip: Path | None = None, *, even_beside_nifti: bool = False) -> bool:
    """Tell whether a file is a DICOM file, or whether a folder holds some to be taken for the input.

    Args:
        source: File or folder.
        skip: Folder to leave out, such as that of the results.
        even_beside_nifti: Whether DICOM files count in a folder of NIfTI images, too.

    Example:
        >>> Path("scan").mkdir()
        >>> Path("scan/IM0001").write_bytes(bytes(128) + b"DICM")
        132
        >>> holds_dicom(Path("scan")), holds_dicom(Path("scan/IM0001")), holds_dicom(Path("elsewhere"))
        (True, True, False)
    """
    if source.name.upper() == DIRECTORY:
        return source.is_file()
    found = False
    for path in walk(source, skip):
        name = None if even_beside_nifti else read_name(path, source)
        if name is not None and name.is_image and not _is_result(path):
            return False
        found = found or is_dicom(path)
        if found and even_beside_nifti:
            break
    return found


def read_headers(source: Path, skip: Path | None = None, *, name_files: bool = False) -> list[DicomFile]:
    """Read the headers of a file, or of all files of a folder at any depth.

    Args:
        source: File or folder, or the DICOMDIR in it; files that are no DICOM are passed over.
        skip: Folder to leave out.
        name_files: Whether a file that cannot be read may be named, since names of files may be those of patients.

    Returns:
        What can be read, by path; a warning counts what cannot.

    Raises:
        DatasetNotFoundError: There is no DICOM file.
        DataError: No file can be read.
    """
    source = source.parent if source.name.upper() == DIRECTORY else source
    found, unreadable = read_files(filter(is_dicom, walk(source, skip)))
    if not unreadable and not found:
        problem = "holds no DICOM file" if source.exists() else "does not exist"
        msg = f"{source} {problem}: give the folder of a series as --input."
        raise DatasetNotFoundError(msg)
    if unreadable:
        which = f", such as {unreadable[0]}" if name_files else " (--keep_identity names one)"
        count = "1 DICOM file is" if len(unreadable) == 1 else f"{len(unreadable)} DICOM files are"
        msg = f"{source}: {count} damaged or deflated and left out{which}: copy or export the study again."
        if not found:
            raise DataError(msg)
        logger.warning("%s", msg)
    return found


def read_files(paths: Iterable[Path]) -> tuple[list[DicomFile], list[Path]]:
    """Read the headers of files.

    Args:
        paths: DICOM files.

    Returns:
        What can be read, and the paths of what cannot, both in their order.
    """
    found: list[DicomFile] = []
    unreadable: list[Path] = []
    with quiet_dicom():
        for path in paths:
            try:
                found.append(DicomFile(path, _read_header(path)))
            # A damaged file ends in nearly every exception somewhere in the parser.
            except Exception:  # noqa: BLE001, PERF203
                unreadable.append(path)
    return found, unreadable


def load_file(path: Path, limits: ReadLimits) -> "FileDataset":
    """Read a file with its pixels, as they are encoded.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is no regular file, or larger than the limits.
    """
    from pydicom import dcmread

    return _complete(dcmread(BytesIO(read_bytes(path, limits)), force=True))


def walk(source: Path, skip: Path | None = None) -> Iterator[Path]:
    """Yield the regular files below a folder, by path, or the file itself.

    Args:
        source: File or folder; links to folders are not followed.
        skip: Folder to leave out.
    """
    if not source.is_dir():
        yield from [source] if os.path.isfile(source) else []  # noqa: PTH113 - as below
        return
    left_out = None if skip is None else skip.resolve()
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if (Path(folder) / name).resolve() != left_out)
        for name in sorted(names):
            # No pipe, which would wait for ever for somebody to write to it; and it never raises.
            if os.path.isfile(path := Path(folder) / name):  # noqa: PTH113
                yield path


def is_dicom(path: Path) -> bool:
    """Tell by its first bytes whether a file is one of DICOM, whatever its name; a DICOMDIR is not."""
    if path.name.upper() == DIRECTORY:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE + len(_MAGIC))
    except OSError:
        return False
    return start[_PREAMBLE:] == _MAGIC or start.startswith(_BARE)


class _BoundedReader(BufferedReader):
    """A file of which no more is read than it holds: Python takes memory for all that a damaged length asks for."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most so many bytes."""
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _read_header(path: Path) -> "FileDataset":
    from pydicom import dcmread
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with _BoundedReader(path) as file:
        if read_preamble(file, force=True):
            # It would be inflated as a whole, however large it may become; hardly anything but reports is stored so.
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != _META_GROUP)  # noqa: FBT003
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise ValueError(DeflatedExplicitVRLittleEndian.name)
        file.seek(0)
        header = _complete(dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_KEYWORDS)))
    for keyword in _KEYWORDS:
        try:
            header.get(keyword)
        # A value that is none counts as missing, which those who need it will say.
        except Exception:  # noqa: BLE001, PERF203
            del header[keyword]
    for keyword in _UIDS:
        if not str(header[keyword].value):
            raise ValueError(keyword)
    return header


def _complete(dataset: "FileDataset") -> "FileDataset":
    """Write down how a file is encoded that does not say so itself, because it has no preamble."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset.file_meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _is_result(path: Path) -> bool:
    """Tell whether a volume was written by this command, as `<case>_<kind>.nii.gz` beside `<case>.json`."""
    return path.with_name(f"{path.name.rpartition('_')[0]}.json").is_file()
