"""Variances of patients and seeds: as classical tests give them where they apply; intervals cover the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from anomalib_patchgan.measure.statistics import Scores, bootstrap
from anomalib_patchgan.measure.uncertainty import Trainings, Uncertainty, uncertainty
from tests.measure.test_statistics import make_scores

RESAMPLES = 400


def one_seed(resampled, patients=20):
    return Trainings(values=np.array([resampled.mean()]), resampled=resampled[None], patients=patients)


def without_patients(values, patients=20):
    """Seeds whose metrics do not depend on the patients."""
    values = np.asarray(values)
    return Trainings(values=values, resampled=np.repeat(values[:, None], RESAMPLES, axis=1), patients=patients)


def of_patients(table, generator):
    """Seeds with a number for each patient, `(n, P)`, whose metric is the mean over patients."""
    patients = table.shape[1]
    weights = generator.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES) / patients
    return Trainings(values=table.mean(1), resampled=table @ weights.T, patients=patients)


def test_seeds_alone_are_welchs_test():
    model, reference = [0.91, 0.88, 0.86], [0.80, 0.84]
    known = uncertainty(without_patients(model), without_patients(reference))
    welch = stats.ttest_ind(model, reference, equal_var=False)
    difference = np.mean(model) - np.mean(reference)
    assert known.p_value(difference) == pytest.approx(welch.pvalue, rel=1e-6)
    assert known.interval(difference) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    alone = uncertainty(without_patients(model))
    assert alone.interval(np.mean(model), 0.9) == pytest.approx(
        stats.t.interval(0.9, 2, np.mean(model), stats.sem(model))
    )


def test_patients_alone_are_the_t_test_of_their_mean():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(1, 15))
    many = [uncertainty(of_patients(table, generator)) for _ in range(40)]
    assert [one.degrees for one in many] == pytest.approx([14] * 40)
    assert np.mean([one.variance for one in many]) == pytest.approx(table.var(ddof=1) / 15, rel=0.03)
    assert not many[0].with_seeds
    # Equal seeds add nothing to it.
    equal = uncertainty(of_patients(np.repeat(table, 3, axis=0), np.random.default_rng(1)))
    single = uncertainty(of_patients(table, np.random.default_rng(1)))
    assert equal.with_seeds
    assert (equal.variance, equal.degrees) == pytest.approx((single.variance, 14))


def test_what_patients_do_to_single_seeds_counts_once():
    # Rows of one patients' effect and of own effects, all uncorrelated: covariances by hand.
    common, first, second = stats.ortho_group.rvs(RESAMPLES, random_state=0)[:3]
    common, first, second = ((row - row.mean()) / row.std(ddof=1) for row in (common, first, second))
    resampled = np.stack([0.03 * common + 0.02 * first, 0.03 * common + 0.02 * second])
    known = uncertainty(Trainings(values=np.array([0.8, 0.9]), resampled=resampled, patients=11))
    patients, seeds = 0.03**2 * 1.1, 0.1**2 / 2 / 2
    assert known.variance == pytest.approx(patients + seeds, rel=0.05)
    assert known.degrees == pytest.approx((patients + seeds) ** 2 / (patients**2 / 10 + seeds**2), rel=0.05)


def test_patients_are_paired():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(3, 12)) * 0.01 + generator.normal(size=12)
    model, reference = (of_patients(table + shift, np.random.default_rng(1)) for shift in (0.0, 0.3))
    paired = uncertainty(model, reference)
    other = uncertainty(model, of_patients(table, np.random.default_rng(2)))
    assert paired.variance < 0.01 * other.variance
    assert paired.p_value(0.3) < 0.01 < other.p_value(0.3)


@pytest.mark.parametrize("seed_sd", [0.0, 0.1, 1.0])
def test_intervals_cover_the_truth_over_patients_and_seeds(seed_sd):
    generator = np.random.default_rng(1)
    trials, covered, patients_only = 400, 0, 0
    for _ in range(trials):
        table = generator.normal(0, 1, 12) + generator.normal(0, 0.5, (3, 12)) + generator.normal(0, seed_sd, (3, 1))
        trainings = of_patients(table, generator)
        low, high = uncertainty(trainings).interval(table.mean())
        covered += low <= 0 <= high
        low, high = uncertainty(one_seed(trainings.resampled.mean(0), 12)).interval(table.mean())
        patients_only += low <= 0 <= high
    # 380 of 400 with a standard deviation of 4.4; few degrees of freedom make it somewhat too careful.
    assert 0.95 * trials - 13 <= covered
    assert covered < trials
    assert (patients_only < covered - 50) == (seed_sd == 1)


def test_intervals_of_patients_cover_the_truth_and_those_of_images_do_not():
    population = make_scores(seed=99, patients=4000, levels=10**6)
    truth = roc_auc_score(population.labels, population.scores)
    covered, narrow = 0, 0
    for seed in range(120):
        job = make_scores(seed=seed, patients=100, levels=10**6)
        area = roc_auc_score(job.labels, job.scores)
        names = np.arange(job.labels.size).astype(str)
        alone = Scores(patients=names, labels=job.labels, scores=job.scores)
        for one, number in ((job, 100), (alone, names.size)):
            low, high = uncertainty(one_seed(bootstrap([one], "image_AUROC", 200), number)).interval(area)
            covered += (low <= truth <= high) and one is job
            narrow += (low <= truth <= high) and one is alone
    # 95 % of 120 is 114 with a standard deviation of 2.4.
    assert 107 <= covered < 120
    assert narrow < covered - 5


def test_one_seed_has_no_p_value():
    rows = np.random.default_rng(0).normal(0.8, 0.01, (2, RESAMPLES))
    three = Trainings(values=np.array([0.5, 0.5, 0.5]), resampled=np.repeat(rows[:1], 3, axis=0), patients=20)
    for model, reference in ((one_seed(rows[0]), three), (three, one_seed(rows[1])), (one_seed(rows[0]), None)):
        known = uncertainty(model, reference)
        assert not known.with_seeds
        assert np.isnan(known.p_value(0.5))
        assert np.isfinite(known.interval(0.5)).all()


def test_ends_of_the_p_value():
    same = without_patients([0.7, 0.8, 0.9])
    assert uncertainty(same, same).p_value(0.0) == 1.0
    # Sums in another order.
    certain = uncertainty(without_patients([0.9, 0.9]), without_patients([0.8, 0.8]))
    assert certain.p_value(1e-16) == pytest.approx(1.0, abs=1e-6)
    assert certain.p_value(0.1) == pytest.approx(2 / (RESAMPLES + 1))
    assert Uncertainty(variance=1e-4, degrees=4, resamples=9, with_seeds=True).p_value(9.0) == pytest.approx(0.2)


def test_undefined_resamples_are_left_out():
    rows = np.random.default_rng(0).normal(0.8, 0.01, (2, RESAMPLES))
    model = Trainings(values=np.array([0.8, 0.81]), resampled=rows, patients=20)
    gaps = rows.copy()
    gaps[0, :7], gaps[1, 5:9] = np.nan, np.nan
    with_gaps = Trainings(values=model.values, resampled=gaps, patients=20)
    without = Trainings(values=model.values, resampled=rows[:, 9:], patients=20)
    assert uncertainty(with_gaps) == uncertainty(without)
    nothing = uncertainty(Trainings(values=model.values, resampled=rows * np.nan, patients=20))
    assert np.isnan([nothing.variance, nothing.p_value(0.1), *nothing.interval(0.5)]).all()
