"""What the report does not say: nothing sure about few patients, nothing best about missing folds."""

import numpy as np
import pandas as pd
import pytest

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.benchmark.results import read_result, write_job
from anomalib_patchgan.measure.statistics import Scores, bootstrap, without_resampling
from tests.fakes.benchmark import write_run


def aggregate(run, out):
    """`aggregate.csv` of a run."""
    write_report([run], out, examples=False)
    return pd.read_csv(out / "aggregate.csv").fillna({"stratum": ""})


@pytest.mark.parametrize(
    ("patients", "with_interval", "with_test"), [(4, False, False), (6, True, False), (10, True, True)]
)
def test_few_patients_get_no_test(tmp_path, patients, with_interval, with_test):
    run = write_run(tmp_path / "run", patients=patients, seeds=(0,), failed=())
    table = aggregate(run, tmp_path / "out").query("metric == 'image_AUROC' and stratum == '' and model == 'Padim'")
    (row,) = table.to_dict("records")
    assert np.isfinite(row["low"]) == with_interval
    assert np.isfinite(row["difference_low"]) == with_interval
    assert np.isfinite(row["p"]) == with_test
    assert np.isfinite(row["difference"])


def test_means_lie_inside_their_intervals(tmp_path):
    run = write_run(tmp_path / "run", patients=12, failed=())
    table = aggregate(run, tmp_path / "out").dropna(subset=["low"])
    assert len(table) > 20
    assert ((table.low <= table["mean"]) & (table["mean"] <= table.high)).all()
    both = table.dropna(subset=["difference_low"])
    assert ((both.difference_low <= both.difference) & (both.difference <= both.difference_high)).all()


def test_a_model_that_misses_a_fold_is_never_the_best(tmp_path):
    run = write_run(tmp_path / "run", folds=("a", "b"), seeds=(0,), failed=(), models={"PatchGan": 0.5, "Padim": 6.0})
    write_report([run], tmp_path / "whole", examples=False)
    path = next((run / "jobs").glob("model-1--*--b--*.json"))
    result = read_result(path)
    write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
    write_report([run], tmp_path / "missing", examples=False)

    def rows(out):
        lines = (tmp_path / out / "summary.md").read_text(encoding="utf-8").split("### ")[1].splitlines()
        return {line.split("|")[1].strip(): line for line in lines if line.startswith("| P")}

    whole, missing = rows("whole"), rows("missing")
    assert "**" in whole["Padim"]
    assert "**" not in missing["Padim"]
    assert "1, 1 folds only" in missing["Padim"]
    assert "**" in missing["PatchGan"]


def test_without_resampling_is_the_metric_itself():
    job = Scores(
        fold="",
        patients=np.array(["a", "a", "b", "c"]),
        labels=np.array([False, True, False, True]),
        scores=np.array([0.1, 0.9, 0.6, 0.3]),
    )
    # Of 4 pairs of a lesion and a normal image 3 are in order.
    assert without_resampling([job], "image_AUROC") == 0.75
    assert np.isnan(without_resampling([], "image_AUROC"))
    assert np.isnan(bootstrap([], "image_AUROC", resamples=3)).all()
