"""How the scans of a cohort are split and prepared."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.volume_folder.bids import find_participants
from anomalib_patchgan.data.prepare.volume_folder.groups import WEAK, Cohort, choose_scans, split_scans
from anomalib_patchgan.data.prepare.volume_folder.participants import read_participants
from anomalib_patchgan.data.prepare.volume_folder.samples import make_samples
from anomalib_patchgan.data.prepare.volume_folder.scans import Scan, find_scans
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.files import ReadLimits

_FOREGROUND = {
    True: "every voxel that is not 0, or not the one value that the background of these skull-stripped images has",
    False: "the largest component above Otsu's threshold of each volume, with skull and scalp",
}


def plan_volume_folder(root: Path, spec: VolumeFolderSpec, limits: ReadLimits) -> Preparation:
    """Find the scans of a cohort and say how they are to be prepared.

    Args:
        root: The folder.
        spec: What to make of it.
        limits: Bounds of what is read.

    Returns:
        The preparation, for `prepare_folder`. Its remarks have the `patients` of the cases, what `foreground` is, and
        why which scans are `left_out`.

    Raises:
        DatasetNotFoundError: There is no image, or no table of participants or split file where one is given.
        DataError: Two images are one scan's, or a table is not valid.
        ConfigurationError: A pattern is not valid, or no scan, or too few patients can be used.
    """
    scans = find_scans(root, spec)
    table = spec.participants or (find_participants(root) if spec.image is None else None)
    participants = {} if table is None else read_participants(table, strict=spec.participants is not None)
    cohort = choose_scans(scans, participants, spec)
    splits = split_scans(cohort, spec, table)
    used = [scan for scan in cohort.scans if scan.name in splits]
    plans = {scan.name: _plan(scan, cohort, splits[scan.name]) for scan in used}
    return Preparation(
        generator=f"volumes-{spec.protocol}",
        parameters=spec.parameters | {"plans": plans},
        cases=[_case(scan, root, spec, plans[scan.name]) for scan in used],
        make_case=partial(make_samples, spec, limits),
        remarks={
            "patients": {scan.name: scan.patient for scan in used},
            "leaks_patients": False,
            "foreground": _FOREGROUND[spec.skull_stripped],
            "left_out": dict(cohort.left_out),
            COMPARABLE: spec.protocol == "tiles",
            **({"warning": WEAK} if cohort.weak else {}),
        },
    )


def _plan(scan: Scan, cohort: Cohort, split: str) -> dict[str, str | list[str] | None]:
    return {"split": split, "group": cohort.groups[scan.name], "mask": next(iter(scan.masks), None)}


def _case(scan: Scan, root: Path, spec: VolumeFolderSpec, plan: Mapping[str, object]) -> Case:
    problem = scan.problem(root, spec)
    if problem is not None:
        return Case(name=scan.name, plan=plan, problem=problem)
    names = [*(scan.images[name] for name in spec.modalities), *scan.masks]
    return Case(name=scan.name, sources={name: root / name for name in names}, plan=plan)
