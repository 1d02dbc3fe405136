"""Which cases are of one patient, and which are one scan under two names."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anomalib_patchgan.data.prepare.brats.files import BratsCase
from anomalib_patchgan.data.prepare.brats.mapping import NameMapping
from anomalib_patchgan.data.prepare.brats.names import parse_case

# Years between which only a `name_mapping.csv` can tell which patients are the same.
_NUMBERINGS = ((2018, 2019), (2020,), (2021,), (2023, 2024))


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
    parents: dict[str, str] = {}

    def find(member: str) -> str:
        while (parent := parents.get(member, member)) != member:
            member = parent
        return member

    for first, *others in filter(None, groups):
        for other in others:
            parents[find(other)] = find(first)
    return find
