"""Which scans of a cohort can be used, and in which split each patient is."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anomalib_patchgan.data.prepare.splits import SPLITS, assign_splits, hash_fraction, splits_from_file
from anomalib_patchgan.data.prepare.volume_folder.participants import (
    ABNORMAL,
    NORMAL,
    Participant,
    participant_key,
)
from anomalib_patchgan.data.prepare.volume_folder.scans import Scan
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

NO_MASK = "its group is abnormal and it has no mask, so that nothing says which of its slices are healthy"
NO_GROUP = "it has neither a mask nor a group, so that nothing says whether it is healthy"
NOT_LISTED = "the table of participants does not name it"
WEAK = "no scan has a mask: every slice of an abnormal scan counts as abnormal, which only scores of whole patients fit"


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The scans that are used.

    Args:
        scans: These scans.
        groups: Group of each by its name, `None` where nothing says it.
        given: Splits of their participants, where the table says them.
        weak: No abnormal scan has a mask, so that they are abnormal as a whole.
        left_out: Why the other scans cannot be used, by their names.
        reasons: The same by all names of these scans and their participants.
    """

    scans: Sequence[Scan]
    groups: Mapping[str, str | None]
    given: Mapping[str, str] = field(default_factory=dict)
    weak: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def choose_scans(scans: Sequence[Scan], participants: Mapping[str, Participant], spec: VolumeFolderSpec) -> Cohort:
    """Leave out the scans of which nothing says what is healthy in them.

    Args:
        scans: All scans.
        participants: The table, by `participant_key`; empty without one.
        spec: For tiles, abnormal scans without masks are of no use at all.

    Raises:
        DataError: The table names none of the participants.
        ConfigurationError: No scan is left.

    Example:
        >>> scans = [Scan(name="a", patient="a", masks=["a_seg.nii"]), Scan(name="b", patient="b")]
        >>> choose_scans(scans, {}, VolumeFolderSpec()).left_out["b"]
        'it has neither a mask nor a group, so that nothing says whether it is healthy'
    """
    rows = {scan.name: participants.get(participant_key(scan.patient)) for scan in scans}
    if participants and not any(rows.values()):
        msg = (
            f"the table of participants names none of those that have scans, such as {scans[0].patient}: write their "
            "ids as in the names of the files."
        )
        raise DataError(msg)
    groups = {name: row.group if row else None for name, row in rows.items()}
    weak = spec.protocol == "slices" and not any(scan.masks for scan in scans)
    reasons = {scan.name: _reason(scan, groups[scan.name], weak=weak) for scan in scans}
    if participants:
        reasons = {name: reason or ("" if rows[name] else NOT_LISTED) for name, reason in reasons.items()}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    for reason in sorted(set(left_out.values())):
        names = [name for name, other in left_out.items() if other == reason]
        logger.warning("%d scans are left out, such as %s: %s", len(names), names[0], reason)
    absent = set(participants) - {participant_key(scan.patient) for scan in scans}
    if absent:
        first = participants[min(absent)].name
        logger.warning("%d participants of the table, such as %s, have no scan", len(absent), first)
    kept = [scan for scan in scans if scan.name not in left_out]
    if not kept:
        name, reason = next(iter(left_out.items()))
        msg = (
            f"none of {len(scans)} scans can be used, such as {name}: {reason}: give --data.mask PATTERN, or "
            "--data.participants TABLE with a column group of normal and abnormal."
        )
        raise ConfigurationError(msg)
    return Cohort(
        scans=kept,
        groups={scan.name: groups[scan.name] for scan in kept},
        given={scan.patient: row.split for scan in kept if (row := rows[scan.name]) and row.split},
        weak=weak and any(groups[scan.name] == ABNORMAL for scan in kept),
        left_out=left_out,
        reasons={
            name: left_out[scan.name]
            for scan in scans
            if scan.name in left_out
            for name in (scan.name, scan.patient, scan.patient.removeprefix("sub-"))
        },
    )


def _reason(scan: Scan, group: str | None, *, weak: bool) -> str:
    if scan.masks or group == NORMAL or (group == ABNORMAL and weak):
        return ""
    return NO_MASK if group == ABNORMAL else NO_GROUP


def split_scans(cohort: Cohort, spec: VolumeFolderSpec, table: Path | None) -> dict[str, str]:
    """Give each scan a split, the same for all scans of a patient.

    A `split_file` comes first, then the table's column `split`. Without both, patients are split by a hash of their
    ids; where there are healthy ones, only these train, and the others validate and test.

    Args:
        cohort: The scans that are used.
        spec: Ratios and seed, or a split file.
        table: Path of the table of participants, for messages.

    Returns:
        Scan to `train`, `val` or `test`; scans of which a split file or the table does not say it are left out.

    Raises:
        DatasetNotFoundError: There is no such split file.
        DataError: It is not valid, or an abnormal scan without a mask is to train, or nothing is left to train on.
        ConfigurationError: There are too few patients to split.
    """
    patients = {scan.name: scan.patient for scan in cohort.scans}
    if spec.split_file is not None:
        aliases = {name.removeprefix("sub-"): name for name in patients.values() if name.startswith("sub-")}
        splits = splits_from_file(spec.split_file, patients, aliases, cohort.reasons)
    elif cohort.given:
        assert table is not None
        by_patient = _from_table(cohort.given, spec, table)
        splits = {name: by_patient[patient] for name, patient in patients.items() if patient in by_patient}
    else:
        normal = {patients[name] for name, group in cohort.groups.items() if group == NORMAL}
        if cohort.weak and not normal:
            msg = (
                f"no scan has a mask, and {table} names no healthy participant of a scan, so that there is nothing to "
                "train on: give healthy participants in its column group, or masks with --data.mask PATTERN."
            )
            raise DataError(msg)
        by_patient = _by_hash(normal, set(patients.values()), spec)
        return {name: by_patient[patient] for name, patient in patients.items()}
    source = spec.split_file or table
    for scan in cohort.scans:
        if splits.get(scan.name) == "train" and not scan.masks and cohort.groups[scan.name] != NORMAL:
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
