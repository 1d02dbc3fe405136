r"""Says which lesions and images a comparison's models get wrong: by size, by contrast, image by image.

    python benchmarks/misses.py benchmarks/results/lgg_flair benchmarks/results/brats_slices --out FILE.json

Reads the raw scores of finished jobs, and the images and masks of their test split: no model runs. The `share` of a
lesion is the part of the tissue that it covers; its `contrast` is its mean brightness minus the median of the tissue
around it, in standard deviations of that tissue (estimated from its quartiles). The image AUROC of a stratum is that of
its lesion images against all images without a lesion. `missed` lists the lesion images that most images without one
outrank, with the share of those that do (`outranked_by`), `false_alarms` the images without one that outrank most
lesion images (`outranks`). Wrong pixels are counted at the threshold of the best Dice of each job. All is the mean over
the seeds of a model.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm
from tested_data import Tested, read_tested

from anomalib_patchgan.benchmark.results import JobScores
from anomalib_patchgan.benchmark.split_table import SplitTable, read_masks
from anomalib_patchgan.data.image_files import opened
from anomalib_patchgan.errors import DataError, PatchGanError, one_line
from anomalib_patchgan.files import make_writable, write_json
from anomalib_patchgan.measure.detection import stratum_metrics
from anomalib_patchgan.models.components.foreground import foreground_mask

# Upper bounds; said before any score was looked at.
SHARES = {"below 1 %": 0.01, "1 to 3 %": 0.03, "3 to 10 %": 0.1, "from 10 %": np.inf}
CONTRASTS = {"darker": -0.5, "as bright": 0.5, "brighter": 1.5, "much brighter": np.inf}
WORST = 20
# Tissue pixels around a lesion that its contrast takes.
FEWEST_AROUND = 100

Record = dict[str, Any]


def lesion_properties(table: SplitTable, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the lesions of a split.

    Args:
        table: The images.
        size: Height and width at which they are measured.

    Returns:
        Share of the tissue, 0 to 1, and contrast of each image's lesion, both `(N,)`; NaN where there is none, and for
        the contrast where the lesion leaves too little tissue.

    Raises:
        DataError: A mask cannot be read.
    """
    masks = read_masks(table, size)
    shares, contrasts = np.full((2, len(table.name)), np.nan)
    if masks is None:
        return shares, contrasts
    for number, (path, mask) in enumerate(zip(table.image_path, masks, strict=True)):
        if not mask.any():
            continue
        with opened(Path(path)) as image:
            grey = np.asarray(image.convert("L").resize(size[::-1], Image.Resampling.BILINEAR), np.float32)
        grey = grey / max(float(np.percentile(grey, 99)), 1.0)
        tissue = foreground_mask(torch.from_numpy(grey)[None, None])[0, 0].numpy() > 0
        shares[number] = (mask & tissue).sum() / max(tissue.sum(), 1)
        around = grey[tissue & ~mask]
        if around.size >= FEWEST_AROUND:
            low, middle, high = np.percentile(around, [25, 50, 75])
            spread = max((high - low) / (norm.ppf(0.75) - norm.ppf(0.25)), 1e-3)
            contrasts[number] = (grey[mask].mean() - middle) / spread
    return shares, contrasts


def strata(
    values: NDArray[np.float64], bounds: Mapping[str, float], scores: Mapping[str, Sequence[JobScores]]
) -> Record:
    """Return the number of images and each model's image AUROC in strata of their lesions."""
    # NaN, of images without a lesion, comes behind the last bound.
    stratum = np.array([*bounds, ""])[np.searchsorted(list(bounds.values()), values)]
    of_models = {
        model: [stratum_metrics(one.score, one.label, stratum) for one in jobs] for model, jobs in scores.items()
    }
    found: Record = {}
    for name in bounds:
        images = int((stratum == name).sum())
        of_stratum = of_models if images else {}
        auroc = {model: np.mean([one[name]["image_AUROC"] for one in jobs]) for model, jobs in of_stratum.items()}
        found[name] = {"images": images, "image_AUROC": auroc}
    return found


