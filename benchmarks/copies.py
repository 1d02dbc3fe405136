r"""Finds test images of which the training images hold a copy, and measures a comparison's models without them.

    python benchmarks/copies.py benchmarks/results/brain_tumor --out FILE.json

Collections from the internet hold the same picture several times, saved again, resized or mirrored. A split by file
puts copies on both sides, and a model that memorises is then tested on what it has seen. Two images count as copies
where their grey values at 64x64 pixels, or those of one and the mirrored other, correlate by more than 0.995. No model
runs: image AUROC is that of the raw scores of finished jobs, the mean over seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tested_data import Tested, read_tested

from anomalib_patchgan.data.image_files import opened
from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.files import make_writable, write_json
from anomalib_patchgan.measure.detection import image_metrics

SIDE = 64
CORRELATION = 0.995

Record = dict[str, Any]


def has_copy(images: Sequence[str], others: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which images have a copy among others.

    Args:
        images: Paths of N images.
        others: Paths of the others.

    Returns:
        Whether each has one, `(N,)`.

    Raises:
        DataError: An image cannot be read.
    """
    here, there = _standardised(images), _standardised(others)
    mirrored = there.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(there.shape)
    highest = np.maximum((here @ there.T).max(axis=1), (here @ mirrored.T).max(axis=1))
    found: NDArray[np.bool_] = highest > CORRELATION
    return found


def _standardised(paths: Sequence[str]) -> NDArray[np.float32]:
    """Grey values of small copies, `(N, SIDE * SIDE)`, of mean 0 and length 1."""
    rows = np.empty((len(paths), SIDE * SIDE), np.float32)
    for row, path in zip(rows, paths, strict=True):
        with opened(Path(path)) as image:
            row[:] = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)


def analyse(tested: Tested) -> Record:
    """Count copies, and measure each model with and without the test images that have one."""
    copied = has_copy(tested.table.image_path.tolist(), tested.data.train_data.samples.image_path.tolist())
    labels = next(iter(tested.scores.values()))[0].label
    found: Record = {
        "data": tested.name,
        "normal": int((~labels).sum()),
        "normal_with_copy": int((copied & ~labels).sum()),
        "with_lesion": int(labels.sum()),
        "with_lesion_with_copy": int((copied & labels).sum()),
    }
    if copied.any() and len(set(labels[~copied].tolist())) > 1:
        parts = {"all": np.ones_like(copied), "without_copies": ~copied}
        found["image_AUROC"] = {
            model: {
                name: float(
                    np.mean([image_metrics(one.score[part], one.label[part], None)["image_AUROC"] for one in jobs])
                )
                for name, part in parts.items()
            }
            for model, jobs in tested.scores.items()
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse the runs and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of `anomalib-patchgan benchmark`")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    try:
        make_writable(args.out.parent)
        found = {run.name: analyse(tested) for run in args.runs for tested in read_tested(run)}
        write_json(args.out, {"correlation": CORRELATION, "data": found})
    except PatchGanError as error:
        parser.exit(2, f"error: {one_line(error)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
