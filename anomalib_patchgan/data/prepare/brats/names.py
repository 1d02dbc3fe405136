"""Names of cases, patients and files in the BraTS glioma challenges, year by year."""

import re
from dataclasses import dataclass

from anomalib_patchgan.data.prepare.volume_names import ENDING, MODALITIES, SEGMENTATION, canonical_modality, words_for

# 2022 had the cases of 2021.
YEARS = (2018, 2019, 2020, 2021, 2023, 2024)
GRADES = ("HGG", "LGG")
# A name of 2023 with a visit from 100 on is of 2024, after treatment.
_FIRST_VISIT_2024 = 100

# Published so.
_MISNAMED = {"BraTS20_Training_355": re.compile(r"W39_1998\.09\.19_Segm\.nii(\.gz)?", re.IGNORECASE)}

_2018_2019 = re.compile(r"(?P<patient>brats1(?P<year>[89])_(?P<subject>.+?))(?:_(?P<visit>\d+))?", re.IGNORECASE)
_2020 = re.compile(r"(?P<patient>brats20_training_\d+)", re.IGNORECASE | re.ASCII)
_2021 = re.compile(r"(?P<patient>brats2021_(?P<subject>\d+))", re.IGNORECASE | re.ASCII)
_2023_2024 = re.compile(r"(?P<patient>brats-gli-(?P<subject>\d+))-(?P<visit>\d+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CaseName:
    """What the name of a case says.

    Args:
        name: The name.
        year: Year of the challenge.
        patient: The name without the visit.
        key: The same for names of one patient in years that number patients alike: 2018 and 2019, and 2021 to 2024.
    """

    name: str
    year: int
    patient: str
    key: str

    def file_name(self, kind: str) -> str:
        """Return the name of the file of a modality or, for `seg`, of the segmentation, as that year has it."""
        if self.year < 2023:  # noqa: PLR2004
            return f"{self.name}_{kind}.nii.gz"
        return f"{self.name}-{words_for(kind)[-1]}.nii.gz"

    def kind_of(self, file_name: str) -> str | None:
        """Return the modality of one of the case's files, `seg`, or `None` for any other file.

        Example:
            >>> parse_case("BraTS-GLI-00005-100").kind_of("BraTS-GLI-00005-100-t2f.NII.gz")
            'flair'
        """
        misnamed = _MISNAMED.get(self.name)
        if misnamed is not None and misnamed.fullmatch(file_name):
            return SEGMENTATION
        lower, start = file_name.lower(), self.name.lower()
        if not ENDING.search(lower) or not lower.startswith((f"{start}_", f"{start}-")):
            return None
        word = canonical_modality(ENDING.sub("", lower)[len(start) + 1 :])
        return word if word in {*MODALITIES, SEGMENTATION} else None


def parse_case(name: str) -> CaseName | None:
    """Read the name of a case; `None` for any other name.

    Example:
        >>> [parse_case(name).patient for name in ("Brats18_TCIA02_471_1", "BraTS20_Training_002", "BraTS2021_00006")]
        ['Brats18_TCIA02_471', 'BraTS20_Training_002', 'BraTS2021_00006']
        >>> parse_case("BraTS-GLI-00012-001").patient, parse_case("BraTS-GLI-00012-100").year
        ('BraTS-GLI-00012', 2024)
        >>> parse_case("BraTS20_Validation_001")
    """
    if match := _2018_2019.fullmatch(name):
        year = 2010 + int(match["year"])
        return CaseName(name=name, year=year, patient=match["patient"], key=f"2018 {match['subject'].lower()}")
    if match := _2020.fullmatch(name):
        return CaseName(name=name, year=2020, patient=name, key=f"2020 {name.lower()}")
    if match := _2021.fullmatch(name):
        return CaseName(name=name, year=2021, patient=name, key=f"2021 {int(match['subject'])}")
    if match := _2023_2024.fullmatch(name):
        year = 2023 if int(match["visit"]) < _FIRST_VISIT_2024 else 2024
        return CaseName(name=name, year=year, patient=match["patient"], key=f"2021 {int(match['subject'])}")
    return None
