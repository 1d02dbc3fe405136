"""A method compared with itself is found different no more often than the test's level says, a better one is found."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anomalib_patchgan.benchmark.report import resampling, write
from anomalib_patchgan.benchmark.report.load import Comparison, Job
from anomalib_patchgan.benchmark.results import JobResult, JobScores

TRIALS = 150
# Of the image AUROC for a unit of separation, near an AUROC of 0.88.
SLOPE = 0.14
IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class HeldJob(Job):
    """A job whose scores are in memory."""

    held: JobScores

    def scores(self):
        """Return them."""
        return self.held


def trial(generator, *, folds=("",), **what):
    """A comparison with patients of its own in each fold, see `jobs_of_fold`."""
    jobs = [job for fold in folds for job in jobs_of_fold(generator, fold, **what)]
    return Comparison(data="data", slug="data", jobs=tuple(jobs), reference="reference", commands=(), notes=())


def jobs_of_fold(generator, fold, patients, seed_sd, *, difference=0.0, seeds=3, of_patients=0.0):
    """Two models on the same patients, each trained with some seeds; the rival is worse by `difference`.

    A training moves the lesions' scores by its own draw, of which the image AUROC gets the standard deviation
    `seed_sd`, and adds a little noise to each image. `of_patients`: how differently the models find the patients.
    """
    owner = np.repeat(np.arange(patients), IMAGES)
    label = np.tile(np.arange(IMAGES) % 2 == 0, patients)
    common = generator.normal(0, 0.5, patients)[owner] + generator.normal(0, 1, label.size)
    jobs = []
    for model, separation in (("reference", 2.0), ("rival", 2.0 - difference / SLOPE)):
        lesions = separation + of_patients * generator.normal(0, 1, patients)[owner]
        for seed in range(seeds):
            moved = lesions + generator.normal(0, seed_sd / SLOPE)
            score = common + moved * label + generator.normal(0, 0.15, label.size)
            result = JobResult(
                id=f"{model}-{fold}-{seed}",
                model=model,
                data="data",
                fold=fold,
                seed=seed,
                spec={},
                metrics={"image_AUROC": float(roc_auc_score(label, score))},
            )
            jobs.append(HeldJob(run=None, result=result, held=_scores(fold, owner, label, score)))
    return jobs


def _scores(fold, owner, label, score):
    none = np.zeros((label.size, 0), dtype=np.uint32)
    shown = np.zeros((0, 0, 0), dtype=np.uint8)
    names = np.char.add(f"{fold}-", owner.astype(str))
    return JobScores(
        image=np.arange(label.size).astype(str), patient=names, stratum=np.full(label.size, ""), label=label,
        score=score, positives=none, negatives=none, example=np.zeros(0, dtype=np.int64), example_map=shown,
        example_image=shown[..., None], example_mask=shown > 0,
    )  # fmt: skip


@pytest.fixture
def found_different(monkeypatch, no_figures):  # noqa: ARG001 - what it does counts
    """A function that gives the share of trials with p below 0.05."""
    monkeypatch.setattr(resampling, "RESAMPLES", 150)

    def share(trials=TRIALS, **what):
        generator = np.random.default_rng(0)
        p_values = []
        for _ in range(trials):
            aggregates = write._analyse(trial(generator, **what), examples=False)[1]
            p_values += [one.p for one in aggregates if one.model == "rival"]
        assert len(p_values) == trials
        assert np.isfinite(p_values).all()
        return np.mean(np.array(p_values) < 0.05)

    return share


@pytest.mark.parametrize(("patients", "seed_sd"), [(10, 0.0), (10, 0.02), (24, 0.006), (24, 0.02), (40, 0.02)])
def test_a_method_does_not_differ_from_itself(found_different, patients, seed_sd):
    # Three standard deviations of the share of trials above the level.
    allowed = 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5
    share = found_different(patients=patients, seed_sd=seed_sd)
    assert share <= allowed
    # A test that is never wrong finds nothing either.
    assert share > 0


def test_methods_that_are_good_at_different_patients_do_not_differ(found_different):
    share = found_different(patients=10, seed_sd=0.006, of_patients=0.7)
    assert 0 < share <= 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_a_method_does_not_differ_from_itself_over_folds(found_different):
    share = found_different(trials=60, folds=("a", "b"), patients=8, seed_sd=0.02)
    assert share <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5


def test_a_better_method_is_found(found_different):
    assert found_different(trials=60, patients=24, seed_sd=0.02, difference=0.1) > 0.75
