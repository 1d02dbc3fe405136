"""The files of BraTS cases as users unpacked them: `[HGG|LGG]/<case>/<case>_<modality>.nii.gz`, of several years."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anomalib_patchgan.data.prepare.archive import check_inside, describe_missing, list_names
from anomalib_patchgan.data.prepare.brats.mapping import NameMapping, read_mappings
from anomalib_patchgan.data.prepare.brats.names import GRADES, YEARS, CaseName, parse_case
from anomalib_patchgan.data.prepare.brats.search import MAX_DEPTH, CaseFolder, Findings, search_cases
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.volume_names import SEGMENTATION, is_nifti
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

logger = logging.getLogger(__name__)

_EXAMPLES = {
    2018: "Brats18_2013_2_1",
    2019: "BraTS19_2013_2_1",
    2020: "BraTS20_Training_001",
    2021: "BraTS2021_00000",
    2023: "BraTS-GLI-00000-000",
    2024: "BraTS-GLI-00005-100",
}
# Published so.
_MISNAMED = {"BraTS20_Training_355": re.compile(r"W39_1998\.09\.19_Segm\.nii(\.gz)?", re.IGNORECASE)}
# Parts that are published without segmentations.
_UNLABELLED = re.compile(r"validation|testing|(?<![a-z])(val|valid|test)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BratsCase:
    """A case with its place among the others.

    Args:
        name: What its name says.
        grade: `HGG` or `LGG`, from its folder or else from `name_mapping.csv`; `None` if neither says.
        case: The case, with a `problem` if it lacks a file.
    """

    name: CaseName
    grade: str | None
    case: Case


def find_cases(roots: Sequence[Path], spec: BratsSpec) -> tuple[list[BratsCase], NameMapping]:
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
    found: list[CaseFolder] = []
    mappings: list[Path] = []
    grade_folders: list[Path] = []
    for root in roots:
        findings = search_cases(root, spec.years or YEARS) if root.is_dir() else Findings()
        if not findings.cases:
            msg = f"{describe_missing(root, _expected(spec), spec.published)}{_others(root, spec)}"
            raise DatasetNotFoundError(msg)
        found += findings.cases
        grade_folders += findings.grades
        archives = {case.archive for case in findings.cases}
        mappings += [
            path for path in findings.mappings if any(a.is_relative_to(path.parent.resolve()) for a in archives)
        ]
    _check_unique(found)
    _check_grade_folders(found, grade_folders, spec)
    mapping = read_mappings(mappings)
    unlabelled = [folder for folder in found if _is_unlabelled(folder, roots)]
    if unlabelled:
        what = "of a validation or test part without segmentations and left out"
        logger.warning("%d cases such as %s are %s", len(unlabelled), unlabelled[0].path, what)
    cases = [_read_case(folder, mapping, spec) for folder in found if folder not in unlabelled]
    _check_years(cases, roots, spec)
    cases = _keep_grades(cases, found[0].archive, spec)
    order = {grade: number for number, grade in enumerate((*GRADES, None))}
    return sorted(cases, key=lambda case: (case.name.year, order[case.grade], case.name.name)), mapping


def source_of(case: Case, kind: str) -> Path:
    """Return the file of a modality or, for `seg`, of the segmentation."""
    name = parse_case(case.name)
    return next(path for source, path in case.sources.items() if name and _kind_of(name, Path(source).name) == kind)


def _expected(spec: BratsSpec) -> str:
    kinds = ",".join([*spec.modalities, SEGMENTATION])
    if spec.name == "brats2019":
        grades = ",".join(spec.wanted_grades or GRADES)
        tree = f"MICCAI_BraTS_2019_Data_Training/{{{grades}}}/<case>/<case>_{{{kinds}}}.nii.gz"
        return f"{tree}, as unpacked from the official archive"
    examples = ", ".join(f"{_EXAMPLES[year]}" for year in spec.years or YEARS)
    return (
        f"folders named as the cases of BraTS ({examples}) with {{{kinds}}}.nii.gz each, up to {MAX_DEPTH} folders down"
    )


def _others(root: Path, spec: BratsSpec) -> str:
    """Say that there are cases of other years than those that were asked for; empty if there are none."""
    found = search_cases(root, YEARS).cases if spec.years and root.is_dir() else []
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
        if other is not case and other.path.parent.parent == case.path.parent.parent and other.grade != case.grade:
            msg = f"{case.path} is a case of another grade, too: remove one of the two folders."
            raise DataError(msg)
        if other is not case:
            msg = f"{case.path} is there twice, see {other.path}: remove one, or set root to one of the archives."
            raise DataError(msg)


def _is_unlabelled(folder: CaseFolder, roots: Sequence[Path]) -> bool:
    """Tell whether a case has no segmentation because it is of a published validation or test part."""
    root = next(root for root in roots if folder.path.is_relative_to(root))
    parts = folder.path.parent.relative_to(root).parts
    return any(_UNLABELLED.search(part) for part in parts) and SEGMENTATION not in _files(folder)


def _read_case(folder: CaseFolder, mapping: NameMapping, spec: BratsSpec) -> BratsCase:
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
            expected = f"{folder.name.file_name(kind)}, gzipped or not"
            raise DatasetNotFoundError(describe_missing(folder.path, expected, spec.published))
        check_inside(files[kind], folder.archive)
        is_wrapped = _kind_of(folder.name, files[kind].name) is None
        file_name = (files[kind].parent if is_wrapped else files[kind]).name
        parts = [folder.grade or "", folder.name.name, file_name]
        sources["/".join(filter(None, parts))] = files[kind]
    return sources


def _files(folder: CaseFolder) -> dict[str, Path]:
    """Return the files of a case by their kind; the compressed one of two."""
    path, names = folder.path, list_names(folder.path)
    if folder.name.name in names and (path / folder.name.name).is_dir():
        path = path / folder.name.name
        names = list_names(path)
    found: dict[str, Path] = {}
    for name in sorted(names, key=lambda name: (name.lower().endswith(".gz"), name)):
        kind = _kind_of(folder.name, name)
        file = _unwrap(path / name) if kind is not None else None
        if kind is not None and file is not None:
            found[kind] = file
    return found


def _unwrap(path: Path) -> Path | None:
    """Return a file, or the only one of a folder with a file's name, which some programs unpack `.gz` into."""
    if not path.is_dir():
        return path if path.is_file() else None
    inside = [path / name for name in list_names(path) if is_nifti(name)]
    return inside[0] if len(inside) == 1 and inside[0].is_file() else None


