"""Which cases are of one patient, and which are one scan under two names: what the names say, and `name_mapping.csv`.

The table has been published since 2018, with the grades and the names that one scan has in several years.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from anomalib_patchgan.data.prepare.brats.names import GRADES, CaseName, parse_case
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.csv_files import MISSING, read_rows
from anomalib_patchgan.data.prepare.walk import check_inside
from anomalib_patchgan.errors import DataError

# Years between which only a `name_mapping.csv` can tell which patients are the same.
_NUMBERINGS = ((2018, 2019), (2020,), (2021,), (2023, 2024))


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


@dataclass(frozen=True, kw_only=True)
class NameMapping:
    """What one or more tables say.

    Args:
        grades: Grade by the name of a case, in lower case.
        rows: For each scan its names in lower case, and the id of its subject in TCGA or TCIA if it has one.
    """

    grades: dict[str, str] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)

    def grade(self, name: str) -> str | None:
        """Return the grade of a case; `None` if no table says it."""
        return self.grades.get(name.lower())


def read_mappings(paths: Iterable[Path]) -> NameMapping:
    r"""Read tables with a column `Grade` and one of names per year; other columns do not count.

    Args:
        paths: CSV files in UTF-8, at most 16 MiB each. One without any name of a case says nothing.

    Returns:
        What they say together.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file is no valid CSV, a row has another number of cells than the header, a grade is neither HGG
            nor LGG, or a case has two grades.

    Example:
        >>> path = Path("name_mapping.csv")
        >>> rows = "Grade,BraTS_2018_subject_ID,BraTS_2020_subject_ID\nLGG,Brats18_2013_8_1,BraTS20_Training_260\n"
        >>> _ = path.write_text(rows)
        >>> mapping = read_mappings([path])
        >>> mapping.grade("BraTS20_Training_260"), mapping.rows
        ('LGG', [['brats18_2013_8_1', 'brats20_training_260']])
    """
    mapping = NameMapping()
    for path in paths:
        check_inside(path, path.parent.resolve())
        rows = read_rows(path, remedy="correct the quotes or restore the file")
        _add(mapping, [(f"{path}, line {number},", row) for number, row in rows if any(row)])
    return mapping


def _add(mapping: NameMapping, rows: Sequence[tuple[str, list[str]]]) -> None:
    if not rows or not any(parse_case(cell) for _, row in rows for cell in row):
        return
    header = [cell.lower() for cell in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            msg = f"{line} has {len(row)} cells instead of the {len(header)} of the header: restore the file."
            raise DataError(msg)
        cells = dict(zip(header, row, strict=True))
        names = [cell.lower() for cell in row if parse_case(cell)]
        subjects = [f"{key} {cell}" for key, cell in cells.items() if "tcga" in key and cell.lower() not in MISSING]
        mapping.rows.append([*names, *subjects])
        grade = cells.get("grade", "").upper()
        if grade.lower() in MISSING:
            continue
        if grade not in GRADES:
            msg = f"{line} has {grade[:40]!r} where HGG or LGG belongs: correct it or restore the file."
            raise DataError(msg)
        for name in names:
            if mapping.grades.setdefault(name, grade) != grade:
                msg = (
                    f"{line} gives {name} the grade {grade}, and {mapping.grades[name]} elsewhere: correct one of them."
                )
                raise DataError(msg)


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Who is who.

    Args:
        cases: The cases without those that are another one's scan under an older name.
        patients: Patient of each of these cases.
        duplicates: Case that is left out, and the one that is kept instead.
        aliases: Other names of cases and patients: what a split file may call them by.
        unlinked: Years whose patients may be the same under other names, and no table tells.
    """

    cases: list[BratsCase]
    patients: dict[str, str]
    duplicates: dict[str, str]
    aliases: dict[str, str]
    unlinked: list[int]


def identify(cases: Sequence[BratsCase], mapping: NameMapping) -> Identities:
    """Find the patients of cases.

    Of one scan under several names, which only a `name_mapping.csv` tells, the newest that has all its files is kept.
    A patient of several years has the name of the newest.

    Args:
        cases: All cases.
        mapping: What the tables of names say.

    Example:
        >>> from anomalib_patchgan.data.prepare.cases import Case
        >>> names = map(parse_case, ("Brats18_2013_8_1", "BraTS20_Training_260"))
        >>> cases = [BratsCase(name=name, grade=None, case=Case(name=name.name)) for name in names]
        >>> found = identify(cases, NameMapping(rows=[["brats18_2013_8_1", "brats20_training_260"]]))
        >>> found.duplicates
        {'Brats18_2013_8_1': 'BraTS20_Training_260'}
        >>> identify(cases, NameMapping()).unlinked
        [2018, 2020]
    """
    duplicates = _find_duplicates(cases, mapping)
    kept = [case for case in cases if case.name.name not in duplicates]
    group = _join([_patient_key(name) for name in row] for row in mapping.rows)
    newest: dict[str, BratsCase] = {}
    # By year, and of one year the first by name.
    for case in sorted(kept, key=lambda case: (-case.name.year, case.name.name)):
        newest.setdefault(group(case.name.key), case)
    patients = {case.name.name: newest[group(case.name.key)].name.patient for case in kept}
    aliases = dict(duplicates)
    for case in cases:
        representative = newest.get(group(case.name.key))
        if representative is not None and case.name.patient != representative.name.patient:
            aliases.setdefault(case.name.patient, representative.name.patient)
    return Identities(
        cases=kept,
        patients=patients,
        duplicates=duplicates,
        aliases={alias: name for alias, name in aliases.items() if alias not in patients},
        unlinked=_find_unlinked(cases, mapping),
    )


def _find_duplicates(cases: Sequence[BratsCase], mapping: NameMapping) -> dict[str, str]:
    """Return the cases that are another one's scan under an older name, each with the one that is kept."""
    scan = _join([name for name in row if parse_case(name)] for row in mapping.rows)
    best: dict[str, BratsCase] = {}
    for case in sorted(cases, key=lambda case: (case.case.problem is not None, -case.name.year, case.name.name)):
        best.setdefault(scan(case.name.name.lower()), case)
    kept = {case.name.name: best[scan(case.name.name.lower())].name for case in cases}
    # A table that gives two cases of one year to one scan is not believed in that.
    return {case.name.name: kept[case.name.name].name for case in cases if kept[case.name.name].year != case.name.year}


def _find_unlinked(cases: Sequence[BratsCase], mapping: NameMapping) -> list[int]:
    years = sorted({case.name.year for case in cases})
    linked = {name for row in mapping.rows for name in row}
    present = [numbering for numbering in _NUMBERINGS if set(numbering) & set(years)]
    later = {year for numbering in present[1:] for year in numbering}
    if all(case.name.name.lower() in linked for case in cases if case.name.year in later):
        return []
    return years


def _patient_key(name: str) -> str:
    """Return the key of a case's patient; the name itself if it is no case but a subject."""
    case = parse_case(name)
    return case.key if case else name


def _join(groups: Iterable[Sequence[str]]) -> Callable[[str], str]:
    """Return a function from a member to one that stands for all that share a group with it, directly or not."""
    sets: DisjointSet[str] = DisjointSet()
    for group in groups:
        for member in group:
            sets.add(member)
            sets.merge(group[0], member)
    first = {member: sets[member] for member in sets}
    return lambda member: first.get(member, member)
