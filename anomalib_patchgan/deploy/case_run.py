"""Runs one case of volumes, unless its result is there, and says in words what came out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anomalib_patchgan.deploy.cohort_accuracy import remove_accuracy
from anomalib_patchgan.deploy.volume import VolumeInferencer
from anomalib_patchgan.deploy.volume_case import VolumeCase
from anomalib_patchgan.deploy.volume_files import hash_inputs
from anomalib_patchgan.deploy.volume_result import MapType, VolumeResult, verdict_basis
from anomalib_patchgan.files import read_json


def run_case(
    case: VolumeCase,
    folder: Path,
    inferencer: VolumeInferencer,
    map_type: MapType,
    *,
    force: bool = False,
    check: Callable[[], None] | None = None,
) -> str:
    """Write the result of a case, unless it is there.

    Args:
        case: The case.
        folder: Folder of the results.
        inferencer: The model.
        map_type: Voxels of the heat map.
        force: Do it even if it is there.
        check: Called before the result is written, which an error of it prevents.

    Returns:
        What came out, in words; empty where it was there before.

    Raises:
        PatchGanError: The case cannot be used, or the result not be written.
    """
    case.write_images(inferencer.limits)
    if not force and is_done(case, folder, inferencer, map_type):
        return ""
    remove_accuracy(folder)
    result = inferencer.predict(case)
    if check is not None:
        check()
    path = case.save(result, folder, map_type)
    return f"{path}: patient score {result.patient_score:.3f}, {describe_verdict(result)}"


def describe_basis(inferencer: VolumeInferencer) -> str:
    """Say by which threshold patients are judged and where it is from, or why they are not."""
    threshold = inferencer.patient_threshold
    if threshold is None:
        mask = "" if inferencer.has_thresholds else " and no mask"
        return f"no verdict{mask}, only scores and heat maps: {inferencer.no_verdict}"
    return f"a patient score above {threshold.value:.3f} is called anomalous: {threshold.origin}"


def describe_verdict(result: VolumeResult) -> str:
    """Say in words what the model calls a case, and whether it knows such scans."""
    verdict = f"no verdict: {result.no_verdict}"
    if result.is_anomalous is not None:
        verdict = "anomalous" if result.is_anomalous else "normal"
    note = result.training_data.get("note")
    return f"{verdict}; {note}" if note else verdict


def is_done(case: VolumeCase, folder: Path, inferencer: VolumeInferencer, map_type: str) -> bool:
    """Tell whether the results of a case are there, of this model and of these files."""
    record: Any = read_json(folder / f"{case.name}.json") or {}
    basis = verdict_basis(inferencer.patient_threshold, has_thresholds=inferencer.has_thresholds)
    return (
        record.get("model") == inferencer.model
        and record.get("map_type") == map_type
        # A record of an older version does not say it, and cannot be shown unless it is axial.
        and record.get("plane", "axial") == inferencer.recipe.plane
        and case.is_complete(record, folder, has_mask=inferencer.has_thresholds)
        # A record of an older version may hold a verdict by the threshold of slices.
        and all(name in record and record[name] == value for name, value in basis.items())
        and record.get("inputs_sha256") == hash_inputs(case, inferencer.limits)
    )
