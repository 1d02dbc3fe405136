"""Runs that never ran, and the report of them, which several modules look at."""

import pandas as pd
import pytest

from anomalib_patchgan.benchmark.report import write, write_report
from anomalib_patchgan.benchmark.results import read_job, write_job
from tests.fakes.benchmark import write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run with several seeds, and a failed model."""
    return write_run(tmp_path_factory.mktemp("runs") / "discs")


@pytest.fixture(scope="session")
def folds(tmp_path_factory):
    """A run with two folds; Padim has failed in the second."""
    run = write_run(tmp_path_factory.mktemp("runs") / "folds", data=["folds"], folds=("a", "b"), seeds=(0, 1))
    for path in (run / "jobs").glob("model-1--folds--b--*.json"):
        result = read_job(path)
        path.with_suffix(".npz").unlink()
        write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
    return run


@pytest.fixture(scope="session")
def report(run, folds, tmp_path_factory):
    """The report of both."""
    out = tmp_path_factory.mktemp("report")
    write_report([run, folds], out)
    return out


@pytest.fixture(scope="session")
def aggregate(report):
    """`aggregate.csv`, by data, model, stratum and metric."""
    return (
        pd.read_csv(report / "aggregate.csv").fillna({"stratum": ""}).set_index(["data", "model", "stratum", "metric"])
    )


@pytest.fixture
def no_figures(monkeypatch):
    """Write reports as where nothing can draw, which takes a fraction of the time and has the same numbers."""
    monkeypatch.setattr(write, "lacks_figures", lambda: "There are no figures.")
