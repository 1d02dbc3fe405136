r"""Voxel and lesion metrics of a trained model on whole BraTS cases that it has not seen, beside the scan's brightness.

    python benchmarks/volumes.py --model CKPT --out benchmarks/results/volumes/volumes.json \
      --root ../shared/data --split_file benchmarks/splits/brats_slices.csv
    python benchmarks/volumes.py --model CKPT --out OUT.json --cases ARCHIVE/HGG/BraTS19_2013_4_1

Every voxel inside the brain counts; the lesion is any label above 0. Best Dice is over all thresholds, Dice at the
threshold that was stored with the model. Lesion-wise sensitivity is the share of a case's lesions that a spot hits, at
the one threshold for all cases that leaves at most one false spot per case in the mean
(`anomalib_patchgan.measure.lesions` says what a lesion and a spot are); a scan's brightness is divided by its 99.9th
percentile first, which makes scans comparable. Smoothed brightness is smoothed about as the model's map is.

`comparison` sets the means over patients beside those of the rules, and says on how many patients the model is above.
Several checkpoints are trainings with other seeds: every number is then their mean, a yes or no the share of yes, and
intervals hold the randomness of training.

Under `patients` stand AUROC with its interval and false-positive rate of patients, whose visits are taken together. A
case without any label, and one of `--healthy`, is a healthy patient; where there is none, as in BraTS, both are null
with the reason, and the false-positive rate is that of the lesion-free parts of the scans.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from volume_cases import ScanCase, folder_case, read_content, split_cases

from anomalib_patchgan.cli.options import add_renamed
from anomalib_patchgan.deploy.case_accuracy import ABOVE_THRESHOLD, lesion_slices
from anomalib_patchgan.deploy.model_card import installed_versions
from anomalib_patchgan.deploy.volume import VolumeInferencer
from anomalib_patchgan.deploy.volume_result import VolumeResult
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.files import make_writable, write_json
from anomalib_patchgan.measure.lesions import SMALLEST_MM3, SpotCounts, operating_point
from anomalib_patchgan.measure.paired import pair
from anomalib_patchgan.measure.patients import JudgedScan, judge_patients, merge_scans, patient_auroc
from anomalib_patchgan.measure.volumes import (
    FALSE_PER_CASE,
    MAP_THRESHOLDS,
    LabelledVolume,
    volume_spots,
    voxel_metrics,
)

# The brightest vessels of a scan are some times above the percentile that it is divided by.
THRESHOLDS = np.concatenate([np.geomspace(8, 1, 48, endpoint=False), MAP_THRESHOLDS])
MEASURES = ("voxel_AP", "best_dice", "lesion_sensitivity")

Record = dict[str, Any]


def main() -> None:
    """Measure every case and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_renamed(
        parser,
        "--model",
        "--ckpt_path",
        type=Path,
        nargs="+",
        required=True,
        help="checkpoint or model.xml of each seed",
    )
    parser.add_argument("--root", type=Path, nargs="+", default=[], help="archives of BraTS, with --split_file")
    parser.add_argument("--split_file", type=Path, help="CSV file of `id,split`: its test cases are measured")
    parser.add_argument("--cases", type=Path, nargs="+", default=[], help="folders of cases with a segmentation")
    parser.add_argument("--healthy", type=Path, nargs="+", default=[], help="folders of healthy cases, without one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if bool(args.root) != (args.split_file is not None) or not (args.root or args.cases):
        parser.error("give --cases, or --root and --split_file")
    try:
        models = [VolumeInferencer(path) for path in args.model]
        modalities = models[0].modalities
        cases = split_cases(args.root, args.split_file, modalities) if args.root else []
        cases += [folder_case(folder, modalities) for folder in args.cases]
        cases += [folder_case(folder, modalities, healthy=True) for folder in args.healthy]
        for path, model in zip(args.model, models, strict=True):
            if model.modalities != modalities:
                parser.error(
                    f"{path} takes {', '.join(model.modalities)}, {args.model[0]} {', '.join(modalities)}: give "
                    f"trainings on the same modalities"
                )
        if twice := [name for name, count in Counter(one.name for one in cases).items() if count > 1]:
            parser.error(f"a case is given twice, {twice[0]}: give each once")
        make_writable(args.out.parent)
        write_json(args.out, evaluate(models, cases))
    except PatchGanError as error:
        parser.error(str(error))


def evaluate(models: Sequence[VolumeInferencer], cases: Sequence[ScanCase]) -> Record:
    """Measure every model and every rule on every case."""
    records: dict[str, list[Record]] = {}
    scans: list[list[JudgedScan]] = [[] for _ in models]
    # By model or rule, in the order of the cases.
    spots: dict[int | str, list[SpotCounts]] = {}
    for case in cases:
        content = read_content(case, models[0].recipe)
        volume, most_false = content.volume, FALSE_PER_CASE * len(cases)
        of_rules: Record = {}
        for name, values in content.rules.items():
            found = voxel_metrics(values, volume, None)
            of_rules |= {f"{key}_of_{name}": found[key] for key in ("voxel_AP", "best_dice")}
            spots.setdefault(name, []).append(volume_spots(values, volume, THRESHOLDS, most_false=most_false))
        for number, model in enumerate(models):
            result = model.predict(case.files)
            scans[number].append(
                JudgedScan(
                    slice_scores=result.slice_scores,
                    lesion_slices=frozenset(lesion_slices(volume.lesion, model.recipe.plane)),
                    is_anomalous=result.is_anomalous,
                    patient=case.patient,
                )
            )
            anomaly = as_read(result)
            records.setdefault(case.name, []).append(measure(result, anomaly, volume, scans[number][-1]) | of_rules)
            spots.setdefault(number, []).append(volume_spots(anomaly, volume, THRESHOLDS, most_false=most_false))
        print(case.name, json.dumps(mean_record(records[case.name]), indent=1), flush=True)
    thresholds = add_sensitivities(records, spots)
    judged = []
    for model, of_model in zip(models, scans, strict=True):
        threshold = model.patient_threshold
        judged.append(judge_patients(of_model, None if threshold is None else threshold.value))
        judged[-1]["patient_threshold_from"] = None if threshold is None else threshold.source
    written = {
        "cases": {name: mean_record(of_case) for name, of_case in records.items()},
        "patients": mean_record(judged) | auroc_of(scans),
        "spots": {
            "false_per_case": FALSE_PER_CASE,
            "smallest_mm3": SMALLEST_MM3,
            "neighbours": 26,
            "thresholds": thresholds,
        },
        "comparison": compare(records, {case.name: case.patient for case in cases}),
        "checkpoints": [model.predictor.identity for model in models],
        "versions": installed_versions(),
    }
    print(json.dumps({name: written[name] for name in ("patients", "spots", "comparison")}, indent=1))
    return written


def as_read(result: VolumeResult) -> np.ndarray:
    """Turn a map from the axes of its file to the left, the back and the top, as volumes are read."""
    turn = ornt_transform(io_orientation(result.grid.affine), axcodes2ornt(("L", "P", "S")))
    return apply_orientation(result.anomaly, turn)


def auroc_of(scans: Sequence[Sequence[JudgedScan]]) -> Record:
    """AUROC of patients, mean over trainings, whose randomness its interval holds."""
    patients = [merge_scans(of_model) for of_model in scans]
    scores = np.array([[one.score for one in of_model] for of_model in patients])
    auroc, interval = patient_auroc(scores, np.array([one.abnormal for one in patients[0]], bool))
    return {"patient_AUROC": auroc, "patient_AUROC_interval": interval}


def measure(result: VolumeResult, anomaly: np.ndarray, volume: LabelledVolume, patient: JudgedScan) -> Record:
    """Compare one case's map, `(X, Y, Z)` with axes to the left, back and top, with its lesion."""
    spots, lesion = result.hot_spots, volume.lesion
    in_file = result.grid.turn(lesion)
    hit = bool(in_file[tuple(result.grid.voxel_at(spots[0].world_mm))]) if spots and lesion.any() else None
    return {
        **voxel_metrics(anomaly, volume, ABOVE_THRESHOLD if result.has_thresholds else None),
        "lesion_share": volume.lesion_share,
        "slices": len(result.slice_scores),
        "patient_score": result.patient_score,
        "is_anomalous": result.is_anomalous,
        "no_verdict": result.no_verdict or None,
        "score_of_lesion_free_part": patient.lesion_free_score if patient.lesion_slices else None,
        "first_hot_spot_in_lesion": hit,
    }


def add_sensitivities(
    records: Mapping[str, Sequence[Record]], spots: Mapping[int | str, Sequence[SpotCounts]]
) -> dict[str, Any]:
    """Add the lesion-wise numbers of all models and rules to the records; returns their thresholds."""
    thresholds: dict[str, Any] = {"models": []}
    if not any(one.lesions for one in spots[0]):
        return thresholds
    for name, of_cases in spots.items():
        point = operating_point(of_cases, THRESHOLDS, FALSE_PER_CASE)
        if isinstance(name, int):
            thresholds["models"].append(point.threshold)
        else:
            thresholds[name] = point.threshold
        suffix = "" if isinstance(name, int) else f"_of_{name}"
        for index, of_case in enumerate(records.values()):
            sensitivity = float(point.sensitivity[index])
            for record in [of_case[name]] if isinstance(name, int) else of_case:
                record["lesions"] = of_cases[index].lesions
                record[f"lesion_sensitivity{suffix}"] = None if np.isnan(sensitivity) else sensitivity
                record[f"false_spots{suffix}"] = float(point.false_spots[index])
    return thresholds


def compare(records: Mapping[str, Sequence[Record]], patients: Mapping[str, str]) -> Record:
    """Set the means over patients beside those of each rule."""
    names = sorted(set(patients.values()))

    def values(key: str) -> np.ndarray:
        """Mean over the cases of each patient, `(n, P)`."""
        found = [
            [[one.get(key) for one in records[case]] for case, patient in patients.items() if patient == name]
            for name in names
        ]
        return np.stack([np.array(of_patient, np.float64).mean(axis=0) for of_patient in found], axis=1)

    compared: Record = {}
    for measure_name in MEASURES:
        for rule in ("brightness", "smoothed_brightness"):
            found = pair(values(measure_name), values(f"{measure_name}_of_{rule}")[0])
            record = None if found is None else asdict(found) | {"difference": found.difference}
            compared.setdefault(measure_name, {})[rule] = record
    return compared


def mean_record(records: Sequence[Record]) -> Record:
    """Average the numbers of several trainings; of one alone they stay as they are."""
    if len(records) == 1:
        return dict(records[0])
    averaged: Record = {}
    for key, first in records[0].items():
        every = [record[key] for record in records]
        numbers = all(isinstance(one, bool | int | float) for one in every)
        if not isinstance(first, bool) and all(one == first for one in every):
            averaged[key] = first
            continue
        # Where a number is undefined for one training, so is the mean; reasons and words are of the first.
        averaged[key] = float(np.mean(every)) if numbers else None if None in every else first
    return averaged


if __name__ == "__main__":
    main()
