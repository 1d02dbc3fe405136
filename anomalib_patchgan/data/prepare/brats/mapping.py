"""`name_mapping.csv`, published since 2018: grades, and the names that one scan has in several years."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anomalib_patchgan.data.prepare.archive import check_inside
from anomalib_patchgan.data.prepare.brats.names import GRADES, parse_case
from anomalib_patchgan.data.prepare.csv_files import MISSING, read_rows
from anomalib_patchgan.errors import DataError


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
