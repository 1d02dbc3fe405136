"""The table of a cohort's participants: who is healthy, and who trains, validates and tests."""

import logging
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.csv_files import MISSING, read_rows
from anomalib_patchgan.data.prepare.splits import SPLITS
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import check_id

logger = logging.getLogger(__name__)

NORMAL, ABNORMAL = "normal", "abnormal"
_GROUPS = {
    **dict.fromkeys(("normal", "control", "controls", "healthy", "hc"), NORMAL),
    **dict.fromkeys(("abnormal", "patient", "patients"), ABNORMAL),
}
_ID = "participant_id"


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
