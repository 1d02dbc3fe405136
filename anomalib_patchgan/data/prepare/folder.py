"""Preparing a whole folder: what is missing is made in parallel processes, then the manifest is written."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from anomalib_patchgan.data.prepare.cases import Case, MakeCase, read_record, write_case
from anomalib_patchgan.data.prepare.parallel import run_parallel
from anomalib_patchgan.data.prepare.samples import count_files, digest_samples, write_samples
from anomalib_patchgan.data.prepare.scan_profile import ScanProfile, TrainingScans
from anomalib_patchgan.data.prepare.volume_recipe import TRAINING_SCANS
from anomalib_patchgan.errors import ConfigurationError, DataError, PatchGanError
from anomalib_patchgan.files import TEMPORARY, read_json, remove_temporary_files, write_json
from anomalib_patchgan.version import __version__

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
# Remark: the same value means the same tissue in all images.
COMPARABLE = "comparable_intensities"
# Of samples.csv, whose rows say which images belong to the folder.
DIGEST = "samples_sha256"
_SAMPLE_BYTES = 4096
OnError = Literal["stop", "skip"]
PlanCases = Callable[[Path, Sequence[Case], int | None, bool], Sequence[Case]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is to be prepared.

    Args:
        generator: Short name of what makes the slices.
        parameters: JSON-able parameters that, with the sources, determine every pixel.
        cases: All cases.
        make_case: Makes the slices of a case. A module-level function or a `functools.partial` of one, because other
            processes call it; its result may depend on nothing but its arguments and the sources.
        remarks: What the manifest says besides, such as that a split leaks patients.
        plan_cases: Sets `Case.plan` where it takes reading the sources. Called with the prepared folder, the cases,
            the number of processes and whether cases that cannot be used are skipped.
    """

    generator: str
    parameters: Mapping[str, Any]
    cases: Sequence[Case]
    make_case: MakeCase
    remarks: Mapping[str, Any] = field(default_factory=dict)
    plan_cases: PlanCases | None = None

    @property
    def folder_name(self) -> str:
        """`generator` with eight hexadecimal digits of the SHA-256 of parameters and sources.

        Of each source count its name, its size and 4 KiB from its middle, so that the archive may move and that
        another one with files of the same names and sizes gets a folder of its own. A change elsewhere in a file is
        found by its date and SHA-256, and its case is prepared again.
        """
        sources = [[name, *_fingerprint(path)] for case in self.cases for name, path in sorted(case.sources.items())]
        text = json.dumps([FORMAT_VERSION, self.generator, dict(self.parameters), sources], sort_keys=True)
        return f"{self.generator}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def prepare_folder(
    root: Path,
    preparation: Preparation,
    *,
    workers: int | None = None,
    shard: tuple[int, int] | None = None,
    on_error: OnError = "stop",
    retry_skipped: bool = True,
) -> dict[str, Any]:
    """Bring a prepared folder to completion, making only the cases that are not yet there.

    Args:
        root: Prepared folder; `Preparation.folder_name` should be its name.
        preparation: What to prepare.
        workers: Processes; `None` takes one per available core, 1 stays in this process.
        shard: `(i, n)` makes every n-th case only, beginning with the i-th, 1 <= i <= n.
        on_error: `skip` leaves out a case that cannot be used and lists it in the manifest.
        retry_skipped: Try cases again that were skipped before.

    Returns:
        The manifest: format version, generator, parameters, remarks, package version, counts per split and label,
        names of the `cases`, `skipped` ones with the reason, `missing` ones (of other shards), and size and SHA-256
        of each source.

    Raises:
        ConfigurationError: `workers` or `shard` is out of range, or `root` was prepared with other parameters.
        PatchGanError: A case cannot be used and `on_error` is `stop`.
        DataError: The folder cannot be written, or a source vanished meanwhile.
    """
    _check_arguments(workers, shard)
    skip_errors = on_error == "skip"
    retry = retry_skipped or not skip_errors
    with _writing_into(root):
        head = {
            "format_version": FORMAT_VERSION,
            "generator": preparation.generator,
            # As JSON gives it back, with lists for tuples.
            "parameters": json.loads(json.dumps(dict(preparation.parameters))),
        }
        manifest = read_json(root / MANIFEST)
        if manifest is not None and {key: manifest.get(key) for key in head} != head:
            what = f"{root} was prepared with other parameters (see {root / MANIFEST})"
            msg = f"{what}: choose another folder or delete it."
            raise ConfigurationError(msg)

        if preparation.plan_cases is not None:
            planned = preparation.plan_cases(root, preparation.cases, workers, skip_errors)
            preparation = replace(preparation, cases=planned)
        cases = preparation.cases
        records = _read_records(root, cases)
        missing = [case for case in cases if case.name not in records or (retry and "skipped" in records[case.name])]
        whole = manifest is not None and manifest == _manifest(head, preparation, records, manifest)
        if manifest is not None and whole and not missing and manifest.get(DIGEST) == digest_samples(root):
            return manifest
        if missing:
            names = {case.name for case in (cases if shard is None else cases[shard[0] - 1 :: shard[1]])}
            own = [case for case in missing if case.name in names]
            logger.info("Preparing %d of %d cases in %s", len(own), len(cases), root)
            jobs = [(root, case, preparation.make_case, skip_errors) for case in own]
            run_parallel(write_case, jobs, workers=workers, description=f"Preparing {root.name}")
        return _write_manifest(root, head, preparation)


