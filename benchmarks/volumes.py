r"""Voxel metrics of a trained model on whole BraTS cases that it has not seen, beside the brightness of the scan.

    python benchmarks/volumes.py --ckpt_path CKPT --out benchmarks/results/volumes/volumes.json \
      --cases ARCHIVE/HGG/BraTS19_2013_4_1 ARCHIVE/HGG/BraTS19_TCIA_006_1

Every voxel inside the brain counts; the lesion is any label above 0. Best Dice is over all thresholds, Dice at the
threshold that was stored with the model. Under `patients` stand AUROC and false-positive rate of patients. A case
without any label, and one of `--healthy`, is a healthy patient; where there is none, as in BraTS, both are null with
the reason, and the false-positive rate is that of the lesion-free parts of the scans.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from anomalib_patchgan.data.prepare.nifti import parse_nifti, read_bytes
from anomalib_patchgan.data.prepare.writing import make_writable, write_json
from anomalib_patchgan.deploy.model_card import THRESHOLD, installed_versions
from anomalib_patchgan.deploy.volume import VolumeInferencer, VolumeResult
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.measure.localisation import pixel_metrics
from anomalib_patchgan.measure.patients import JudgedScan, judge_patients


def main() -> None:
    """Measure every case and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint, or model.xml")
    parser.add_argument("--cases", type=Path, nargs="+", required=True, help="folders of cases with a segmentation")
    parser.add_argument("--healthy", type=Path, nargs="+", default=[], help="folders of healthy cases, without one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for folder in args.cases:
        if not segmentation(folder).is_file():
            parser.error(f"{segmentation(folder)} does not exist: --cases takes folders of cases with a segmentation")

    cases: dict[str, dict[str, object]] = {}
    scans: list[JudgedScan] = []
    try:
        inferencer = VolumeInferencer(args.ckpt_path)
        make_writable(args.out.parent)
        for folder in [*args.cases, *args.healthy]:
            files = {name: folder / f"{folder.name}_{name}.nii.gz" for name in inferencer.modalities}
            scan = np.asanyarray(nib.load(next(iter(files.values()))).dataobj)
            lesion = np.zeros(scan.shape, bool)
            if folder in args.cases:
                lesion = np.asanyarray(nib.load(segmentation(folder)).dataobj) > 0
            result = inferencer.predict(files)
            scans.append(judged(result, lesion_slices(folder) if lesion.any() else frozenset()))
            cases[folder.name] = measure(result, lesion, scan, scans[-1])
            print(folder.name, json.dumps(cases[folder.name], indent=1), flush=True)
    except PatchGanError as error:
        parser.error(str(error))
    threshold = inferencer.patient_threshold
    patients = judge_patients(scans, None if threshold is None else threshold.value)
    patients["patient_threshold_from"] = None if threshold is None else threshold.source
    print("patients", json.dumps(patients, indent=1))
    write_json(args.out, {"cases": cases, "patients": patients, "versions": installed_versions()})


def segmentation(folder: Path) -> Path:
    """The file of a case's labels."""
    return folder / f"{folder.name}_seg.nii.gz"


def lesion_slices(folder: Path) -> frozenset[int]:
    """Numbers of the axial slices with a lesion, from the bottom, whatever the axes of the file."""
    path = segmentation(folder)
    voxels = parse_nifti(read_bytes(path), path).voxels
    return frozenset(np.flatnonzero((voxels > 0).any(axis=(0, 1))).tolist())


def judged(result: VolumeResult, lesions: frozenset[int]) -> JudgedScan:
    """What the model says about a patient, with what is known about the slices."""
    return JudgedScan(slice_scores=result.slice_scores, lesion_slices=lesions, is_anomalous=result.is_anomalous)


def measure(result: VolumeResult, lesion: np.ndarray, scan: np.ndarray, patient: JudgedScan) -> dict[str, object]:
    """Compare one case's map with its lesion, `(X, Y, Z)` bool, and its scan, of the same shape."""
    brain = scan > 0
    case = np.array([result.case])
    found, bright = (
        pixel_metrics(values[brain][None, None], lesion[brain][None, None], case, threshold)
        for values, threshold in (
            (result.anomaly, THRESHOLD if result.has_thresholds else None),
            (scan.astype(np.float32), None),
        )
    )
    spots = result.hot_spots
    hit = bool(lesion[tuple(result.grid.voxel_at(spots[0].world_mm))]) if spots and lesion.any() else None
    return {
        "voxel_AP": found["pixel_AP"],
        "best_dice": found["pixel_best_dice"],
        "dice_at_threshold": found.get("pixel_dice"),
        "voxel_AP_of_brightness": bright["pixel_AP"],
        "best_dice_of_brightness": bright["pixel_best_dice"],
        "lesion_share": float(lesion[brain].mean()),
        "slices": len(result.slice_scores),
        "patient_score": result.patient_score,
        "is_anomalous": result.is_anomalous,
        "no_verdict": result.no_verdict or None,
        "score_of_lesion_free_part": patient.lesion_free_score if patient.lesion_slices else None,
        "first_hot_spot_in_lesion": hit,
    }


if __name__ == "__main__":
    main()
