"""The bootstrap of one model's jobs, kept for its interval and for its comparison with the others."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.benchmark.results import JobScores
from anomalib_patchgan.measure.statistics import PixelCounts, Scores, bootstrap, without_resampling

RESAMPLES = 2000
# With fewer patients the percentile interval is far too narrow, and with one every resample is the same.
FEWEST_FOR_INTERVAL = 5
# With 5 patients and no difference between two models a nominal 5 % test says "different" in 14 % of cases.
FEWEST_FOR_TEST = 10
IMAGE_METRICS = ("image_AUROC", "image_AP")
PIXEL_METRICS = ("pixel_AUROC", "pixel_AP", "pixel_best_dice")


class Resampler:
    """Bootstraps the jobs of one model.

    Args:
        jobs: Fold and raw scores of each job.
    """

    def __init__(self, jobs: Sequence[tuple[str, JobScores]]) -> None:
        self.jobs = list(jobs)
        self._values: dict[tuple[str, str, frozenset[str]], NDArray[np.float64]] = {}

    @property
    def folds(self) -> frozenset[str]:
        """The folds with a finished job."""
        return frozenset(fold for fold, _ in self.jobs)

    def patients(self, folds: frozenset[str]) -> int:
        """Count the patients of some folds."""
        return len(set().union(*(scores.patient.tolist() for fold, scores in self.jobs if fold in folds)))

    def can(self, metric: str, stratum: str) -> bool:
        """Tell whether a metric can be resampled."""
        if stratum:
            return metric == "image_AUROC"
        with_pixels = any(scores.positives.shape[1] for _, scores in self.jobs)
        return metric in IMAGE_METRICS or (metric in PIXEL_METRICS and with_pixels)

    def values(self, metric: str, stratum: str, folds: frozenset[str], mean: float) -> NDArray[np.float64]:
        """Return the metric of each resample.

        Args:
            metric: One for which `can` is true.
            stratum: Lesions to keep beside all normal images; "" for all.
            folds: Folds to take part.
            mean: The metric itself, around which the values are put: bins of pixels, and folds weighted by their
                patients, would leave it a little beside them.

        Returns:
            `(RESAMPLES,)`; NaN where undefined.
        """
        key = (metric, stratum, folds)
        if key not in self._values:
            chosen = [(fold, scores) for fold, scores in self.jobs if fold in folds]
            if metric in PIXEL_METRICS:
                pixels = [_pixel_counts(fold, scores) for fold, scores in chosen if scores.positives.shape[1]]
                self._values[key] = bootstrap(pixels, metric, RESAMPLES) - without_resampling(pixels, metric)
            else:
                images = [_scores(fold, scores, stratum) for fold, scores in chosen]
                self._values[key] = bootstrap(images, metric, RESAMPLES) - without_resampling(images, metric)
        return mean + self._values[key]

    def tested_as(self, other: "Resampler", folds: frozenset[str]) -> bool:
        """Tell whether the images of some folds are those that another model was tested on."""
        return _images(self, folds) == _images(other, folds)


def _scores(fold: str, scores: JobScores, stratum: str) -> Scores:
    kept = (~scores.label | (scores.stratum == stratum)) if stratum else np.ones(scores.label.shape, dtype=bool)
    return Scores(fold=fold, patients=scores.patient[kept], labels=scores.label[kept], scores=scores.score[kept])


def _pixel_counts(fold: str, scores: JobScores) -> PixelCounts:
    return PixelCounts(fold=fold, patients=scores.pixel_patient, positives=scores.positives, negatives=scores.negatives)


def _images(model: Resampler, folds: frozenset[str]) -> set[tuple[str, str, str]]:
    return {
        (fold, patient, image)
        for fold, scores in model.jobs
        if fold in folds
        for patient, image in zip(scores.patient.tolist(), scores.image.tolist(), strict=True)
    }
