"""The bootstrap of one model's jobs, kept for its interval and for its comparison with the others."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.benchmark.report.load import Job
from anomalib_patchgan.benchmark.report.spread import Spread
from anomalib_patchgan.benchmark.results import JobScores
from anomalib_patchgan.measure.patient_scores import PATIENT_METRICS, score_patients
from anomalib_patchgan.measure.statistics import PixelCounts, Scores, bootstrap
from anomalib_patchgan.measure.uncertainty import Trainings

RESAMPLES = 2000
# Of fewer no test is worth much, although it would keep its level.
FEWEST_FOR_TEST = 10
IMAGE_METRICS = ("image_AUROC", "image_AP")
PIXEL_METRICS = ("pixel_AUROC", "pixel_AP", "pixel_best_dice")
# What a metric of patients is, once each has one score.
_OF_PATIENTS = "image_AUROC"


class Resampler:
    """Bootstraps the jobs of one model.

    Args:
        jobs: Its finished jobs with their raw scores.
    """

    def __init__(self, jobs: Sequence[tuple[Job, JobScores]]) -> None:
        self.jobs = [(job.result.seed, job.result.fold, scores) for job, scores in jobs]
        self._images: dict[tuple[frozenset[str], frozenset[int]], set[tuple[str, str, str]]] = {}
        self._values: dict[tuple[str, str, frozenset[str], frozenset[int]], NDArray[np.float64]] = {}

    def patients(self, folds: frozenset[str]) -> int:
        """Count the patients of some folds."""
        return len(set().union(*(scores.patient.tolist() for _, fold, scores in self.jobs if fold in folds)))

    def sample_size(self, metric: str, folds: frozenset[str]) -> int:
        """Count the patients that a metric depends on: those of the rarer kind if it sets patients against patients."""
        if metric not in PATIENT_METRICS:
            return self.patients(folds)
        jobs = [scores for _, fold, scores in self.jobs if fold in folds]
        abnormal = set().union(*(scores.patient[scores.label].tolist() for scores in jobs))
        return min(len(abnormal), self.patients(folds) - len(abnormal))

    def can(self, metric: str, stratum: str) -> bool:
        """Tell whether a metric can be resampled."""
        if stratum:
            return metric == "image_AUROC"
        with_pixels = any(scores.positives.shape[1] for _, _, scores in self.jobs)
        return metric in {*IMAGE_METRICS, *PATIENT_METRICS} or (metric in PIXEL_METRICS and with_pixels)

    def trainings(self, metric: str, stratum: str, over: Spread) -> Trainings:
        """Resample a metric of each seed.

        A seed's value is its mean over the folds, whose trainings are as many draws of what training leaves to chance:
        the spread of these means over seeds holds it whether or not a seed has something in common in all folds. Seeds
        that miss a fold are left out; all jobs together make a single value where fewer than two are left, or where the
        seeds were tested on different images.

        Args:
            metric: One for which `can` is true.
            stratum: Lesions to keep beside all normal images; "" for all.
            over: The metric itself, over the folds that shall take part.
        """
        images = [self.images(over.folds, {seed}) for seed in over.complete]
        apart = len(images) > 1 and all(one == images[0] for one in images)
        groups = [{seed} for seed in over.complete] if apart else [set(over.seed_means)]
        return Trainings(
            values=np.array(over.complete_means if apart else [over.mean]),
            resampled=np.stack([self._resample(metric, stratum, over.folds, frozenset(seeds)) for seeds in groups]),
            patients=self.patients(over.folds),
        )

    def images(self, folds: frozenset[str], seeds: Collection[int] | None = None) -> set[tuple[str, str, str]]:
        """Fold, patient and name of the images of some folds, and of some seeds, by default all."""
        chosen = frozenset(seed for seed, _, _ in self.jobs if seeds is None or seed in seeds)
        if (folds, chosen) not in self._images:
            self._images[folds, chosen] = {
                (fold, patient, image)
                for seed, fold, scores in self.jobs
                if fold in folds and seed in chosen
                for patient, image in zip(scores.patient.tolist(), scores.image.tolist(), strict=True)
            }
        return self._images[folds, chosen]

    def tested_as(self, other: "Resampler", folds: frozenset[str]) -> bool:
        """Tell whether the images of some folds are those that another model was tested on."""
        return self.images(folds) == other.images(folds)

    def _resample(self, metric: str, stratum: str, folds: frozenset[str], seeds: frozenset[int]) -> NDArray[np.float64]:
        """The metric of each resample, `(RESAMPLES,)`; NaN where undefined."""
        key = (metric, stratum, folds, seeds)
        if key not in self._values:
            chosen = [(fold, scores) for seed, fold, scores in self.jobs if fold in folds and seed in seeds]
            if metric in PIXEL_METRICS:
                pixels = [_pixel_counts(fold, scores) for fold, scores in chosen if scores.positives.shape[1]]
                self._values[key] = bootstrap(pixels, metric, RESAMPLES)
            elif metric in PATIENT_METRICS:
                patients = [_patient_scores(fold, scores, metric) for fold, scores in chosen]
                self._values[key] = bootstrap(patients, _OF_PATIENTS, RESAMPLES)
            else:
                images = [_scores(fold, scores, stratum) for fold, scores in chosen]
                self._values[key] = bootstrap(images, metric, RESAMPLES)
        return self._values[key]


def _scores(fold: str, scores: JobScores, stratum: str) -> Scores:
    kept = (~scores.label | (scores.stratum == stratum)) if stratum else np.ones(scores.label.shape, dtype=bool)
    return Scores(fold=fold, patients=scores.patient[kept], labels=scores.label[kept], scores=scores.score[kept])


def _patient_scores(fold: str, scores: JobScores, metric: str) -> Scores:
    patients, labels, values = score_patients(metric, scores.score, scores.label, scores.patient)
    return Scores(fold=fold, patients=patients, labels=labels, scores=values)


def _pixel_counts(fold: str, scores: JobScores) -> PixelCounts:
    return PixelCounts(fold=fold, patients=scores.pixel_patient, positives=scores.positives, negatives=scores.negatives)
