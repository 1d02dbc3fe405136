r"""Voxel metrics of a trained model on whole BraTS cases that it has not seen, beside the brightness of the scan.

    python benchmarks/volumes.py --ckpt_path CKPT --out benchmarks/results/volumes/volumes.json \
      --cases ARCHIVE/HGG/BraTS19_2013_4_1 ARCHIVE/HGG/BraTS19_TCIA_006_1

Every voxel inside the brain counts; the lesion is any label above 0. Best Dice is over all thresholds, Dice at the
threshold that was stored with the model.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from anomalib_patchgan.data.prepare.writing import write_json
from anomalib_patchgan.deploy.model_card import THRESHOLD, installed_versions
from anomalib_patchgan.deploy.volume import VolumeInferencer, VolumeResult
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.measure.localisation import pixel_metrics


def main() -> None:
    """Measure every case and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint, or model.xml")
    parser.add_argument("--cases", type=Path, nargs="+", required=True, help="folders of cases with a segmentation")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for folder in args.cases:
        if not segmentation(folder).is_file():
            parser.error(f"{segmentation(folder)} does not exist: --cases takes folders of cases with a segmentation")

    try:
        inferencer = VolumeInferencer(args.ckpt_path)
    except PatchGanError as error:
        parser.error(str(error))
    cases = {}
    for folder in args.cases:
        files = {name: folder / f"{folder.name}_{name}.nii.gz" for name in inferencer.modalities}
        lesion = np.asanyarray(nib.load(segmentation(folder)).dataobj) > 0
        scan = np.asanyarray(nib.load(next(iter(files.values()))).dataobj)
        cases[folder.name] = measure(inferencer.predict(files), lesion, scan)
        print(folder.name, json.dumps(cases[folder.name], indent=1), flush=True)
    write_json(args.out, {"cases": cases, "versions": installed_versions()})


def segmentation(folder: Path) -> Path:
    """The file of a case's labels."""
    return folder / f"{folder.name}_seg.nii.gz"


def measure(result: VolumeResult, lesion: np.ndarray, scan: np.ndarray) -> dict[str, object]:
    """Compare one case's map with its lesion, `(X, Y, Z)` bool, and its scan, of the same shape."""
    brain = scan > 0
    case = np.array([result.case])
    found, bright = (
        pixel_metrics(values[brain][None, None], lesion[brain][None, None], case, THRESHOLD)
        for values in (result.anomaly, scan.astype(np.float32))
    )
    return {
        "voxel_AP": found["pixel_AP"],
        "best_dice": found["pixel_best_dice"],
        "dice_at_threshold": found["pixel_dice"],
        "voxel_AP_of_brightness": bright["pixel_AP"],
        "best_dice_of_brightness": bright["pixel_best_dice"],
        "lesion_share": float(lesion[brain].mean()),
        "patient_score": result.patient_score,
        "first_hot_spot_in_lesion": bool(lesion[tuple(result.grid.voxel_at(result.hot_spots[0].world_mm))]),
    }


if __name__ == "__main__":
    main()
