"""The cases of BraTS below folders that may hold anything else, too: `[HGG|LGG]/<case>/<case>_<modality>.nii.gz`."""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anomalib_patchgan.data.prepare.brats.names import GRADES, YEARS, CaseName, parse_case
from anomalib_patchgan.data.prepare.brats.patients import BratsCase, NameMapping, read_mappings
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.volume_names import SEGMENTATION, is_nifti
from anomalib_patchgan.data.prepare.walk import (
    WalkLimits,
    check_inside,
    describe_missing,
    is_folder,
    list_names,
    walk,
)
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import check_id

logger = logging.getLogger(__name__)

# Levels of folders below the root that are listed: `collection/year/archive/HGG` is the deepest usual one.
MAX_DEPTH = 6
# The largest year has under 2,000 cases; a folder with more entries than this is another data set.
MAX_IN_FOLDER = 20_000
MAX_ENTRIES = 200_000
_MAPPING = re.compile(r"name_mapping.*\.csv", re.IGNORECASE)
_EXAMPLES = {
    2018: "Brats18_2013_2_1",
    2019: "BraTS19_2013_2_1",
    2020: "BraTS20_Training_001",
    2021: "BraTS2021_00000",
    2023: "BraTS-GLI-00000-000",
    2024: "BraTS-GLI-00005-100",
}
# Parts that are published without segmentations.
_UNLABELLED = re.compile(r"validation|testing|(?<![a-z])(val|valid|test)(?![a-z])", re.IGNORECASE)


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


def find_brats_cases(roots: Sequence[Path], spec: BratsSpec) -> tuple[list[BratsCase], NameMapping]:
    """Find the cases below one or more roots.

    Args:
        roots: Archives, or folders that hold archives, further down or among others.
        spec: Years, grades and modalities that are asked for.

    Returns:
        The cases sorted by year, grade and name, and what the `name_mapping.csv` beside or above them say.

    Raises:
        DatasetNotFoundError: There is no case below a root, or none of a year or grade that was asked for.
        DataError: A case is there twice, has a name that cannot be a file name, or a `name_mapping.csv` is not valid.
        ConfigurationError: A grade is asked for and that of a case is not known.
    """
    found = Findings()
    for root in roots:
        here = search_cases(root, spec.years or YEARS)
        if not here.cases:
            raise _not_found(root, spec, _other_years(root, spec))
        above = {parent for case in here.cases for parent in (case.archive, *case.archive.parents)}
        found.cases += here.cases
        found.grades += here.grades
        found.mappings += [path for path in here.mappings if path.parent.resolve() in above]
    _check_unique(found.cases)
    _check_grade_folders(found, spec)
    mapping = read_mappings(found.mappings)
    unlabelled = [folder for folder in found.cases if _is_unlabelled(folder, roots)]
    if unlabelled:
        what = "of a validation or test part without segmentations and left out"
        logger.warning("%d cases such as %s are %s", len(unlabelled), unlabelled[0].path, what)
    cases = [_open_folder(folder, mapping, spec) for folder in found.cases if folder not in unlabelled]
    _check_years(cases, roots, spec)
    cases = _keep_grades(cases, found.cases[0].archive, spec)
    order = {grade: number for number, grade in enumerate((*GRADES, None))}
    return sorted(cases, key=lambda case: (case.name.year, order[case.grade], case.name.name)), mapping


