"""How well the results of a cohort agree with its reference masks: a table of the cases and a summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.volume_names import bids_participant
from anomalib_patchgan.deploy.case_accuracy import FOLDER, FORMAT, CaseAccuracy, measure_case
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.reference_masks import find_masks
from anomalib_patchgan.deploy.viewer.result import CaseResult
from anomalib_patchgan.deploy.volume_files import VolumeCase
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.lesions import SMALLEST_MM3, operating_point
from anomalib_patchgan.measure.paired import mean_interval
from anomalib_patchgan.measure.patients import JudgedScan, judge_patients
from anomalib_patchgan.measure.volumes import FALSE_PER_CASE, MAP_THRESHOLDS
from anomalib_patchgan.outputs import write_csv, writing

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume import VolumeInferencer

TABLE, SUMMARY = "cases.csv", "summary.json"
COLUMNS = (
    *("case", "patient", "mask", "lesion_ml", "lesions", "voxel_AP", "best_dice", "dice", "lesions_found"),
    *("false_spots", "lesions_found_at_1_false", "false_spots_at_1_false", "patient_score", "is_anomalous", "error"),
)

Row = dict[str, Any]
# Where a case has more false spots than there are cases, their mean is above one. Some more are counted, so that cases
# that are done need not be measured again in a cohort that grows to this size.
_COUNTED = 64


@dataclass(frozen=True, kw_only=True)
class MeasuredCase:
    """A case with its result and what that is worth.

    Args:
        result: What the model says.
        accuracy: How that agrees with the mask.
    """

    result: CaseResult
    accuracy: CaseAccuracy

    @property
    def judged(self) -> JudgedScan:
        """The scores of the slices with their lesions, and the verdict."""
        return JudgedScan(
            slice_scores={one.slice: one.score for one in self.result.slices},
            lesion_slices=frozenset(self.accuracy.lesion_slices),
            is_anomalous=self.result.is_anomalous,
            patient=patient_of(self.result.case),
        )

    def row(self) -> Row:
        """The row of the table, without what the whole cohort decides."""
        known = {name: getattr(self.accuracy, name, getattr(self.result, name, None)) for name in COLUMNS}
        return known | {"patient": patient_of(self.result.case)}


def patient_of(case: str) -> str:
    """Return the patient of a case: visits of BraTS and sessions of BIDS are of one, other cases are one each.

    Example:
        >>> patient_of("BraTS-GLI-00012-001"), patient_of("sub-01_ses-2"), patient_of("case_2")
        ('BraTS-GLI-00012', 'sub-01', 'case_2')
    """
    known = parse_case(case)
    return known.patient if known is not None else bids_participant(case) or case


def write_accuracy(folder: Path, cases: Sequence[MeasuredCase], failed: Mapping[str, str]) -> Row:
    """Write the table of the cases and the summary, which count what was done before as well.

    Args:
        folder: Folder of the results.
        cases: The cases that could be measured.
        failed: Why another one could not, by case.

    Returns:
        The summary, see `summarize`.

    Raises:
        DataError: They cannot be written.
    """
    rows = [one.row() for one in cases]
    threshold = _add_point(rows, cases)
    summary = summarize(rows, cases, failed, threshold)
    rows += [dict.fromkeys(COLUMNS) | {"case": name, "error": reason} for name, reason in failed.items()]
    rows.sort(key=lambda row: str(row["case"]))
    with writing("the accuracy", folder / FOLDER):
        write_csv(folder / FOLDER / TABLE, COLUMNS, map(_rounded, rows))
        write_json(folder / FOLDER / SUMMARY, summary)
    return summary


def remove_accuracy(folder: Path) -> None:
    """Remove table and summary of an earlier run, which cases that are done next would contradict.

    Raises:
        DataError: They cannot be removed.
    """
    try:
        for name in (TABLE, SUMMARY):
            (folder / FOLDER / name).unlink(missing_ok=True)
    except OSError as error:
        msg = f"{folder / FOLDER} is in the way ({error.strerror}): remove it, or give another --out."
        raise DataError(msg) from error


def summarize(
    rows: Sequence[Row], cases: Sequence[MeasuredCase], failed: Mapping[str, str], threshold: float | None
) -> Row:
    """Summarize a cohort.

    Args:
        rows: Rows of the cases that could be measured.
        cases: These cases.
        failed: Why another one could not, by case.
        threshold: The one at which the cohort has one false spot per case; `None` if there is none.

    Returns:
        Numbers of cases; `voxel_AP`, `best_dice` and `dice`, means over the patients with a lesion with their 95 %
        intervals; lesions found, the mean of the cases' shares, and false spots per case, at the model's threshold and
        at one false spot per case; and under `patients` what `judge_patients` says.
    """
    patients = [row["patient"] for row in rows]
    mean = partial(_mean_over_patients, patients)

    def spots(at: float | None, suffix: str = "") -> Row:
        found = [row[f"lesions_found{suffix}"] for row in rows]
        shares = [
            None if number is None or not row["lesions"] else number / row["lesions"]
            for number, row in zip(found, rows, strict=True)
        ]
        return {
            "threshold": at,
            "lesions": sum(row["lesions"] for row in rows),
            "found": sum(number or 0 for number in found),
            "sensitivity": mean(shares),
            "false_spots_per_case": mean([row[f"false_spots{suffix}"] for row in rows]),
        }

    patient = next((one.result.patient_threshold for one in cases), None)
    by_model = next((one.result.pixel_threshold is not None for one in cases), False)
    return {
        "format": FORMAT,
        "model": next((one.result.model for one in cases), None),
        "versions": next((one.result.versions for one in cases), None),
        "cases": len(rows),
        "cases_with_lesion": sum(bool(one.accuracy.lesion_slices) for one in cases),
        "not_measured": dict(failed),
        "smallest_mm3": SMALLEST_MM3,
        **{name: mean([row[name] for row in rows]) for name in ("voxel_AP", "best_dice", "dice")},
        "at_threshold": spots(THRESHOLD) if by_model else None,
        "at_1_false_spot_per_case": spots(threshold, "_at_1_false") if any(row["lesions"] for row in rows) else None,
        "patients": judge_patients([one.judged for one in cases], None if patient is None else patient.value),
    }


def describe_summary(summary: Row, folder: Path) -> list[str]:
    """Say in words what a summary holds."""
    first = (
        f"{folder / FOLDER / TABLE}: {summary['cases']} cases measured, {summary['cases_with_lesion']} with a lesion; "
        f"voxel AP {_in_words(summary['voxel_AP'])}, Dice {_in_words(summary['dice'])}"
    )
    lines = [first]
    points = {"at_threshold": "the model's threshold", "at_1_false_spot_per_case": "1 false spot per case"}
    for name, what in points.items():
        one = summary[name]
        if one is not None:
            where = f"threshold {one['threshold']:.3g}" if one["threshold"] is not None else "no threshold has so few"
            false = one["false_spots_per_case"]["mean"]
            lines.append(
                f"at {what} ({where}): {one['found']} of {one['lesions']} lesions, sensitivity "
                f"{_in_words(one['sensitivity'])}, {false:.2f} false spots per case"
            )
    patients = summary["patients"]
    if patients["patient_AUROC"] is not None:
        auroc = {"mean": patients["patient_AUROC"], "interval": patients["patient_AUROC_interval"]}
        lines.append(
            f"patients: AUROC {_in_words(auroc)} over {patients['healthy_patients']} healthy and "
            f"{patients['patients_with_lesion']} others"
        )
    return lines


def _add_point(rows: Sequence[Row], cases: Sequence[MeasuredCase]) -> float | None:
    """Add what the cases are at one false spot per case to their rows; returns the threshold."""
    spots = [one.accuracy.spots for one in cases]
    if not any(one.lesions for one in spots):
        return None
    point = operating_point(spots, MAP_THRESHOLDS, FALSE_PER_CASE)
    shares = np.nan_to_num(point.sensitivity).tolist()
    for row, share, false in zip(rows, shares, point.false_spots.tolist(), strict=True):
        row |= {"lesions_found_at_1_false": round(share * row["lesions"]), "false_spots_at_1_false": int(false)}
    return point.threshold


def _mean_over_patients(patients: Sequence[str], values: Sequence[float | None]) -> Row:
    """Average over the cases of each patient and over patients, where a value is defined."""
    groups: dict[str, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        if value is not None:
            groups.setdefault(patient, []).append(value)
    means = np.array([np.mean(groups[patient]) for patient in sorted(groups)])
    if not means.size:
        return {"mean": None, "interval": None, "patients": 0}
    return {"mean": float(means.mean()), "interval": mean_interval(means[None]), "patients": means.size}


def _in_words(one: Row) -> str:
    if one["mean"] is None:
        return "unknown"
    interval = "" if one["interval"] is None else " [{:.3f}, {:.3f}]".format(*one["interval"])
    return f"{one['mean']:.3f}{interval}"


def _rounded(row: Row) -> Row:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


class CohortMeter:
    """Measures the cases of a run beside their reference masks, one after the other, and sums them up.

    Args:
        source: What `--masks` got.
        cases: The cases.
        inferencer: The model.
        output: Folder of the results.
        map_type: Type of the maps.

    Attributes:
        not_measured: Why a case could not be measured, in the order of the cases.

    Raises:
        PatchGanError: See `find_masks`.
    """

    def __init__(
        self, source: str, cases: Sequence[VolumeCase], inferencer: "VolumeInferencer", output: Path, map_type: str
    ) -> None:
        self._masks, self._problems = find_masks(source, cases, output)
        self._folder, self._inferencer, self._map_type = output, inferencer, map_type
        self._most_false = int(FALSE_PER_CASE * max(len(cases), _COUNTED))
        self._measured: list[MeasuredCase] = []
        self.not_measured: dict[str, str] = {}

    def add(self, case: VolumeCase) -> str:
        """Measure a case whose result is there.

        Returns:
            What was found, in words; empty where it could not be measured, for which `not_measured` gives the reason.
        """
        try:
            if case.name in self._problems:
                raise DataError(self._problems[case.name])
            result, accuracy = measure_case(
                case, self._masks[case.name], self._folder, self._inferencer, self._map_type, self._most_false
            )
        except PatchGanError as error:
            self.not_measured[case.name] = one_line(error)
            return ""
        self._measured.append(MeasuredCase(result=result, accuracy=accuracy))
        return f"{case.name}: {accuracy.describe()}"

    def finish(self, failed: Mapping[str, str]) -> list[str]:
        """Write the table and the summary.

        Args:
            failed: Why a case has no result, by case.

        Returns:
            What the summary says, in words.

        Raises:
            DataError: They cannot be written.
        """
        remove_accuracy(self._folder)
        summary = write_accuracy(self._folder, self._measured, {**failed, **self.not_measured})
        return describe_summary(summary, self._folder)
