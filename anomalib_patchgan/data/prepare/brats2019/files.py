"""The files of BraTS 2019 as a user unpacked them: `{HGG,LGG}/<case>/<case>_<modality>.nii.gz`."""

import re
from collections.abc import Sequence
from pathlib import Path

from anomalib_patchgan.data.prepare.archive import check_inside, describe_missing, find_archive, list_names
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.csv_files import check_id
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError

ARCHIVE = "MICCAI_BraTS_2019_Data_Training"
GRADES = ("HGG", "LGG")
MODALITIES = ("flair", "t1", "t1ce", "t2")
PUBLISHED = "https://www.med.upenn.edu/cbica/brats2019/data.html (registration needed)"
_SUFFIXES = (".nii.gz", ".nii")


def find_cases(root: str | Path, grades: Sequence[str] | None, modalities: Sequence[str]) -> list[Case]:
    """Find the cases of an archive.

    Args:
        root: `MICCAI_BraTS_2019_Data_Training` or its parent.
        grades: Grades to read, `HGG` and `LGG`; `None` for those that are there.
        modalities: Modalities that each case must have, beside its segmentation.

    Returns:
        The cases sorted by grade and name; one that lacks a file has a `problem`.

    Raises:
        DatasetNotFoundError: There is no archive, or a grade is not there or has no cases.
        DataError: A case is in both grades, or has a name that cannot be a file name.
    """
    expected = (
        f"{ARCHIVE}/{{{','.join(grades or GRADES)}}}/<case>/<case>_{{{','.join([*modalities, 'seg'])}}}.nii.gz, as "
        "unpacked from the official archive"
    )
    archive = find_archive(root, ARCHIVE, grades or GRADES, expected, PUBLISHED)
    cases: dict[str, Case] = {}
    for grade in grades or [grade for grade in GRADES if (archive / grade).is_dir()]:
        folder = archive / grade
        names = [name for name in list_names(folder) if (folder / name).is_dir()] if folder.is_dir() else []
        if not names:
            raise DatasetNotFoundError(describe_missing(folder, expected, PUBLISHED))
        for name in names:
            check_id(name, folder)
            if name in cases:
                msg = f"{folder / name} is a case of another grade, too: remove one of the two folders."
                raise DataError(msg)
            cases[name] = _find_case(archive, grade, name, modalities)
    return list(cases.values())


def patient_of(case: str) -> str:
    """Return the patient of a case: its name without the trailing visit.

    Example:
        >>> patient_of("BraTS19_2013_2_1")
        'BraTS19_2013_2'
    """
    return re.sub(r"_\d+$", "", case) or case


def source_of(case: Case, kind: str) -> Path:
    """Return the file of a modality or, for `seg`, of the segmentation."""
    return next(path for path in case.sources.values() if path.name.startswith(f"{case.name}_{kind}.nii"))


def _find_case(archive: Path, grade: str, name: str, modalities: Sequence[str]) -> Case:
    sources: dict[str, Path] = {}
    problem: PatchGanError | None = None
    for kind in (*modalities, "seg"):
        paths = [archive / grade / name / f"{name}_{kind}{suffix}" for suffix in _SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            expected = f"{paths[0].name}, gzipped or not"
            problem = DatasetNotFoundError(describe_missing(archive / grade / name, expected, PUBLISHED))
            break
        try:
            check_inside(path, archive)
        except DataError as error:
            problem = error
            break
        sources[f"{grade}/{name}/{path.name}"] = path
    return Case(name=name, sources={} if problem else sources, problem=problem)