def search_cases(root: Path, years: Collection[int]) -> Findings:
    """Search a root, breadth first, for folders with the names of cases.

    Hidden folders, `__MACOSX`, whatever is not BraTS, and symbolic links further down than in the root itself are left
    out; a case's own folder is not looked into.

    Args:
        root: Folder to search; nothing is found in one that is not there.
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
    entered = walk(root, limits, enter=lambda path: parse_case(path.name) is None, follow=_is_grade)
    for folder, entries in entered if root.is_dir() else ():
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


def _expected(spec: BratsSpec) -> str:
    kinds = ",".join([*spec.modalities, SEGMENTATION])
    if spec.name == "brats2019":
        grades = ",".join(spec.wanted_grades or GRADES)
        tree = f"MICCAI_BraTS_2019_Data_Training/{{{grades}}}/<case>/<case>_{{{kinds}}}.nii.gz"
        return f"{tree}, as unpacked from the official archive"
    examples = ", ".join(_EXAMPLES[year] for year in spec.years or YEARS)
    return (
        f"folders named as the cases of BraTS ({examples}) with {{{kinds}}}.nii.gz each, up to {MAX_DEPTH} folders down"
    )


def _not_found(folder: Path, spec: BratsSpec, more: str = "", *, expected: str | None = None) -> DatasetNotFoundError:
    """Return the error that cases, or a file of one, are not where they should be."""
    return DatasetNotFoundError(f"{describe_missing(folder, expected or _expected(spec), spec.published)}{more}")


def _other_years(root: Path, spec: BratsSpec) -> str:
    """Say that there are cases of other years than those that were asked for; empty if there are none."""
    found = search_cases(root, YEARS).cases if spec.years else []
    if not found:
        return ""
    years = ", ".join(map(str, sorted({case.name.year for case in found})))
    remedy = "use --data BraTS for any year" if spec.name == "brats2019" else "name them as years"
    return f" There are cases of {years}, such as {found[0].name.name}: {remedy}."


def _check_unique(found: Sequence[CaseFolder]) -> None:
    seen: dict[str, CaseFolder] = {}
    for case in found:
        # File systems of Windows and macOS take names that differ in case only for one.
        other = seen.setdefault(case.name.name.lower(), case)
        if other is case:
            continue
        msg = f"{case.path} is there twice, see {other.path}: remove one, or set root to one of the archives."
        if other.path.parent.parent == case.path.parent.parent and other.grade != case.grade:
            msg = f"{case.path} is a case of another grade, too: remove one of the two folders."
        raise DataError(msg)


def _is_unlabelled(folder: CaseFolder, roots: Sequence[Path]) -> bool:
    """Tell whether a case has no segmentation because it is of a published validation or test part."""
    root = next(root for root in roots if folder.path.is_relative_to(root))
    parts = folder.path.parent.relative_to(root).parts
    return any(_UNLABELLED.search(part) for part in parts) and SEGMENTATION not in _files(folder)


def _open_folder(folder: CaseFolder, mapping: NameMapping, spec: BratsSpec) -> BratsCase:
    name = folder.name.name
    try:
        case = Case(name=name, sources=_find_sources(folder, spec))
    except (DataError, DatasetNotFoundError) as error:
        case = Case(name=name, problem=error)
    return BratsCase(name=folder.name, grade=folder.grade or mapping.grade(name), case=case)


def _find_sources(folder: CaseFolder, spec: BratsSpec) -> dict[str, Path]:
    """Return the files that are needed, by their names in the archive."""
    files = _files(folder)
    sources: dict[str, Path] = {}
    for kind in (*spec.modalities, SEGMENTATION):
        if kind not in files:
            raise _not_found(folder.path, spec, expected=f"{folder.name.file_name(kind)}, gzipped or not")
        name, file = files[kind]
        check_inside(file, folder.archive)
        sources["/".join(filter(None, [folder.grade or "", folder.name.name, name]))] = file
    return sources


def _files(folder: CaseFolder) -> dict[str, tuple[str, Path]]:
    """Return the files of a case by their kind, with their names; the compressed one of two."""
    path, names = folder.path, list_names(folder.path)
    if folder.name.name in names and (path / folder.name.name).is_dir():
        path = path / folder.name.name
        names = list_names(path)
    found: dict[str, tuple[str, Path]] = {}
    for name in sorted(names, key=lambda name: (name.lower().endswith(".gz"), name)):
        kind = folder.name.kind_of(name)
        if kind is not None and (file := _unwrap(path / name)) is not None:
            found[kind] = name, file
    return found


def _unwrap(path: Path) -> Path | None:
    """Return a file, or the only one of a folder with a file's name, which some programs unpack `.gz` into."""
    if not path.is_dir():
        return path if path.is_file() else None
    inside = [path / name for name in list_names(path) if is_nifti(name)]
    return inside[0] if len(inside) == 1 and inside[0].is_file() else None


def _check_years(cases: Sequence[BratsCase], roots: Sequence[Path], spec: BratsSpec) -> None:
    there = {case.name.year for case in cases}
    for year in spec.years or ():
        if year not in there:
            raise _not_found(roots[0], replace(spec, years=(year,)))
    if not cases:
        msg = (
            f"{roots[0]} holds no segmentation, only cases of a validation or test part: set root to the training part."
        )
        raise DatasetNotFoundError(msg)


def _check_grade_folders(found: Findings, spec: BratsSpec) -> None:
    """Refuse an archive that was unpacked in part, which has a grade without cases beside one with cases."""
    full = {case.path.parent for case in found.cases if case.grade}
    archives = {folder.parent for folder in full}
    for folder in found.grades:
        wanted = spec.wanted_grades is None or folder.name.upper() in spec.wanted_grades
        if wanted and folder not in full and folder.parent in archives:
            raise _not_found(folder, spec)


def _keep_grades(cases: list[BratsCase], archive: Path, spec: BratsSpec) -> list[BratsCase]:
    """Keep the cases of the grades that are asked for."""
    wanted = spec.wanted_grades
    if wanted is None:
        return cases
    unknown = [case.name.name for case in cases if case.grade is None]
    if unknown:
        msg = (
            f"grades={list(wanted)} cannot be kept, the grade of {len(unknown)} cases such as {unknown[0]} is not "
            "known: no folder HGG or LGG and no name_mapping.csv says it. Give years that have grades (2018 to 2020), "
            "or another protocol without grades."
        )
        raise ConfigurationError(msg)
    for grade in wanted:
        if grade not in {case.grade for case in cases}:
            raise _not_found(archive / grade, spec)
    return [case for case in cases if case.grade in wanted]
