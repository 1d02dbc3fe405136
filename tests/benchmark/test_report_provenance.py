"""The report warns of jobs that different code or packages made."""

import html
import json

import pytest

from anomalib_patchgan.benchmark.report import write_report
from anomalib_patchgan.benchmark.report.facts import provenance_notes
from anomalib_patchgan.benchmark.report.load import merge_runs
from anomalib_patchgan.benchmark.results import read_job, write_job
from tests.fakes.benchmark import write_run

CODE = {"model": "anomalib_patchgan 0123456789abcdef", "data": "anomalib_patchgan fedcba9876543210"}
OTHER = "anomalib_patchgan aaaaaaaaaaaaaaaa"


@pytest.fixture
def run(tmp_path):
    """A run whose jobs all have a record of the same code."""
    run = write_run(tmp_path / "run", models={"PatchGan": 2.0, "Padim": 1.0}, failed=("Fre",), seeds=(0, 1), patients=3)
    change(run, "*", code=CODE)
    return run


def change(run, jobs, **fields):
    """Change fields of the results of some jobs."""
    paths = list((run / "jobs").glob(f"{jobs}.json"))
    assert paths
    for path in paths:
        result = read_job(path)
        write_job(run, type(result)(**{**vars(result), **fields}), None)


def notes_of(run):
    (comparison,) = merge_runs([run]).comparisons
    return provenance_notes(comparison)


def test_nothing_to_say_of_one_version(run):
    # A failed job has no numbers, whatever its code was.
    change(run, "model-2--*", code={}, environment={})
    assert notes_of(run) == []


def test_different_code_of_one_model_is_named(run):
    change(run, "model-1--*--seed-1", code={**CODE, "model": OTHER})
    assert notes_of(run) == [
        f"Caution: jobs of Padim ran with different code of the model: {CODE['model']} (seed 0), {OTHER} (seed 1)."
    ]
    # Two models need not be of one package.
    change(run, "model-1--*", code={**CODE, "model": "anomalib 2.7.0"})
    assert notes_of(run) == []


def test_different_code_of_the_data_is_named(run):
    change(run, "model-1--*", code={**CODE, "data": "anomalib 2.7.0"})
    assert notes_of(run) == [
        "Caution: jobs ran with different code of the data module: anomalib 2.7.0 (Padim), commit 4a1b2c3 (PatchGan)."
    ]


def test_code_is_named_by_its_commit_where_that_tells_it_apart(run):
    change(run, "model-1--*--seed-0", environment={"commit": "a" * 40})
    change(run, "model-1--*--seed-1", environment={"commit": "b" * 40 + "-dirty"}, code={**CODE, "model": OTHER})
    note = "Caution: jobs of Padim ran with different code of the model: "
    assert f"{note}commit aaaaaaa (seed 0), commit bbbbbbb-dirty (seed 1)." in notes_of(run)
    # Of files that differ from the commit, and of commits that do not change the model.
    change(run, "model-1--*--seed-0", environment={"commit": "b" * 40 + "-dirty"})
    assert f"{note}{CODE['model']} (seed 0), {OTHER} (seed 1)." in notes_of(run)


def test_older_code_that_counts_is_named_with_its_commit(run):
    change(run, "model-0--*", environment={"commit": "a" * 40})
    description = json.loads((run / "run.json").read_text(encoding="utf-8"))
    description["older_code"] = [name for name in description["jobs"] if not name.startswith("model-2")]
    (run / "run.json").write_text(json.dumps(description), encoding="utf-8")
    assert notes_of(run)[0] == (
        "Caution: 4 of 4 jobs are of older code of the model, accepted with --accept_older_code: "
        "commit 4a1b2c3 (Padim), commit aaaaaaa (PatchGan)."
    )


def test_different_packages_are_named(run):
    change(run, "model-0--*", environment={"versions": {"torch": "2.14.1", "anomalib": "2.7.0", "timm": "1.0.31"}})
    (note,) = notes_of(run)
    assert note == (
        "Caution: jobs ran with different versions of packages: "
        "torch 2.10.0 (Padim), 2.14.1 (PatchGan); timm 1.0.31 (PatchGan), none (Padim)."
    )


@pytest.mark.parametrize("code", [{}, {"model": "", "data": ""}, {"model": OTHER}])
def test_jobs_without_a_record_are_counted(run, code):
    change(run, "model-1--*--seed-1", code=code)
    notes = notes_of(run)
    assert notes[-1] == (
        "Caution: 1 of 4 jobs have no record of the code that made them (Padim): "
        "whether it was the same for all is not known."
    )
    # What is known is compared all the same.
    assert len(notes) == 1 + bool(code.get("model"))


def test_warnings_are_in_both_reports(run, tmp_path):
    change(run, "model-1--*--seed-1", code={**CODE, "model": "<b> 1"})
    write_report([run], tmp_path / "out", examples=False)
    (note,) = notes_of(run)
    assert html.escape(note) in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert note.replace("<b>", "\\<b\\>") in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
