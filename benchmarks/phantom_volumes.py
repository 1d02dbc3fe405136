r"""Writes synthetic brains as NIfTI volumes in the layout of BraTS 2019, to try `volume` and `view` without a download.

    python benchmarks/phantom_volumes.py --out datasets/phantom_volumes
    anomalib-patchgan train --config configs/experiment/brats2019_slices.yaml \
      --data.init_args.root datasets/phantom_volumes --data.init_args.split_file datasets/phantom_volumes/split.csv

The subjects are those of `BrainPhantom`: healthy ones to train on, others with lesions to validate and test on.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

from anomalib_patchgan.data.prepare.phantom.anatomy import FIELD_OF_VIEW_MM, slice_points
from anomalib_patchgan.data.prepare.phantom.subjects import PhantomSpec, make_volume

ARCHIVE = "MICCAI_BraTS_2019_Data_Training"
# Of 1 mm, as in BraTS, over the field of view and height of the phantom.
SIDE, SLICES = 208, 75


def main() -> None:
    """Write every subject and the split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=8, help="healthy subjects")
    parser.add_argument("--val", type=int, default=2, help="subjects with lesions that choose the threshold")
    parser.add_argument("--test", type=int, default=2, help="subjects with lesions to test on")
    args = parser.parse_args()

    spec = PhantomSpec(
        train_subjects=args.train,
        val_subjects=args.val,
        test_subjects=args.test,
        slices_per_subject=SLICES,
        image_size=SIDE,
    )
    affine = volume_affine()
    lines = ["id,split"]
    for subject, split in zip(
        spec.cases, ["train"] * args.train + ["val"] * args.val + ["test"] * args.test, strict=True
    ):
        name = f"BraTS19_PHANTOM_{subject.removeprefix('sub-')}_1"
        folder = args.out / ARCHIVE / "HGG" / name
        folder.mkdir(parents=True, exist_ok=True)
        volume = make_volume(spec, subject)
        for suffix, slices in (("flair", volume.pixels), ("seg", volume.lesions)):
            # From slices, rows and columns to axes that run to the left, to the back and up.
            image = nib.Nifti1Image(slices.astype(np.int16).transpose(2, 1, 0), affine)
            image.header.set_xyzt_units("mm", "sec")
            nib.save(image, folder / f"{name}_{suffix}.nii.gz")
        lines.append(f"{name},{split}")
        print(name, split, flush=True)
    (args.out / "split.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def volume_affine() -> np.ndarray:
    """Affine of the volumes, from voxels to mm to the right, to the front and up."""
    x, y, z = (np.ravel(axis) for axis in slice_points(SLICES, SIDE))
    affine = np.diag([x[1] - x[0], y[1] - y[0], z[1] - z[0], 1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    assert np.isclose(-affine[0, 0], FIELD_OF_VIEW_MM / SIDE)
    return affine


if __name__ == "__main__":
    main()
