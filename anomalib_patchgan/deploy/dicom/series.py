"""Series of a study: grouped by their UIDs, told apart without the patient's name, and chosen."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from anomalib_patchgan.deploy.dicom.files import DicomFile
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import short_hash

_MAX_TEXT = 64
# Shorter parts of a name, such as "de", stand in other words, too.
_MIN_WORD = 3


@dataclass(frozen=True, kw_only=True)
class Series:
    """The images of one series.

    Args:
        files: One file per image, or one of several frames, by instance number.
    """

    files: Sequence[DicomFile]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return text_of(self.files[0], "SeriesInstanceUID")

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return text_of(self.files[0], "StudyInstanceUID")

    @property
    def number(self) -> str:
        """SeriesNumber; empty if there is none."""
        return text_of(self.files[0], "SeriesNumber")

    @property
    def description(self) -> str:
        """SeriesDescription without words of the patient's name, as a protocol may have been named."""
        return hide_name(text_of(self.files[0], "SeriesDescription"), text_of(self.files[0], "PatientName"))

    @property
    def modality(self) -> str:
        """Modality, such as `MR`."""
        return text_of(self.files[0], "Modality")

    @property
    def images(self) -> int:
        """Number of images, each frame of a file being one."""
        return sum(number_of_frames(file) for file in self.files)

    @property
    def is_volume(self) -> bool:
        """Whether it may be a volume: more than one image, each of which has a place; no localizer."""
        first = self.files[0].header
        has_place = "ImagePositionPatient" in first or "PerFrameFunctionalGroupsSequence" in first
        return has_place and "LOCALIZER" not in image_type(self.files[0]) and self.images > 1

    def describe(self, *, uid: bool = False) -> str:
        """Describe it in words, as in `5 "T2 FLAIR" (MR, 24 images)`."""
        images = "1 image" if self.images == 1 else f"{self.images} images"
        shown = f", {self.uid}" if uid else ""
        return f'{self.number or "without number"} "{self.description}" ({self.modality}, {images}{shown})'


def group_series(files: Iterable[DicomFile]) -> list[list[Series]]:
    """Group files into studies and those into series, by study and number of the series.

    Args:
        files: Headers; those without pixels, such as reports, and segmentations are left out.

    Returns:
        The series of each study.
    """
    images = [file for file in files if "Rows" in file.header and text_of(file, "Modality") != "SEG"]

    def key(file: DicomFile) -> tuple[str, ...]:
        return tuple(text_of(file, name) for name in ("StudyInstanceUID", "SeriesInstanceUID"))

    series = []
    for _, group in groupby(sorted(images, key=key), key):
        # An export may hold an image twice, in two folders.
        once = {text_of(file, "SOPInstanceUID"): file for file in reversed(list(group))}
        ordered = sorted(once.values(), key=lambda file: (instance_number(file), text_of(file, "SOPInstanceUID")))
        series.append(Series(files=ordered))
    return [
        sorted(study, key=lambda one: (len(one.number), one.number, one.uid))
        for _, study in groupby(series, lambda one: one.study_uid)
    ]


def choose_series(study: Sequence[Series], wanted: str | None) -> Series:
    """Choose the series that is meant.

    Args:
        study: Series of one study.
        wanted: SeriesInstanceUID, or description or a part of it, whatever its case; `None` if there is but one.

    Raises:
        ConfigurationError: None or several fit; the message lists the series.
    """
    if wanted is None:
        fitting = [series for series in study if series.is_volume] or list(study)
        problem = "several series may be meant"
    else:
        word = wanted.strip().casefold()
        texts = [(series, text_of(series.files[0], "SeriesDescription").casefold()) for series in study]
        fitting = (
            [series for series in study if series.uid == wanted.strip()]
            or [series for series, text in texts if text == word]
            or [series for series, text in texts if word and word in text]
        )
        problem = f'{"several series are" if fitting else "no series is"} called "{wanted}"'
    if len(fitting) == 1:
        return fitting[0]
    msg = f"{problem}, choose one by --series DESCRIPTION or UID; {list_series(fitting or study)}"
    raise ConfigurationError(msg)


def list_series(study: Sequence[Series]) -> str:
    """List series of a study in one line, with their UIDs where they could not be told apart otherwise."""
    descriptions = [series.description for series in study]
    shown = [
        series.describe(uid=descriptions.count(series.description) > 1 or not series.description) for series in study
    ]
    return f"{study_name(study[0])} has {len(study)}: {', '.join(shown)}."


def study_name(series: Series) -> str:
    """Name a study by a hash of its UID, so that nobody's name is in it.

    Example:
        >>> from pathlib import Path
        >>> study_name(Series(files=[DicomFile(Path("IM1"), {"StudyInstanceUID": "1.2.3"})]))
        'study-c47f5b18'
    """
    return f"study-{short_hash(series.study_uid)}"


def hide_name(text: str, name: str) -> str:
    """Replace the words of a text that hold a part of a patient's name.

    Args:
        text: Text, such as the description of a series.
        name: PatientName as stored, `Family^Given=...`.

    Example:
        >>> hide_name("FLAIR_Meier tra", "MEIER^Anna"), hide_name("FLAIR", "")
        ('FLAIR_… tra', 'FLAIR')
    """
    parts = [part for part in re.findall(r"[^\W_]+", name.casefold()) if len(part) >= _MIN_WORD or not part.isascii()]
    return re.sub(r"[^\W_]+", lambda word: "…" if any(part in word[0].casefold() for part in parts) else word[0], text)


def text_of(file: DicomFile, keyword: str) -> str:
    """Return an entry of a header as a text that can be printed; empty if there is none."""
    value = file.header.get(keyword)
    return printable("" if value is None else str(value), None if keyword == "PatientName" else _MAX_TEXT)


def image_type(file: DicomFile) -> str:
    """Return the ImageType in upper case; not cut as other texts are, since what decides may be its last word."""
    return str(file.header.get("ImageType", "")).upper()


def printable(text: str, limit: int | None = _MAX_TEXT) -> str:
    """Return a text in one line, without what cannot be printed.

    Args:
        text: Text of a file, which anybody may have written.
        limit: Most characters.
    """
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:limit]


def instance_number(file: DicomFile) -> int:
    """Return the InstanceNumber, or 0 if there is none."""
    text = text_of(file, "InstanceNumber")
    return int(text) if text.lstrip("+-").isdecimal() else 0


def number_of_frames(file: DicomFile) -> int:
    """Return how many images a file says to hold, at least 1."""
    text = text_of(file, "NumberOfFrames")
    return max(int(text), 1) if text.isdecimal() else 1
