"""Who is in a cohort: which scans can be used, who of the participants is healthy, and in which split each is."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.csv_files import MISSING, read_rows
from anomalib_patchgan.data.prepare.splits import SPLITS, assign_splits, hash_fraction, splits_from_file
from anomalib_patchgan.data.prepare.volume_folder.find import Scan
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.files import check_id

logger = logging.getLogger(__name__)

NORMAL, ABNORMAL = "normal", "abnormal"
_GROUPS = {
    **dict.fromkeys(("normal", "control", "controls", "healthy", "hc"), NORMAL),
    **dict.fromkeys(("abnormal", "patient", "patients"), ABNORMAL),
}
_ID = "participant_id"
NO_MASK = "its group is abnormal and it has no mask, so that nothing says which of its slices are healthy"
NO_GROUP = "it has neither a mask nor a group, so that nothing says whether it is healthy"
NOT_LISTED = "the table of participants does not name it"
WEAK = "no scan has a mask: every slice of an abnormal scan counts as abnormal, which only scores of whole patients fit"


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A row of the table.

    Args:
        name: Id as it is written.
        group: `normal` for a healthy one, `abnormal`, or `None` where the table does not say.
        split: `train`, `val`, `test`, or `None`.
    """

    name: str
    group: str | None = None
    split: str | None = None


def participant_key(name: str) -> str:
    """Return what two spellings of an id have in common: `sub-01` and `01` are one participant.

    Example:
        >>> participant_key("sub-P1") == participant_key("p1")
        True
    """
    return name.casefold().removeprefix("sub-")


def read_participants(path: Path, *, strict: bool = True) -> dict[str, Participant]:
    r"""Read a table with a column `participant_id` and, if wanted, `group` and `split`; others do not count.

    Args:
        path: CSV or TSV file in UTF-8 with a header; at most 16 MiB. Commas, semicolons or tabs separate cells.
        strict: Refuse groups that are not known. Otherwise they say nothing, because in a table that came with the
            data `group` may mean anything.

    Returns:
        Participants by `participant_key`.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: The table is not valid, or has a participant twice with different rows.

    Example:
        >>> path = Path("participants.tsv")
        >>> _ = path.write_text("participant_id\tage\tgroup\nsub-01\t43\tnormal\nsub-02\t51\tn/a\n")
        >>> [participant.group for participant in read_participants(path).values()]
        ['normal', None]
    """
    rows = [(line, row) for line, row in read_rows(path, "\t,;") if any(row)]
    columns = [cell.lower() for cell in rows[0][1]] if rows else []
    for name in (_ID, "group", "split"):
        if columns.count(name) > 1 or (name == _ID and name not in columns):
            msg = f"{path} needs one column {name}: write a first line such as participant_id,group,split."
            raise DataError(msg)
    found: dict[str, Participant] = {}
    unknown: list[str] = []
    for line, row in rows[1:]:
        place = Path(f"{path}, line {line}")
        if len(row) != len(columns):
            msg = f"{place} has {len(row)} cells instead of the {len(columns)} of the header: correct the separators."
            raise DataError(msg)
        participant = _read_row(dict(zip(columns, row, strict=True)), place, unknown)
        other = found.setdefault(participant_key(participant.name), participant)
        if (other.group, other.split) != (participant.group, participant.split):
            msg = f"{place} says something else about {participant.name} than a line before: remove one of them."
            raise DataError(msg)
    if not found:
        msg = f"{path} has no participant: write one line for each below the header."
        raise DataError(msg)
    if unknown and strict:
        msg = f"{unknown[0]} where normal or abnormal belongs: correct it."
        raise DataError(msg)
    if unknown:
        message = "%d groups that are neither normal nor abnormal say nothing: %s"
        logger.warning(message, len(unknown), unknown[0])
    return found


def _read_row(cells: dict[str, str], place: Path, unknown: list[str]) -> Participant:
    name = cells[_ID]
    check_id(name, place)
    group, split = (cells.get(column, "").lower() for column in ("group", "split"))
    if group not in MISSING and group not in _GROUPS:
        unknown.append(f"{place} has {group[:40]!r}")
    if split not in MISSING and split not in SPLITS:
        msg = f"{place} has {split[:40]!r} where train, val or test belongs: correct it."
        raise DataError(msg)
    return Participant(name=name, group=_GROUPS.get(group), split=split if split in SPLITS else None)


