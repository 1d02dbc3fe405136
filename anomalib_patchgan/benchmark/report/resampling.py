"""A metric over the seeds and folds of one model, and its bootstrap, kept for its interval and for the comparisons."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.benchmark.report.load import Job
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


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the jobs of one model.

    Args:
        seed_means: Mean over the folds of each seed; empty when the metric is defined nowhere.
        jobs: Number of jobs in which it is defined.
        folds: Their folds.
        complete: The seeds in which it is defined in all of these folds. The others' means are over other patients.
    """

    seed_means: Mapping[int, float]
    jobs: int
    folds: frozenset[str]
    complete: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.seed_means.values())))

    @property
    def complete_means(self) -> list[float]:
        """Mean over the folds of each complete seed."""
        return [self.seed_means[seed] for seed in self.complete]

    @property
    def sd(self) -> float:
        """Standard deviation over the complete seeds; NaN for fewer than two."""
        return float(np.std(self.complete_means, ddof=1)) if len(self.complete) > 1 else float("nan")


def spread(jobs: Sequence[Job], metric: str, stratum: str, folds: frozenset[str] | None = None) -> Spread:
    """Average a metric over the folds of each seed.

    Args:
        jobs: Finished jobs of one model.
        metric: Name of the metric.
        stratum: Kind of lesions; "" for all.
        folds: Folds to take part; all by default.
    """
    values: dict[int, dict[str, list[float]]] = {}
    for result in (job.result for job in jobs if folds is None or job.result.fold in folds):
        value = (result.strata.get(stratum, {}) if stratum else result.metrics).get(metric)
        if value is not None:
            values.setdefault(result.seed, {}).setdefault(result.fold, []).append(value)
    defined = frozenset(fold for seed in values.values() for fold in seed)
    return Spread(
        # Two accelerators may have run the same seed and fold.
        seed_means={seed: float(np.mean([np.mean(one) for one in of.values()])) for seed, of in values.items()},
        jobs=sum(len(one) for of in values.values() for one in of.values()),
        folds=defined,
        complete=tuple(seed for seed, of in values.items() if of.keys() == defined),
    )


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

    def _resample(self, metric: str, stratum: str, folds: frozenset[str], seeds: frozenset[int]) -> NDArray[np.float64]:
        """The metric of each resample, `(RESAMPLES,)`; NaN where undefined."""
        key = (metric, stratum, folds, seeds)
        if key not in self._values:
            chosen = [scores for seed, fold, scores in self.jobs if fold in folds and seed in seeds]
            if metric in PIXEL_METRICS:
                pixels = [
                    PixelCounts(patients=scores.pixel_patient, positives=scores.positives, negatives=scores.negatives)
                    for scores in chosen
                    if scores.positives.shape[1]
                ]
                self._values[key] = bootstrap(pixels, metric, RESAMPLES)
            else:
                images = [_scores_of(metric, stratum, scores) for scores in chosen]
                self._values[key] = bootstrap(images, _OF_PATIENTS if metric in PATIENT_METRICS else metric, RESAMPLES)
        return self._values[key]


def _scores_of(metric: str, stratum: str, scores: JobScores) -> Scores:
    """The scores of a job's patients, or of its images: all normal ones and the lesions of a stratum."""
    if metric in PATIENT_METRICS:
        patients, labels, values = score_patients(metric, scores.score, scores.label, scores.patient)
        return Scores(patients=patients, labels=labels, scores=values)
    kept = ~scores.label | (scores.stratum == stratum) | (stratum == "")
    return Scores(patients=scores.patient[kept], labels=scores.label[kept], scores=scores.score[kept])
