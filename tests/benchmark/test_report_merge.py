"""Several run folders in one report, and run folders that are not as they should be."""

import json

import pandas as pd
import pytest

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.benchmark.report.load import merge_runs
from anomalib_patchgan.benchmark.results import read_job, write_job
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.fakes.benchmark import write_run

pytestmark = pytest.mark.usefixtures("no_figures")


def test_jobs_of_the_same_data_are_merged(tmp_path):
    first = write_run(tmp_path / "first", models={"PatchGan": 2.0}, failed=(), seeds=(0, 1))
    second = write_run(tmp_path / "second", models={"PatchGan": 2.0, "Padim": 1.0}, failed=(), seeds=(0, 1))
    write_report([first, second], tmp_path / "out", examples=False)
    table = pd.read_csv(tmp_path / "out" / "aggregate.csv")
    rows = table[(table["metric"] == "image_AUROC") & table["stratum"].isna()].set_index("model")
    assert rows["jobs"].to_dict() == {"PatchGan": 2, "Padim": 2}
    assert 0 < rows["p"]["Padim"] <= 1


def test_contradiction(tmp_path):
    first, second = (write_run(tmp_path / f"run{seed}", seeds=(0,), failed=(), seed=seed) for seed in (0, 1))
    with pytest.raises(ConfigurationError, match=r"run0 and .*run1 hold different results of the job model-0"):
        write_report([first, second], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_different_settings_of_one_name(tmp_path):
    first, second = (write_run(tmp_path / name, seeds=(0,), failed=()) for name in ("first", "second"))
    (second / "jobs" / "model-0--discs--seed-0.npz").rename(second / "jobs" / "other.npz")
    path = second / "jobs" / "model-0--discs--seed-0.json"
    write_job(second, type(read_job(path))(**{**vars(read_job(path)), "id": "other"}), None)
    path.unlink()
    description = json.loads((second / "run.json").read_text(encoding="utf-8"))
    (second / "run.json").write_text(json.dumps(description | {"jobs": ["other"]}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"PatchGan on discs, seed 0, with different settings"):
        write_report([first, second], tmp_path / "out")


def test_job_that_names_another_file_is_refused(tmp_path):
    """Its raw images would be read from there, and stand in the report."""
    run = write_run(tmp_path / "run", seeds=(0,), failed=())
    path = next((run / "jobs").glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id": "../../elsewhere/job"}))
    with pytest.raises(DataError, match=r"is the job '\.\./\.\./elsewhere/job', not that of its name"):
        read_job(path)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_job_that_failed_elsewhere_has_finished(tmp_path, order):
    runs = [
        write_run(tmp_path / "failed", models={"PatchGan": 2.0}, failed=("Padim",), seeds=(0,)),
        write_run(tmp_path / "finished", models={"PatchGan": 2.0, "Padim": 1.0}, failed=(), seeds=(0,)),
    ]
    merged = merge_runs([runs[index] for index in order])
    assert merged.comparisons[0].failed == []
    assert merged.comparisons[0].models == ["PatchGan", "Padim"]


def test_jobs_of_earlier_settings_and_missing_ones_are_named(tmp_path):
    run = write_run(tmp_path / "run", seeds=(0,), failed=())
    description = json.loads((run / "run.json").read_text(encoding="utf-8"))
    jobs = [job for job in description["jobs"] if "model-2" not in job]
    (run / "run.json").write_text(json.dumps(description | {"jobs": [*jobs, "late"]}), encoding="utf-8")
    merged = merge_runs([run])
    assert merged.comparisons[0].models == ["PatchGan", "Padim", "MeanIntensity"]
    assert merged.notes == (
        "1 jobs of earlier settings or code in run are left out.",
        "Not run yet, 1 of 4 jobs of run: late.",
    )


def test_missing_and_damaged_scores(tmp_path):
    run = write_run(tmp_path / "run", seeds=(0,), failed=())
    path = run / "jobs" / "model-1--discs--seed-0.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is damaged"):
        write_report([run], tmp_path / "out")
    path.unlink()
    with pytest.raises(DatasetNotFoundError, match="No raw scores"):
        write_report([run], tmp_path / "out")
    with pytest.raises(DatasetNotFoundError, match="No benchmark run"):
        write_report([tmp_path], tmp_path / "out")


def test_names_of_files_are_unique(tmp_path):
    run = write_run(tmp_path / "run", data=("A b", "a, b!", "?"), models={"PatchGan": 1.0}, failed=(), seeds=(0,))
    slugs = {one.data: one.slug for one in merge_runs([run]).comparisons}
    assert sorted(slugs.values()) == ["a-b", "a-b-2", "data"]


@pytest.mark.parametrize("in_spec", [True, False])
def test_maps_measured_at_different_sizes_are_not_compared(tmp_path, in_spec):
    run = write_run(tmp_path / "run", models={"PatchGan": 2.0, "Padim": 1.0}, failed=(), seeds=(0,))
    for path in (run / "jobs").glob("model-1*.json"):
        result = read_job(path)
        change = (
            {"spec": {**result.spec, "evaluation_size": [32, 32]}}
            if in_spec
            else {"cost": {**result.cost, "image_height": 32, "image_width": 32}}
        )
        write_job(run, type(result)(**{**vars(result), **change}), None)
    with pytest.raises(ConfigurationError, match=r"different sizes \(\[64, 48\] and \[32, 32\]\).*evaluation_size"):
        merge_runs([run])