def worst(jobs: Sequence[JobScores], properties: Mapping[str, NDArray[np.float64]], *, lesions: bool) -> list[Record]:
    """Return the lesion images that most others outrank, or the other images that outrank most lesion images."""
    wrong = np.zeros(len(jobs[0].image))
    for job in jobs:
        others = np.sort(job.score[job.label != lesions])
        above = len(others) - np.searchsorted(others, job.score, side="left")
        below = np.searchsorted(others, job.score, side="right")
        wrong += (above if lesions else below) / len(others) / len(jobs)
    candidates = np.flatnonzero(jobs[0].label == lesions)
    chosen = candidates[np.argsort(-wrong[candidates], kind="stable")][:WORST]
    share = "outranked_by" if lesions else "outranks"
    return [
        {"image": str(jobs[0].image[one]), "patient": str(jobs[0].patient[one]), share: round(float(wrong[one]), 3)}
        | {name: round(float(values[one]), 3) for name, values in properties.items() if np.isfinite(values[one])}
        for one in chosen
    ]


def wrong_pixels(jobs: Sequence[JobScores]) -> list[Record]:
    """Return each patient's part of all missed and of all falsely found pixels, those with most first."""
    found: dict[str, NDArray[np.float64]] = {}
    for job in (one for one in jobs if one.pixel_patient.size):
        # Cumulated from the highest values on: what a threshold at each bin finds.
        hits, alarms = (np.cumsum(one[:, ::-1], axis=1, dtype=np.int64) for one in (job.positives, job.negatives))
        total_hits, total_alarms = hits.sum(axis=0), alarms.sum(axis=0)
        at = int(np.argmax(2 * total_hits / (total_hits + total_alarms + total_hits[-1])))
        missed, false = hits[:, -1] - hits[:, at], alarms[:, at]
        parts = np.stack([missed, false]) / max(int(missed.sum() + false.sum()), 1) / len(jobs)
        for patient, part in zip(job.pixel_patient, parts.T, strict=True):
            found[str(patient)] = found.get(str(patient), np.zeros(2)) + part
    ranked = sorted(found.items(), key=lambda item: -item[1].sum())
    return [{"patient": name, "missed": round(float(m), 4), "false": round(float(f), 4)} for name, (m, f) in ranked]


def analyse(tested: Tested, model: str) -> Record:
    """Analyse the jobs of one data set.

    Args:
        tested: The jobs and the images.
        model: Whose misses are listed.

    Returns:
        Strata of lesions for every model, and the misses, false alarms and wrong pixels of one; where every image has a
        lesion, wrong pixels only.

    Raises:
        DataError: The model has no finished job, or a mask cannot be read.
    """
    if model not in tested.scores:
        msg = f"{tested.name}: no job of {model!r} has finished, only of {', '.join(tested.scores)}."
        raise DataError(msg)
    jobs, labels = tested.scores[model], tested.scores[model][0].label
    found: Record = {
        "data": tested.name,
        "images": len(labels),
        "images_with_lesion": int(labels.sum()),
        "seeds": len(jobs),
        "wrong_pixels": wrong_pixels(jobs),
    }
    if labels.all() or not labels.any():
        return found
    shares, contrasts = lesion_properties(tested.table, tested.size)
    return found | {
        "by_share": strata(shares, SHARES, tested.scores),
        "by_contrast": strata(contrasts, CONTRASTS, tested.scores),
        "missed": worst(jobs, {"share": shares, "contrast": contrasts}, lesions=True),
        "false_alarms": worst(jobs, {}, lesions=False),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse the runs and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of `anomalib-patchgan benchmark`")
    parser.add_argument("--model", default="PatchGan", help="whose misses are listed, by its name in the tables")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    try:
        make_writable(args.out.parent)
        found = {run.name: analyse(tested, args.model) for run in args.runs for tested in read_tested(run)}
        write_json(args.out, {"model": args.model, "data": found})
    except PatchGanError as error:
        parser.exit(2, f"error: {one_line(error)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
