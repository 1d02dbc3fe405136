"""Cases of an archive, and the records that say which of them are completely prepared."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.samples import PreparedSlice, write_slices
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.files import RECORDS, hash_file, read_json, write_json

# Nothing else is ever removed, whatever a damaged record says.
_PREPARED_FILE = re.compile(r"(train|val|test)/(normal|abnormal|mask)/[^/\\\x00]+\.png")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case: a patient's volumes, a photograph with its mask, or a phantom's subject.

    Args:
        name: Unique name in the archive.
        sources: Name of each source file relative to the archive, and where it lies now.
        plan: What the other cases decide about this one, such as its split; JSON-able.
        problem: What is wrong with the case, found before any file was opened; `None` for nothing.
    """

    name: str
    sources: Mapping[str, Path] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    problem: PatchGanError | None = None


MakeCase = Callable[[Case], Iterable[PreparedSlice]]


def write_case(root: Path, case: Case, make_case: MakeCase, skip_errors: bool = False) -> None:
    """Write the files of one case and, last of all, its record, which marks the case as complete.

    Args:
        root: Prepared folder.
        case: The case.
        make_case: Makes its slices.
        skip_errors: Record a case that cannot be used as skipped, with the reason.

    Raises:
        PatchGanError: The case cannot be used, unless `skip_errors`.
    """
    sources: dict[str, Any] = {}
    try:
        if case.problem is not None:
            raise case.problem
        # Before anything is read: a file that changes meanwhile will be noticed next time.
        sources = {name: _look_at(path) for name, path in case.sources.items()}
        content = write_slices(root, make_case(case))
        for name, source in sources.items():
            source["sha256"] = hash_file(case.sources[name])
    except PatchGanError as error:
        if not skip_errors:
            raise
        content = {"files": {}, "samples": [], "skipped": str(error)}
    path = root / RECORDS / f"{case.name}.json"
    _remove_stale(root, read_json(path), content["files"])
    _write_record(path, {"case": case.name, "plan": dict(case.plan), "sources": sources} | content)


def read_record(root: Path, case: Case) -> dict[str, Any] | None:
    """Read the record of a case.

    Args:
        root: Prepared folder.
        case: The case as it is in the archive now.

    Returns:
        `files`, `samples`, `sources` and, for a skipped case, `skipped`. `None` when the case has to be made: it has
        no record, a file is missing or of another size than recorded, a source has changed, or so has its plan.
    """
    record = read_json(root / RECORDS / f"{case.name}.json")
    if record is None or record.get("checksum") != _checksum(record) or record["plan"] != dict(case.plan):
        return None
    try:
        if any((root / name).stat().st_size != size for name, size in record["files"].items()):
            return None
    except OSError:
        return None
    return record if _same_sources(root, case, record) else None


def _write_record(path: Path, record: dict[str, Any]) -> None:
    # A record that a disk or a hand has changed is not believed: its case is made again.
    write_json(path, record | {"checksum": _checksum(record)})


def _checksum(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _remove_stale(root: Path, old: dict[str, Any] | None, files: Mapping[str, int]) -> None:
    """Remove what an older state of the sources left; loaders would take it for part of the data."""
    names = (old or {}).get("files")
    for name in names if isinstance(names, dict) else ():
        if name not in files and _PREPARED_FILE.fullmatch(name):
            (root / name).unlink(missing_ok=True)


def _same_sources(root: Path, case: Case, record: dict[str, Any]) -> bool:
    """Tell whether the sources are those of the record; a newer date alone costs reading them once."""
    if record["sources"].keys() != case.sources.keys():
        return False
    touched = False
    for name, path in case.sources.items():
        source, now = record["sources"][name], _look_at(path)
        if source["bytes"] != now["bytes"]:
            return False
        if source["mtime_ns"] != now["mtime_ns"]:
            # A skipped case has no SHA-256, and may have been repaired.
            if source.get("sha256") != hash_file(path):
                return False
            source["mtime_ns"], touched = now["mtime_ns"], True
    if touched:
        try:
            _write_record(root / RECORDS / f"{case.name}.json", record)
        except OSError as error:
            # A cache shared read-only stays right; it only costs the reading again next time.
            logger.debug("Record of %s not renewed: %s", case.name, error)
    return True


def _look_at(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
