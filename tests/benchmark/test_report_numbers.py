"""The numbers of a report: those that scikit-learn gives too, and intervals and tests spelled out."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.benchmark.report.analyse import Aggregate, correct
from anomalib_patchgan.benchmark.results import read_job, read_scores, write_job
from tests.fakes.benchmark import jobs_of, write_run


@pytest.mark.parametrize("model", ["PatchGan", "Autoencoder", "MeanIntensity"])
@pytest.mark.parametrize(("metric", "compute"), [("image_AUROC", roc_auc_score), ("image_AP", average_precision_score)])
def test_means_and_sds_are_those_of_scikit_learn(run, folds, aggregate, model, metric, compute):
    values = [compute(scores.label, scores.score) for _, scores in jobs_of(run, model)]
    row = aggregate.loc["discs", model, "", metric]
    assert row["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert (row["jobs"], row["seeds"], row["folds"]) == (len(values), len(values), 1)
    if model == "MeanIntensity":
        assert math.isnan(row["sd"])
    else:
        assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
        by_seed = {0: [], 1: []}
        for result, scores in jobs_of(folds, model):
            by_seed[result.seed].append(compute(scores.label, scores.score))
        row = aggregate.loc["folds", model, "", metric]
        assert row["sd"] == pytest.approx(abs(np.mean(by_seed[0]) - np.mean(by_seed[1])) / 2**0.5, abs=1e-6)
        assert (row["jobs"], row["seeds"], row["folds"]) == (4, 2, 2)


def test_strata_are_their_lesions_against_all_normal_images(run, aggregate):
    values = []
    for _, scores in jobs_of(run, "Padim"):
        kept = ~scores.label | (scores.stratum == "small")
        values.append(roc_auc_score(scores.label[kept], scores.score[kept]))
    row = aggregate.loc["discs", "Padim", "small", "image_AUROC"]
    assert row["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert row["low"] < row["mean"] < row["high"]


def resample(jobs, compute, draws):
    """Bootstrap over patients, spelled out: images of a drawn patient are repeated as often as it was drawn."""
    values = []
    for drawn in draws:
        one = []
        for _, scores in jobs:
            index = np.concatenate([np.flatnonzero(scores.patient == patient) for patient in drawn])
            one.append(compute(scores.label[index], scores.score[index]))
        values.append(np.mean(one))
    return np.array(values)


def auroc(labels, scores):
    """The share of pairs that are in the right order."""
    pairs = scores[labels][:, None] - scores[~labels]
    return ((pairs > 0) + 0.5 * (pairs == 0)).mean()


def covariance_of_seeds(values):
    """Covariance of bootstrapped metrics between different seeds, `(n, B)`, over patients of whom none is repeated."""
    found = np.cov(values)
    off = found[~np.eye(len(found), dtype=bool)].mean()
    return off * 12 / 11


def test_intervals_and_p_values_hold_patients_and_seeds(run, aggregate):
    """Obuchowski and Rockette's variance, spelled out."""
    ours, theirs = jobs_of(run, "PatchGan"), jobs_of(run, "Padim")
    patients = np.unique(ours[0][1].patient)
    draws = np.random.default_rng(7).choice(patients, size=(1000, patients.size))
    reference, rival = (np.array([resample([job], auroc, draws) for job in jobs]) for jobs in (ours, theirs))
    metrics = [np.array([one.metrics["image_AUROC"] for one, _ in jobs]) for jobs in (ours, theirs)]
    row = aggregate.loc["discs", "Padim", "", "image_AUROC"]
    assert row["interval_over"] == row["difference_over"] == "patients and seeds"

    own = np.array([max(0, covariance_of_seeds(rival)), metrics[1].var(ddof=1) / 3])
    half = stats.t.ppf(0.975, own.sum() ** 2 / (own**2 / [11, 2]).sum()) * own.sum() ** 0.5
    # Another generator and fewer resamples: the bounds agree but for the noise of a bootstrap.
    assert [row["low"], row["high"]] == pytest.approx([row["mean"] - half, row["mean"] + half], abs=0.01)

    between = np.mean([np.cov(a, b)[0, 1] for a in reference for b in rival]) * 12 / 11
    shared = max(0, covariance_of_seeds(reference) + covariance_of_seeds(rival) - 2 * between)
    parts = np.array([shared, metrics[0].var(ddof=1) / 3, metrics[1].var(ddof=1) / 3])
    degrees = parts.sum() ** 2 / (parts**2 / [11, 2, 2]).sum()
    difference = metrics[1].mean() - metrics[0].mean()
    half = stats.t.ppf(0.975, degrees) * parts.sum() ** 0.5
    assert float(row["difference"]) == pytest.approx(difference, abs=2e-6)
    bounds = [float(row["difference_low"]), float(row["difference_high"])]
    assert bounds == pytest.approx([difference - half, difference + half], abs=0.02)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(difference) / parts.sum() ** 0.5, degrees), abs=0.05)


