"""What the report does not say: nothing sure about few patients, nothing best about missing folds."""

import json

import numpy as np
import pandas as pd
import pytest

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.benchmark.results import read_job, read_scores, write_job
from tests.fakes.benchmark import write_run

pytestmark = pytest.mark.usefixtures("no_figures")


def aggregate(run, out):
    """`aggregate.csv` of a run."""
    write_report([run], out, examples=False)
    return pd.read_csv(out / "aggregate.csv").fillna({"stratum": ""})


@pytest.mark.parametrize(
    ("patients", "with_interval", "with_test"), [(4, False, False), (6, True, False), (10, True, True)]
)
def test_few_patients_get_no_test(tmp_path, patients, with_interval, with_test):
    run = write_run(tmp_path / "run", patients=patients, seeds=(0, 1), failed=())
    table = aggregate(run, tmp_path / "out").query("metric == 'image_AUROC' and stratum == '' and model == 'Padim'")
    (row,) = table.to_dict("records")
    assert np.isfinite(row["low"]) == with_interval
    assert np.isfinite(row["difference_low"]) == with_interval
    assert np.isfinite(row["p"]) == with_test
    assert np.isfinite(row["difference"])


@pytest.mark.parametrize(("one_seed", "with_test"), [("PatchGan", ()), ("Padim", ("Autoencoder",))])
def test_one_seed_gets_no_test(tmp_path, one_seed, with_test):
    run = write_run(tmp_path / "run", models={"PatchGan": 4.0, "Padim": 0.5, "Autoencoder": 0.0}, failed=())
    for path in (run / "jobs").glob("*.json"):
        result = read_job(path)
        if result.model == one_seed and result.seed:
            write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
    table = aggregate(run, tmp_path / "out").query("metric == 'image_AUROC' and stratum == ''").set_index("model")
    rivals = table.drop("PatchGan")
    assert np.isfinite(rivals["difference_low"]).all()
    assert tuple(rivals.index[np.isfinite(rivals["p"])]) == with_test
    assert tuple(rivals.index[np.isfinite(rivals["p_holm"])]) == with_test
    assert tuple(rivals.index[rivals["difference_over"] == "patients and seeds"]) == with_test
    assert table["interval_over"][one_seed] == "patients only"
    text = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8").split("### Differences")[1]
    lines = {line.split("|")[1].strip(): line for line in text.split("### ")[0].splitlines() if line.startswith("| ")}
    for model in rivals.index:
        # Far apart as they are, one training each says nothing of the methods.
        assert ("**" in lines[model]) == ("p = " in lines[model]) == (model in with_test)
        assert ("] patients only" in lines[model]) == (model not in with_test)


def test_equal_seeds_are_no_special_case(tmp_path):
    run = write_run(tmp_path / "run", models={"PatchGan": 3.0, "Padim": 0.5}, failed=())
    alone = aggregate(run, tmp_path / "before")
    (first,) = (run / "jobs").glob("model-1--*--seed-0.json")
    for seed in (1, 2):
        result = read_job(first)
        same = {"seed": seed, "id": result.id.replace("seed-0", f"seed-{seed}")}
        write_job(run, type(result)(**{**vars(result), **same}), read_scores(first.with_suffix(".npz")))
    table = aggregate(run, tmp_path / "out")
    one = "metric == 'image_AUROC' and stratum == '' and model == 'Padim'"
    (row,), (before,) = (found.query(one).to_dict("records") for found in (table, alone))
    assert row["sd"] == 0
    assert row["interval_over"] == row["difference_over"] == "patients and seeds"
    assert 0.05 < row["high"] - row["low"] != before["high"] - before["low"]
    assert 0 < row["p"] < 0.05


