"""The bootstrap agrees with scikit-learn on each resample and pairs the models."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.measure import statistics
from anomalib_patchgan.measure.statistics import PixelCounts, Scores, bootstrap, holm


def make_scores(seed=0, patients=12, slices=8, levels=6, prefix="p", effect=2.0):
    """Slices of a patient share an offset, in their score and in their chance of a lesion."""
    generator = np.random.default_rng(seed)
    names = np.repeat([f"{prefix}{i}" for i in range(patients)], slices)
    labels = generator.random(names.size) < np.repeat(generator.uniform(0.1, 0.9, patients), slices)
    scores = effect * labels + np.repeat(generator.standard_normal(patients), slices)
    scores += generator.standard_normal(names.size)
    return Scores(patients=names, labels=labels, scores=np.round(scores * levels) / levels)


def make_counts(seed=0, patients=6, slices=3, bins=5):
    generator = np.random.default_rng(seed)
    names = np.repeat([f"p{i}" for i in range(patients)], slices)
    positives = generator.integers(0, 4, size=(names.size, bins)) * np.arange(bins)
    return PixelCounts(
        patients=names,
        positives=positives.astype(np.uint32),
        negatives=generator.integers(0, 9, size=(names.size, bins)).astype(np.uint32),
    )


def draws(patients, resamples, seed=0):
    """The weights of the patients, for a bootstrap small enough to be one chunk."""
    return next(statistics._draws(patients, resamples, seed, size=resamples))


def best_f1(labels, scores, sample_weight):
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=sample_weight)
    return (2 * precision * recall / np.maximum(precision + recall, 1e-30)).max()


EXPECTED = {"AUROC": roc_auc_score, "AP": average_precision_score, "best_dice": best_f1}


@pytest.mark.parametrize("metric", ["image_AUROC", "image_AP"])
def test_each_resample_of_images_agrees_with_scikit_learn(metric):
    job = make_scores()
    weights = draws(12, 50)
    # Sorted by name: p0, p1, p10, p11, p2, ...
    owner = np.searchsorted(np.unique(job.patients), job.patients)
    expected = [
        EXPECTED[metric.partition("_")[2]](job.labels, job.scores, sample_weight=weight[owner]) for weight in weights
    ]
    np.testing.assert_allclose(bootstrap([job], metric, resamples=50), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", ["pixel_AUROC", "pixel_AP", "pixel_best_dice"])
def test_each_resample_of_pixels_agrees_with_scikit_learn(metric):
    job = make_counts()
    weights = draws(6, 50)
    owner = np.searchsorted(np.unique(job.patients), job.patients)
    bins = np.tile(np.arange(5), 2)
    labels = np.repeat([True, False], 5)
    expected = [
        EXPECTED[metric.partition("_")[2]](
            labels,
            bins,
            sample_weight=np.concatenate([weight[owner] @ job.positives, weight[owner] @ job.negatives]),
        )
        for weight in weights
    ]
    np.testing.assert_allclose(bootstrap([job], metric, resamples=50), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", ["image_AUROC", "image_AP"])
def test_one_patient_always_drawn_once_is_the_metric_itself(metric):
    job = make_scores(patients=1, slices=60)
    expected = EXPECTED[metric.partition("_")[2]](job.labels, job.scores)
    np.testing.assert_allclose(bootstrap([job], metric, resamples=3), expected, rtol=1e-12)


def test_drawn_patients_are_uniform_and_seeded():
    weights = draws(10, 4000)
    assert (weights.sum(1) == 10).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(0), 0.9, atol=0.1)
    assert (draws(10, 4000, seed=1) != weights).any()


def test_chunks_change_nothing(monkeypatch):
    jobs = [make_scores(), make_scores(seed=1)]
    whole = bootstrap(jobs, "image_AUROC", resamples=30)
    monkeypatch.setattr(statistics, "CHUNK", 7 * 96)
    np.testing.assert_array_equal(bootstrap(jobs, "image_AUROC", resamples=30), whole)


def test_models_are_paired():
    model = make_scores(effect=2.0)
    order = np.random.default_rng(0).permutation(model.scores.size)
    same = Scores(patients=model.patients[order], labels=model.labels[order], scores=3 * model.scores[order] + 1)
    reference, rival = bootstrap([model], "image_AP"), bootstrap([same], "image_AP")
    np.testing.assert_array_equal(reference, rival)
    # A slightly but always better model: the pairs see what the two spreads do not.
    better = Scores(patients=model.patients, labels=model.labels, scores=model.scores + 0.4 * model.labels)
    other = bootstrap([better], "image_AUROC")
    reference = bootstrap([model], "image_AUROC")
    assert (other > reference).mean() > 0.99
    assert np.std(other - reference) < 0.5 * np.std(reference)


def test_mean_over_folds_by_hand(monkeypatch):
    # Fold 1 tests a and b, fold 2 tests c; two seeds each, and nothing but their AUROC differs.
    def job(patients, good):
        scores = np.tile([0.0, 1.0 if good else 0.0], len(patients))
        labels = np.tile([False, True], len(patients))
        return Scores(patients=np.repeat(patients, 2), labels=labels, scores=scores)

    jobs = [job(["a", "b"], True), job(["a", "b"], False), job(["c"], True), job(["c"], True)]
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 0, 3], [0, 1, 2]], dtype=float)
    monkeypatch.setattr(statistics, "_draws", lambda *_, **__: [weights])
    # Fold 1: 1 and 0.5, fold 2: 1 and 1.
    expected = [(2 * 1.5 + 1 * 2) / 6, 0.75, 1.0, (1 * 1.5 + 2 * 2) / 6]
    np.testing.assert_allclose(bootstrap(jobs, "image_AUROC", resamples=4), expected)


def test_leave_one_patient_out():
    folds = [make_scores(seed=i, patients=1, slices=20, prefix=f"p{i}-") for i in range(5)]
    assert all(0 < fold.labels.sum() < 20 for fold in folds)
    areas = np.array([roc_auc_score(fold.labels, fold.scores) for fold in folds])
    np.testing.assert_allclose(bootstrap(folds, "image_AUROC", resamples=40), draws(5, 40) @ areas / 5)


def test_undefined_jobs_are_left_out():
    defined = make_scores(patients=1, slices=30, prefix="a")
    normal = Scores(patients=np.array(["b"] * 4), labels=np.zeros(4, dtype=bool), scores=np.arange(4.0))
    values = bootstrap([defined, normal], "image_AP", resamples=100)
    without = draws(2, 100)[:, 0] == 0
    assert without.any()
    np.testing.assert_array_equal(np.isnan(values), without)
    np.testing.assert_allclose(values[~without], average_precision_score(defined.labels, defined.scores))
    assert np.isnan(bootstrap([normal], "image_AUROC", resamples=5)).all()
    assert np.isnan(bootstrap([], "image_AUROC", resamples=5)).all()


def test_wrong_metrics_are_refused():
    for jobs, metric in (([make_scores()], "pixel_AP"), ([make_counts()], "image_AP"), ([make_scores()], "AUROC")):
        with pytest.raises(ConfigurationError, match=metric):
            bootstrap(jobs, metric)
    bad = Scores(patients=np.array(["a"]), labels=np.array([True]), scores=np.array([np.nan]))
    with pytest.raises(DataError, match="1 of 1"):
        bootstrap([bad], "image_AP")


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01 (0.03), 2 x 0.03 (0.06), 1 x 0.04 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.6, float("nan"), 0.7, 0.01])
    assert np.isnan(corrected[1])
    assert [corrected[0], corrected[2], corrected[3]] == pytest.approx([1.0, 1.0, 0.03])
    assert holm([]) == []


def test_holm_rejects_what_the_step_down_rejects():
    p_values = np.random.default_rng(0).beta(0.3, 2, size=12)
    corrected = np.array(holm(p_values))
    for level in np.linspace(0.005, 0.995, 100):
        order = np.argsort(p_values)
        passed = p_values[order] <= level / np.arange(12, 0, -1)
        rejected = np.zeros(12, dtype=bool)
        rejected[order[: np.argmin(passed) if not passed.all() else 12]] = True
        np.testing.assert_array_equal(corrected <= level, rejected)
    # Bonferroni's is never smaller, the uncorrected never larger.
    assert (corrected <= np.minimum(1, 12 * p_values)).all()
    assert (corrected >= p_values).all()
    assert (corrected >= stats.false_discovery_control(p_values) - 1e-15).all()
