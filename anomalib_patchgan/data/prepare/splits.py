"""Splitting cases into training, validation and test so that no patient is in two of them."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from anomalib_patchgan.data.prepare.csv_files import read_pairs
from anomalib_patchgan.errors import ConfigurationError, DataError

SPLITS = ("train", "val", "test")


def hash_fraction(patient: str, seed: int) -> float:
    """Return SHA-256 of `seed:patient` as a fraction of its range, in [0, 1).

    Example:
        >>> 0 <= hash_fraction("BraTS19_2013_2", seed=0) < 1
        True
    """
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign_splits(
    patients: Iterable[str], *, val_split_ratio: float, test_split_ratio: float, seed: int
) -> dict[str, str]:
    """Give each patient a split by a hash of its own id, so that patients added later move no other one.

    Only a split that would stay empty takes the patient with the hash nearest to it: of very few patients, an added
    one can move another.

    Args:
        patients: Patient ids.
        val_split_ratio: Expected share of validation patients, in (0, 1).
        test_split_ratio: Expected share of test patients, in [0, 1); 0 when the archive has a test part of its own.
        seed: Another seed makes another choice.

    Returns:
        Patient to `train`, `val` or `test`.

    Raises:
        ConfigurationError: A ratio is out of its range, or there are fewer patients than splits.

    Example:
        >>> splits = assign_splits(["A", "B", "C", "D"], val_split_ratio=0.2, test_split_ratio=0.2, seed=0)
        >>> sorted(set(splits.values()))
        ['test', 'train', 'val']
    """
    check_ratios(val_split_ratio, test_split_ratio)
    ranked = sorted(set(patients), key=lambda patient: (hash_fraction(patient, seed), patient))
    needs_test = int(test_split_ratio > 0)
    if len(ranked) < 2 + needs_test:
        msg = f"{len(ranked)} patients or images are too few to split: add some, or give a split_file."
        raise ConfigurationError(msg)
    fractions = [hash_fraction(patient, seed) for patient in ranked]
    n_test = sum(value < test_split_ratio for value in fractions)
    n_held_out = sum(value < test_split_ratio + val_split_ratio for value in fractions)
    # At least one patient each, and at least one left to train on.
    n_test = min(max(n_test, needs_test), len(ranked) - 2)
    n_held_out = min(max(n_held_out, n_test + 1), len(ranked) - 1)
    names = ["test"] * n_test + ["val"] * (n_held_out - n_test) + ["train"] * (len(ranked) - n_held_out)
    return dict(zip(ranked, names, strict=True))


def read_split_file(path: Path) -> dict[str, str]:
    r"""Read splits that a user wrote, `id,split` per line.

    Args:
        path: CSV file in UTF-8, with or without a header; at most 16 MiB.

    Returns:
        Id to `train`, `val` or `test`.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: A line is not valid, an id is there twice, or the file is empty or no text.

    Example:
        >>> path = Path("splits.csv")
        >>> path.write_text("id,split\nBraTS19_2013_2_1,Train\n")
        32
        >>> read_split_file(path)
        {'BraTS19_2013_2_1': 'train'}
    """
    return read_pairs(path, dict(zip(SPLITS, SPLITS, strict=True)), "train, val or test")


def splits_from_file(
    path: Path,
    patients: Mapping[str, str],
    aliases: Mapping[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Read the splits of the cases from a file; cases that it does not name are left out.

    Args:
        path: CSV file, `id,split` per line; an id is a case or a patient.
        patients: Case to patient, of all cases of the archive.
        aliases: Other names of cases and patients, each with the one that counts.
        left_out: Why cases and patients that the archive has cannot be used, by their names.

    Returns:
        Case to `train`, `val` or `test`.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: The file is not valid, names an id that the archive has not or that is left out, has a patient in
            two splits, or leaves a split empty.
    """
    given = _rename(read_split_file(path), aliases or {}, path)
    unknown = sorted(given.keys() - patients.keys() - set(patients.values()))
    for name, reason in (left_out or {}).items():
        if name in unknown:
            msg = f"{path} names {name}, which is left out because {reason}: remove its line or add what is missing."
            raise DataError(msg)
    if unknown:
        msg = f"{path} names {', '.join(unknown[:5])}, which the archive has not: correct the ids or remove the lines."
        raise DataError(msg)
    splits = {
        case: given.get(case, given.get(patient, ""))
        for case, patient in patients.items()
        if case in given or patient in given
    }
    _check_no_leak(splits, patients, path)
    for split in SPLITS:
        if split not in splits.values():
            msg = f"{path} gives no case to {split}: add at least one line `id,{split}`."
            raise DataError(msg)
    return splits


def _rename(given: Mapping[str, str], aliases: Mapping[str, str], path: Path) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for alias, split in given.items():
        name = aliases.get(alias, alias)
        if renamed.setdefault(name, split) != split:
            msg = f"{path} puts {name} into {renamed[name]} and, as {alias}, into {split}: give it one split."
            raise DataError(msg)
    return renamed


def check_ratios(val_split_ratio: float, test_split_ratio: float) -> None:
    """Check that both ratios are shares and leave something to train on.

    Raises:
        ConfigurationError: They are not, or do not.
    """
    # Written so that NaN is refused, too.
    if not (val_split_ratio > 0 and test_split_ratio >= 0 and val_split_ratio + test_split_ratio < 1):
        msg = (
            "val_split_ratio must be above 0, and with test_split_ratio below 1, got "
            f"{val_split_ratio} and {test_split_ratio}."
        )
        raise ConfigurationError(msg)


def _check_no_leak(splits: Mapping[str, str], patients: Mapping[str, str], path: Path) -> None:
    """Check that all cases of a patient have the same split.

    Raises:
        DataError: They have not.
    """
    seen: dict[str, str] = {}
    for case, split in splits.items():
        other = seen.setdefault(patients[case], split)
        if other != split:
            msg = f"{path} puts patient {patients[case]} into {other} and {split}: give all cases of it one split."
            raise DataError(msg)