def test_a_seed_that_misses_a_fold_counts_for_the_mean_alone(tmp_path):
    # Fold b is easier by far, so that a mean over fold a alone is no sign of what training leaves to chance.
    run = write_run(tmp_path / "run", folds=("a", "b"), models={"PatchGan": 1.0, "Padim": 1.0}, failed=())
    for path in (run / "jobs").glob("model-*--b--*.json"):
        result, scores = read_job(path), read_scores(path.with_suffix(".npz"))
        if result.seed == 2:
            write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
            continue
        score = scores.score + 9 * scores.label
        metrics = {"image_AUROC": 1.0}
        write_job(
            run, type(result)(**{**vars(result), "metrics": metrics}), type(scores)(**{**vars(scores), "score": score})
        )
    table = aggregate(run, tmp_path / "out").query("metric == 'image_AUROC' and stratum == ''").set_index("model")
    for model in ("PatchGan", "Padim"):
        values = {
            (one.seed, one.fold): one.metrics.get("image_AUROC")
            for one in map(read_job, (run / "jobs").glob("*.json"))
            if one.model == model
        }
        means = [(values[seed, "a"] + values[seed, "b"]) / 2 for seed in (0, 1)]
        assert table["seeds"][model] == 3
        assert table["mean"][model] == pytest.approx(np.mean([*means, values[2, "a"]]), abs=1e-6)
        assert table["sd"][model] == pytest.approx(np.std(means, ddof=1), abs=1e-6)
        assert table["interval_over"][model] == "patients and seeds"
    assert 0 < table["p"]["Padim"] <= 1


def test_seeds_tested_on_different_patients_are_not_told_apart(tmp_path):
    run = write_run(tmp_path / "run", models={"PatchGan": 2.0, "Padim": 1.0}, failed=(), seeds=(0, 1))
    for path in (run / "jobs").glob("*--seed-1.json"):
        scores = read_scores(path.with_suffix(".npz"))
        other = {"patient": np.char.add("x", scores.patient)}
        write_job(run, read_job(path), type(scores)(**{**vars(scores), **other}))
    table = aggregate(run, tmp_path / "out").query("metric == 'image_AUROC' and stratum == ''")
    assert set(table["interval_over"]) == {"patients only"}
    assert table["p"].isna().all()
    assert np.isfinite(table.query("model == 'Padim'")["difference_low"]).all()


def test_means_lie_inside_their_intervals(tmp_path):
    run = write_run(tmp_path / "run", patients=12, failed=())
    table = aggregate(run, tmp_path / "out").dropna(subset=["low"])
    assert len(table) > 20
    assert ((table.low <= table["mean"]) & (table["mean"] <= table.high)).all()
    both = table.dropna(subset=["difference_low"])
    assert ((both.difference_low <= both.difference) & (both.difference <= both.difference_high)).all()


def test_a_model_that_misses_a_fold_is_never_the_best(tmp_path):
    models = {"PatchGan": 0.5, "Padim": 6.0}
    run = write_run(tmp_path / "run", folds=("a", "b"), seeds=(0, 1), failed=(), models=models)
    write_report([run], tmp_path / "whole", examples=False)
    for path in (run / "jobs").glob("model-1--*--b--*.json"):
        result = read_job(path)
        write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
    write_report([run], tmp_path / "missing", examples=False)

    def rows(out):
        lines = (tmp_path / out / "summary.md").read_text(encoding="utf-8").split("### ")[1].splitlines()
        return {line.split("|")[1].strip(): line for line in lines if line.startswith("| P")}

    whole, missing = rows("whole"), rows("missing")
    assert "**" in whole["Padim"]
    assert "**" not in missing["Padim"]
    assert "2, 1 folds only" in missing["Padim"]
    assert "**" in missing["PatchGan"]


def test_a_row_of_one_seed_has_no_bold_cell(tmp_path):
    """Its mean may be the luck of one training."""
    run = write_run(tmp_path / "run", models={"PatchGan": 1.0, "Padim": 3.0}, failed=(), seeds=(0, 1))
    for path in (run / "jobs").glob("*seed-1*"):
        if "model-1" in path.name:
            path.unlink()
    description = json.loads((run / "run.json").read_text(encoding="utf-8"))
    description["jobs"] = [name for name in description["jobs"] if (run / "jobs" / f"{name}.json").is_file()]
    (run / "run.json").write_text(json.dumps(description), encoding="utf-8")
    write_report([run], tmp_path / "out", examples=False)
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    rows = [line for line in summary.splitlines() if line.startswith("| Padim")]
    assert rows
    assert not any("**" in line for line in rows)