@contextmanager
def _writing_into(root: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line."""
    try:
        yield
    # DatasetNotFoundError is an OSError, too, and says itself what to do.
    except PatchGanError:
        raise
    except OSError as error:
        msg = (
            f"Preparing {root} failed at {error.filename or root} ({error.strerror}): free space or check permissions, "
            "then start again; finished cases are kept."
        )
        raise DataError(msg) from error


def _fingerprint(path: Path) -> tuple[int, str]:
    if not path.is_file():
        return -1, ""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, (size - _SAMPLE_BYTES) // 2))
        return size, hashlib.sha256(file.read(_SAMPLE_BYTES)).hexdigest()


def _check_arguments(workers: int | None, shard: tuple[int, int] | None) -> None:
    if workers is not None and workers < 1:
        msg = f"workers must be at least 1, or none for one per core, got {workers}."
        raise ConfigurationError(msg)
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        msg = f"shard must be I/N with 1 <= I <= N, got {shard[0]}/{shard[1]}."
        raise ConfigurationError(msg)


def _read_records(root: Path, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    found = {case.name: read_record(root, case) for case in cases}
    return {name: record for name, record in found.items() if record is not None}


def _write_manifest(root: Path, head: Mapping[str, Any], preparation: Preparation) -> dict[str, Any]:
    """Write sample table and manifest, again if another shard has finished cases meanwhile.

    Of two shards that finish together each may have read the records before the other's last one; whoever writes
    last would leave an incomplete manifest if it did not look again afterwards.
    """
    while True:
        records = _read_records(root, preparation.cases)
        rows = [row | {"case": name} for name, record in records.items() for row in record["samples"]]
        manifest = _manifest(head, preparation, records)
        write_samples(root, rows)
        manifest[DIGEST] = digest_samples(root)
        write_json(root / MANIFEST, manifest)
        if _read_records(root, preparation.cases).keys() == records.keys():
            break
    if not manifest["missing"]:
        remove_temporary_files(root.rglob(TEMPORARY))
    for name, reason in manifest["skipped"].items():
        logger.warning("Skipped %s: %s", name, reason)
    return manifest


def _manifest(
    head: Mapping[str, Any],
    preparation: Preparation,
    records: Mapping[str, Mapping[str, Any]],
    written: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the manifest of these records is; a written one keeps the package version that wrote it."""
    cases = [case.name for case in preparation.cases]
    sources = {
        name: {"bytes": source["bytes"], "sha256": source["sha256"]}
        for record in records.values()
        for name, source in record["sources"].items()
        if "sha256" in source
    }
    return {
        **head,
        **preparation.remarks,
        "package_version": (written or {}).get("package_version", __version__),
        "counts": count_files(file for record in records.values() for file in record["files"]),
        "cases": cases,
        "missing": [name for name in cases if name not in records],
        "skipped": {name: record["skipped"] for name, record in records.items() if "skipped" in record},
        "sources": sources,
        **_training_scans(records),
        **({DIGEST: written.get(DIGEST)} if written else {}),
    }


def _training_scans(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put together what is known of the scans of the training, where it is."""
    found = [
        ScanProfile.from_dict(record["profile"])
        for record in records.values()
        if "profile" in record and record["plan"].get("split") == "train"
    ]
    training = TrainingScans.of(found)
    return {} if training is None else {TRAINING_SCANS: training.as_dict()}
