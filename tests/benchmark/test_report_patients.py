"""Patients in the report: intervals where both kinds are there, and nothing where one is missing."""

import csv
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.measure.detection import patient_metrics
from tests.fakes.benchmark import jobs_of, write_run

TOP = "patient_AUROC_top3"


def aggregate_of(folder):
    table = pd.read_csv(folder / "aggregate.csv")
    return table[table["stratum"].isna()].set_index(["model", "metric"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(
        tmp_path_factory.mktemp("patients") / "run", patients=40, healthy=15, slices=4, examples=False, failed=()
    )
    write_report([folder], folder)
    return folder


def test_means_are_those_of_the_jobs_and_intervals_are_over_patients_and_seeds(run):
    """The bootstrap, spelled out: patients are drawn with all that they are."""
    jobs = jobs_of(run, "Padim")
    names = np.unique(jobs[0][1].patient)
    draws = np.random.default_rng(7).choice(names, size=(1000, names.size))
    resampled = []
    for _, scores in jobs:
        top = {name: np.sort(scores.score[scores.patient == name])[-3:].mean() for name in names}
        sick = {name: bool(scores.label[scores.patient == name].any()) for name in names}
        values = []
        for drawn in draws:
            found, labels = np.array([top[name] for name in drawn]), np.array([sick[name] for name in drawn])
            values.append((found[labels][:, None] > found[~labels]).mean())
        resampled.append(values)
    own = np.array([one.metrics[TOP] for one, _ in jobs])
    assert own == pytest.approx([patient_metrics(one.score, one.label, one.patient)[TOP] for _, one in jobs])
    row = aggregate_of(run).loc["Padim", TOP]
    assert row["mean"] == pytest.approx(own.mean(), abs=1e-6)
    assert row["interval_over"] == "patients and seeds"
    covariance = np.cov(np.array(resampled))
    shared = max(0, covariance[~np.eye(3, dtype=bool)].mean()) * 40 / 39
    parts = np.array([shared, own.var(ddof=1) / 3])
    half = stats.t.ppf(0.975, parts.sum() ** 2 / (parts**2 / [39, 2]).sum()) * parts.sum() ** 0.5
    assert row["low"] == pytest.approx(own.mean() - half, abs=0.02)
    assert row["high"] == pytest.approx(min(own.mean() + half, 1), abs=0.02)
    assert 0 < row["p"] <= 1


def test_summary_says_what_the_score_of_a_patient_is(run):
    text = (run / "summary.md").read_text()
    assert "patient AUROC, top 3" in text
    assert "chosen on healthy validation patients" in text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("healthy", "known"), [(4, (False, False)), (9, (True, False)), (10, (True, True))])
def test_intervals_and_tests_need_enough_of_both_kinds(tmp_path, healthy, known):
    run = write_run(tmp_path / "run", patients=30, healthy=healthy, slices=4, examples=False, failed=())
    write_report([run], run)
    row = aggregate_of(run).loc["Padim", TOP]
    assert not math.isnan(row["mean"])
    assert tuple(not math.isnan(row[name]) for name in ("low", "p")) == known
    # That of images is of all patients.
    assert not math.isnan(aggregate_of(run).loc["Padim", "image_AUROC"]["p"])


@pytest.mark.usefixtures("no_figures")
def test_without_healthy_patients_there_is_no_column(tmp_path):
    run = write_run(tmp_path / "run", patients=8, slices=4, examples=False, failed=())
    write_report([run], run)
    assert "patient" not in "".join(line for line in (run / "summary.md").read_text().splitlines() if "AUROC, " in line)
    with (run / "results.csv").open(newline="") as file:
        assert not [row for row in csv.DictReader(file) if row["metric"].startswith("patient")]