def choose_scans(scans: Sequence[Scan], participants: Mapping[str, Participant], spec: VolumeFolderSpec) -> list[Scan]:
    """Leave out the scans of which nothing says what is healthy in them.

    Args:
        scans: All scans, which get their `group`, `split` and `left_out`.
        participants: The table, by `participant_key`; empty without one.
        spec: For tiles, abnormal scans without masks are of no use at all.

    Returns:
        The scans that are used.

    Raises:
        DataError: The table names none of the participants.
        ConfigurationError: No scan is left.

    Example:
        >>> scans = [Scan(name="a", patient="a", masks=["a_seg.nii"]), Scan(name="b", patient="b")]
        >>> len(choose_scans(scans, {}, VolumeFolderSpec())), scans[1].left_out
        (1, 'it has neither a mask nor a group, so that nothing says whether it is healthy')
    """
    keys = {participant_key(scan.patient) for scan in scans}
    if participants and not keys & participants.keys():
        msg = (
            f"the table of participants names none of those that have scans, such as {scans[0].patient}: write their "
            "ids as in the names of the files."
        )
        raise DataError(msg)
    weak = spec.protocol == "slices" and not any(scan.masks for scan in scans)
    left_out: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        row = participants.get(participant_key(scan.patient))
        if row is not None:
            scan.group, scan.split = row.group, row.split
        if not (scan.masks or scan.group == NORMAL or (scan.group == ABNORMAL and weak)):
            scan.left_out = NO_MASK if scan.group == ABNORMAL else NO_GROUP
        elif participants and row is None:
            scan.left_out = NOT_LISTED
        left_out[scan.left_out].append(scan.name)
    used = [scan for scan in scans if not scan.left_out]
    for reason, names in sorted(left_out.items()):
        if reason:
            logger.warning("%d scans are left out, such as %s: %s", len(names), names[0], reason)
    absent = participants.keys() - keys
    if absent:
        first = participants[min(absent)].name
        logger.warning("%d participants of the table, such as %s, have no scan", len(absent), first)
    if not used:
        msg = (
            f"none of {len(scans)} scans can be used, such as {scans[0].name}: {scans[0].left_out}: give --data.mask "
            "PATTERN, or --data.participants TABLE with a column group of normal and abnormal."
        )
        raise ConfigurationError(msg)
    return used


def are_weak(used: Sequence[Scan]) -> bool:
    """Tell whether no abnormal scan has a mask, so that they are abnormal as a whole."""
    return any(scan.group == ABNORMAL for scan in used) and not any(scan.masks for scan in used)


def split_scans(scans: Sequence[Scan], spec: VolumeFolderSpec, table: Path | None) -> dict[str, str]:
    """Give each scan a split, the same for all scans of a patient.

    A `split_file` comes first, then the table's column `split`. Without both, patients are split by a hash of their
    ids; where there are healthy ones, only these train, and the others validate and test.

    Args:
        scans: All scans, those that are left out too.
        spec: Ratios and seed, or a split file.
        table: Path of the table of participants, for messages.

    Returns:
        Scan to `train`, `val` or `test`; scans of which a split file or the table does not say it are left out.

    Raises:
        DatasetNotFoundError: There is no such split file.
        DataError: It is not valid, or an abnormal scan without a mask is to train, or nothing is left to train on.
        ConfigurationError: There are too few patients to split.
    """
    used = [scan for scan in scans if not scan.left_out]
    patients = {scan.name: scan.patient for scan in used}
    given = {scan.patient: scan.split for scan in used if scan.split}
    if spec.split_file is not None:
        aliases = {name.removeprefix("sub-"): name for name in patients.values() if name.startswith("sub-")}
        unusable = {
            name: scan.left_out
            for scan in scans
            if scan.left_out
            for name in (scan.name, scan.patient, scan.patient.removeprefix("sub-"))
        }
        splits = splits_from_file(spec.split_file, patients, aliases, unusable)
    elif given:
        assert table is not None
        by_patient = _from_table(given, spec, table)
        splits = {name: by_patient[patient] for name, patient in patients.items() if patient in by_patient}
    else:
        normal = {scan.patient for scan in used if scan.group == NORMAL}
        if are_weak(used) and not normal:
            msg = (
                f"no scan has a mask, and {table} names no healthy participant of a scan, so that there is nothing to "
                "train on: give healthy participants in its column group, or masks with --data.mask PATTERN."
            )
            raise DataError(msg)
        by_patient = _by_hash(normal, set(patients.values()), spec)
        return {name: by_patient[patient] for name, patient in patients.items()}
    for scan in used:
        if splits.get(scan.name) == "train" and not scan.masks and scan.group != NORMAL:
            source = spec.split_file or table
            msg = f"{source} puts {scan.name} into train, but {NO_MASK}: add its mask or choose another split."
            raise DataError(msg)
    return splits


def _from_table(given: Mapping[str, str], spec: VolumeFolderSpec, table: Path) -> dict[str, str]:
    """Return the splits of the table; where none validates, some training patients do."""
    splits = dict(given)
    training = [patient for patient, split in splits.items() if split == "train"]
    if "val" not in splits.values() and len(training) > 1:
        splits |= assign_splits(training, val_split_ratio=spec.val_split_ratio, test_split_ratio=0.0, seed=spec.seed)
    for split in SPLITS:
        if split not in splits.values():
            msg = f"{table} gives no participant with a usable scan to {split}: add at least one."
            raise DataError(msg)
    return splits


def _by_hash(normal: set[str], everyone: set[str], spec: VolumeFolderSpec) -> dict[str, str]:
    val, test = spec.val_split_ratio, spec.test_split_ratio
    training = normal or everyone
    splits = assign_splits(training, val_split_ratio=val, test_split_ratio=test, seed=spec.seed)
    # The others are divided as the healthy ones that do not train are.
    others = sorted(everyone - training, key=lambda patient: (hash_fraction(patient, spec.seed), patient))
    fractions = [hash_fraction(patient, spec.seed) for patient in others]
    n_val = sum(fraction < val / (val + test) for fraction in fractions)
    # Both need some, the test first.
    n_val = min(max(n_val, 1), len(others) - 1) if len(others) > 1 else 0
    return splits | dict(zip(others, ["val"] * n_val + ["test"] * (len(others) - n_val), strict=True))
