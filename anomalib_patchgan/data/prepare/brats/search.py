"""Finding the folders of BraTS cases below a root that may hold anything else, too."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from anomalib_patchgan.data.prepare.brats.names import GRADES, CaseName, parse_case
from anomalib_patchgan.data.prepare.walk import WalkLimits, is_folder, walk
from anomalib_patchgan.files import check_id

# Levels of folders below the root that are listed: `collection/year/archive/HGG` is the deepest usual one.
MAX_DEPTH = 6
# The largest year has under 2,000 cases; a folder with more entries than this is another data set.
MAX_IN_FOLDER = 20_000
MAX_ENTRIES = 200_000
_MAPPING = re.compile(r"name_mapping.*\.csv", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class CaseFolder:
    """Folder of one case.

    Args:
        name: Name of the case.
        path: The folder.
        archive: Folder that holds it, or its grade; symbolic links resolved.
        grade: `HGG` or `LGG` if the tree says so.
    """

    name: CaseName
    path: Path
    archive: Path
    grade: str | None


@dataclass(kw_only=True)
class Findings:
    """What was found below a root.

    Args:
        cases: Case folders.
        mappings: Files named as `name_mapping.csv`.
        grades: Folders named as a grade.
    """

    cases: list[CaseFolder] = field(default_factory=list)
    mappings: list[Path] = field(default_factory=list)
    grades: list[Path] = field(default_factory=list)


def search_cases(root: Path, years: Collection[int]) -> Findings:
    """Search a root, breadth first, for folders with the names of cases.

    Hidden folders, `__MACOSX`, whatever is not BraTS, and symbolic links further down than in the root itself are left
    out; a case's own folder is not looked into.

    Args:
        root: Folder to search.
        years: Years that count.

    Returns:
        What was found, in order of the paths.

    Raises:
        DataError: The root cannot be listed, or a case has a name that cannot be a file name.
        ConfigurationError: There is far too much below the root.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("a/BraTS2021_00003", "b/HGG/Brats18_2013_2_1", "b/__MACOSX/BraTS2021_00003", "c/photographs"):
        ...     (root / name).mkdir(parents=True)
        >>> [(case.name.name, case.grade) for case in search_cases(root, [2018, 2021]).cases]
        [('BraTS2021_00003', None), ('Brats18_2013_2_1', 'HGG')]
    """
    findings = Findings()
    limits = WalkLimits(what="BraTS", depth=MAX_DEPTH, in_folder=MAX_IN_FOLDER, entries=MAX_ENTRIES)
    # Files below a link that is a grade's folder are refused one by one, with a message.
    for folder, entries in walk(root, limits, enter=lambda path: parse_case(path.name) is None, follow=_is_grade):
        is_grade = _is_grade(folder)
        if is_grade:
            findings.grades.append(folder)
        for entry in entries:
            name = parse_case(entry.name)
            if not is_folder(entry):
                if _MAPPING.fullmatch(entry.name):
                    findings.mappings.append(folder / entry.name)
            elif name is not None and name.year in years:
                check_id(name.name, folder)
                archive = (folder.parent if is_grade else folder).resolve()
                grade = folder.name.upper() if is_grade else None
                findings.cases.append(CaseFolder(name=name, path=folder / entry.name, archive=archive, grade=grade))
    return findings


def _is_grade(folder: Path) -> bool:
    return folder.name.upper() in GRADES