def _kind_of(name: CaseName, file_name: str) -> str | None:
    misnamed = _MISNAMED.get(name.name)
    return SEGMENTATION if misnamed and misnamed.fullmatch(file_name) else name.kind_of(file_name)


def _check_years(cases: Sequence[BratsCase], roots: Sequence[Path], spec: BratsSpec) -> None:
    there = {case.name.year for case in cases}
    for year in spec.years or ():
        if year not in there:
            expected = _expected(replace(spec, years=(year,)))
            raise DatasetNotFoundError(describe_missing(roots[0], expected, spec.published))
    if not cases:
        msg = (
            f"{roots[0]} holds no segmentation, only cases of a validation or test part: set root to the training part."
        )
        raise DatasetNotFoundError(msg)


def _check_grade_folders(found: Sequence[CaseFolder], grade_folders: Sequence[Path], spec: BratsSpec) -> None:
    """Refuse an archive that was unpacked in part, which has a grade without cases beside one with cases."""
    full = {case.path.parent for case in found if case.grade}
    archives = {folder.parent for folder in full}
    for folder in grade_folders:
        wanted = spec.wanted_grades is None or folder.name.upper() in spec.wanted_grades
        if wanted and folder not in full and folder.parent in archives:
            raise DatasetNotFoundError(describe_missing(folder, _expected(spec), spec.published))


def _keep_grades(cases: list[BratsCase], archive: Path, spec: BratsSpec) -> list[BratsCase]:
    """Keep the cases of the grades that are asked for."""
    wanted = spec.wanted_grades
    there = {case.grade for case in cases}
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
        if grade not in there:
            raise DatasetNotFoundError(describe_missing(archive / grade, _expected(spec), spec.published))
    return [case for case in cases if case.grade in wanted]