def test_an_interval_of_one_seed_is_over_patients_only(run, aggregate):
    jobs = jobs_of(run, "MeanIntensity")
    patients = np.unique(jobs[0][1].patient)
    draws = np.random.default_rng(7).choice(patients, size=(1000, patients.size))
    half = stats.t.ppf(0.975, 11) * (resample(jobs, auroc, draws).var() * 12 / 11) ** 0.5
    row = aggregate.loc["discs", "MeanIntensity", "", "image_AUROC"]
    assert row["interval_over"] == row["difference_over"] == "patients only"
    assert [row["low"], row["high"]] == pytest.approx([row["mean"] - half, row["mean"] + half], abs=0.015)
    assert math.isnan(row["p"])


def test_pixel_intervals_hold_the_means(aggregate):
    rows = aggregate[aggregate.index.get_level_values("metric").isin(["pixel_AUROC", "pixel_AP", "pixel_best_dice"])]
    assert len(rows) == 18
    # Counts in 256 bins lose a little; the patients of these data are alike in their pixels.
    assert (rows["low"] < rows["mean"] + 0.01).all()
    assert (rows["high"] > rows["mean"] - 0.01).all()
    assert (rows["high"] - rows["low"]).between(0.001, 0.2).all()


def test_holm_counts_the_rivals_of_one_column(aggregate):
    rows = aggregate.loc["discs"].xs(("", "image_AUROC"), level=("stratum", "metric"))
    assert list(rows.index) == ["PatchGan", "Padim", "Autoencoder", "MeanIntensity"]
    # One seed is not tested and does not count.
    p = rows["p"].drop(["PatchGan", "MeanIntensity"]).sort_values()
    assert math.isnan(rows["p_holm"]["MeanIntensity"])
    assert math.isnan(rows["p"]["PatchGan"])
    assert math.isnan(rows["p_holm"]["PatchGan"])
    by_hand = np.maximum.accumulate(np.minimum(1, p.to_numpy() * [2, 1]))
    assert rows["p_holm"].astype(float)[p.index].to_numpy() == pytest.approx(by_hand, abs=2e-6)


def test_holm_keeps_data_and_metrics_apart():
    common = {"model": "m", "stratum": "", "jobs": 1, "seeds": 1, "folds": 1, "mean": 0.5, "sd": math.nan}
    ones = [
        Aggregate(data=data, metric=metric, p=p, **common)
        for data, metric, p in [("a", "x", 0.01), ("a", "x", 0.04), ("a", "y", 0.04), ("b", "x", 0.04)]
    ]
    assert [one.p_holm for one in correct(ones)] == pytest.approx([0.02, 0.04, 0.04, 0.04])


def test_only_common_folds_are_compared(folds, aggregate):
    row = aggregate.loc["folds", "Padim", "", "image_AUROC"]
    assert row["folds"] == 1
    ours, theirs = (
        np.mean([roc_auc_score(scores.label, scores.score) for _, scores in jobs_of(folds, model, ("a",))])
        for model in ("PatchGan", "Padim")
    )
    assert float(row["difference"]) == pytest.approx(theirs - ours, abs=2e-6)
    assert 0 < row["p"] <= 1


@pytest.mark.usefixtures("no_figures")
def test_models_tested_on_other_images_are_not_compared(tmp_path):
    run = write_run(tmp_path / "run", failed=(), seeds=(0,))
    path = next((run / "jobs").glob("model-1--*.json"))
    scores = read_scores(path.with_suffix(".npz"))
    write_job(run, read_job(path), type(scores)(**{**vars(scores), "patient": np.char.add("x", scores.patient)}))
    write_report([run], tmp_path)
    table = pd.read_csv(tmp_path / "aggregate.csv")
    table = table[(table["metric"] == "image_AUROC") & table["stratum"].isna()].set_index("model")
    assert table[["difference", "p"]].isna().all(axis=1).to_dict() == {
        "PatchGan": True, "Padim": True, "Autoencoder": False, "MeanIntensity": False
    }  # fmt: skip
