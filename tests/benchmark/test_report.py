"""The files of a report: tables, figures, the page, and names that mean mischief."""

import argparse
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from anomalib_patchgan.benchmark.report import write, write_report
from anomalib_patchgan.benchmark.results import read_job, read_run, read_scores, write_job
from anomalib_patchgan.cli.report import add_arguments
from anomalib_patchgan.cli.report import run as run_report
from anomalib_patchgan.errors import ConfigurationError
from tests.fakes.benchmark import write_run

FIGURES = {
    f"{kind}-{data}.png" for kind in ("roc", "pr", "scores", "latency", "examples") for data in ("discs", "folds")
}


def tables_of(summary):
    """Rows of cells of each table of a Markdown text, by the heading above it; bold is `**` as in the source."""
    tables, heading = {}, ""
    for line in summary.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            tables.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return tables


def test_results_hold_every_number_of_every_job(report, run):
    table = pd.read_csv(report / "results.csv", dtype=str, keep_default_na=False)
    rows = table[(table["data"] == "discs") & (table["model"] == "Padim") & (table["seed"] == "1")]
    result = next(one for one in read_run(run)[1] if (one.model, one.seed) == ("Padim", 1))
    for kind in ("metric", "cost", "training"):
        found = rows[rows["kind"] == kind].set_index("metric")["value"]
        values = {"metric": result.metrics, "cost": result.cost, "training": result.training}[kind]
        assert set(found.index) == {name for name, value in values.items() if value is not None}
        for name, value in found.items():
            assert (
                value == values[name] if isinstance(values[name], str) else float(value) == pytest.approx(values[name])
            )
    strata = rows[rows["kind"] == "stratum"].set_index(["stratum", "metric"])["value"]
    assert float(strata["small", "image_AP"]) == pytest.approx(result.strata["small"]["image_AP"])
    failed = table[(table["data"] == "discs") & (table["status"] == "failed")]
    assert failed["error"].tolist() == ["RuntimeError: the generator has no gradient"] * 3
    assert (failed[["kind", "metric", "value"]] == "").all(axis=None)


def test_summary_has_the_numbers_and_the_best_in_bold(report, aggregate):
    rows = tables_of((report / "summary.md").read_text(encoding="utf-8"))
    table = rows["Metrics"][:6]
    assert [row[0] for row in table[2:]] == ["PatchGan", "Padim", "Autoencoder", "MeanIntensity"]
    column = table[0].index("image AUROC")
    for row in table[2:]:
        one = aggregate.loc["discs", row[0], "", "image_AUROC"]
        numbers = f"{one['mean']:.3f}", "" if math.isnan(one["sd"]) else f" ± {one['sd']:.3f}"
        bold = "**" if row[0] == "PatchGan" else ""
        assert row[column] == f"{bold}{numbers[0]}{bold}{numbers[1]} [{one['low']:.3f}, {one['high']:.3f}]"
    assert table[-1][table[0].index("pixel AUROC")] == "-"
    one = aggregate.loc["discs", "Padim", "", "image_AP"]
    difference = rows["Differences to PatchGan"][2][2]
    assert difference.replace("**", "") == (
        f"{float(one['difference']):+.3f} [{float(one['difference_low']):+.3f}, {float(one['difference_high']):+.3f}], "
        f"p = {float(one['p_holm']):.3f}"
    )
    assert ("**" in difference) == (float(one["p_holm"]) < 0.05)
    assert rows["Strata"][0] == ["model", *(f"image {m}, {s}" for m in ("AUROC", "AP") for s in ("large", "small"))]
    cost = dict(zip(rows["Cost"][0], rows["Cost"][3], strict=True))
    assert (cost["parameters"], cost["GFLOP"], cost["image size"]) == ("1,234,567", "2.5", "64x48")
    assert (cost["training s"], cost["OpenVINO p50 ms"], cost["backbone"]) == ("40", "-", "resnet18, random")


def test_summary_says_what_ran_and_what_failed(report):
    text = (report / "summary.md").read_text(encoding="utf-8")
    assert "- Command: `anomalib-patchgan benchmark --config discs.yaml`" in text
    assert "- Test split: 36 normal and 36 lesion images of 12 patients" in text
    assert "- Test splits together: 72 normal and 72 lesion images of 24 patients" in text
    assert "- Ganomaly, seed 2: RuntimeError: the generator has no gradient" in text
    assert "- Padim, b, seed 1: killed" in text
    assert "Test Processor" in text
    assert "Commit: 4a1b2c3d" in text
    assert "anomalib 2.7.0" in text
    assert "2026-11-20" in text


def test_figures(report):
    assert {path.name for path in (report / "figures").iterdir()} == FIGURES
    for path in (report / "figures").iterdir():
        assert path.stat().st_size <= 150_000
        with Image.open(path) as image:
            assert min(image.size) > 150
            assert len(image.convert("RGB").getcolors(image.width * image.height)) > 8


def test_no_examples(tmp_path):
    run = write_run(tmp_path / "discs", models={"PatchGan": 1.0}, seeds=(0,))
    write_report([run], tmp_path)
    assert (tmp_path / "figures" / "examples-discs.png").is_file()
    paths = write_report([run], tmp_path, examples=False)
    assert not (tmp_path / "figures" / "examples-discs.png").exists()
    assert all(path.is_file() for path in paths)
    assert "heat map" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_twice_the_same_bytes_and_no_temporary_file(report, run, folds, tmp_path):
    paths = write_report([run, folds], tmp_path)
    assert {path.relative_to(tmp_path) for path in paths} == {
        path.relative_to(report) for path in report.rglob("*") if path.is_file()
    }
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    for path in paths:
        assert path.read_bytes() == (report / path.relative_to(tmp_path)).read_bytes(), path.name


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", models={"PatchGan": 1.0, "Padim": 1.0}, seeds=(0,))
    write_report([run], tmp_path, examples=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        write_report([run], tmp_path, reference="Padim", examples=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_reference(tmp_path):
    run = write_run(tmp_path / "run", models={"Autoencoder": 0.5, "PatchGan": 1.0, "Padim": 1.0}, seeds=(0,))
    write_report([run], tmp_path, reference="Padim", examples=False)
    assert "Differences to Padim" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "aggregate.csv")
    assert table[table["model"] == "Padim"]["p"].isna().all()
    with pytest.raises(ConfigurationError, match="'Nobody' is none of the models: Autoencoder"):
        write_report([run], tmp_path, reference="Nobody")


def test_without_a_reference_nothing_is_tested(tmp_path):
    run = write_run(tmp_path / "run", models={"Padim": 1.0, "Fre": 1.0}, failed=("PatchGan",), seeds=(0,))
    write_report([run], tmp_path, examples=False)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "The reference PatchGan has no finished job on these data: no model is tested against it." in text
    assert "Differences" not in text
    assert pd.read_csv(tmp_path / "aggregate.csv")["p"].isna().all()


def test_only_failed_jobs_still_give_a_report(tmp_path):
    run = write_run(tmp_path / "run", models={}, failed=("PatchGan", "Padim"), seeds=(0,))
    names = {path.name for path in write_report([run], tmp_path)}
    assert names == {"report.html", "summary.md", "results.csv", "aggregate.csv"}
    assert "Padim, seed 0: RuntimeError" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "aggregate.csv").empty


def test_no_lesion_no_mask_and_one_image_per_patient(tmp_path):
    run = write_run(tmp_path / "run", models={"MeanIntensity": 1.0, "Padim": 1.0}, failed=(), seeds=(0,))
    for path in (run / "jobs").glob("*.json"):
        result, scores = read_job(path), read_scores(path.with_suffix(".npz"))
        changes = {
            "label": np.zeros_like(scores.label),
            "patient": scores.image,
            "stratum": np.full_like(scores.stratum, ""),
        }
        nothing = {"metrics": dict.fromkeys(result.metrics), "strata": {}, "cost": {}}
        write_job(run, type(result)(**{**vars(result), **nothing}), type(scores)(**{**vars(scores), **changes}))
    write_report([run], tmp_path)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "Test split: 72 normal and 0 lesion images\n" in text
    assert "AUROC" not in text


def test_names_and_errors_are_text(tmp_path):
    names = ["<script>alert(1)</script> | *b* _c_ `d`", "_x $1$", "[a](http://b.c) & \\"]
    models = {name: 1.0 + number for number, name in enumerate(names)}
    error = "ValueError: <img src=x onerror=alert(1)> | `x` *y*"
    run = write_run(tmp_path / "run", models=models, failed=("<b>",), error=error, seeds=(0,), reference=names[0])
    write_report([run], tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | *b* _c_ `d`" in html
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(
        (tmp_path / "summary.md").read_text(encoding="utf-8")
    )  # fmt: skip
    inline = [token for token in tokens if token.type == "inline"]
    assert not [token for token in tokens if token.type == "html_block"]
    kinds = {child.type for token in inline for child in token.children}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline", "softbreak"}
    texts = ["".join(child.content for child in token.children) for token in inline]
    assert all(name in texts for name in names)
    assert f"<b>, seed 0: {error}" in texts


def test_command(run, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    namespace = parser.parse_args([str(run), "--out", str(tmp_path), "--reference", "Padim", "--no-examples"])
    assert run_report(namespace) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert "Differences to Padim" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "figures" / "examples-discs.png").exists()


LIGHT = """
import sys
# As the console script, which loads neither.
sys.argv = ["anomalib-patchgan"]
from argparse import Namespace
from pathlib import Path
from anomalib_patchgan.cli import report
assert "numpy" not in sys.modules
report.run(
    Namespace(runs=[Path({run!r})], out=Path({out!r}), reference=None, no_examples=True)
)
print([name for name in ("anomalib", "torch", "lightning") if name in sys.modules])
"""


def test_command_needs_neither_anomalib_nor_torch(run, tmp_path):
    code = LIGHT.format(run=str(run), out=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_what_draws_them_there_are_no_figures(report, run, folds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(write, "_DRAWN_WITH", {"no_such_module": "matplotlib"})
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run_report(parser.parse_args([str(run), str(folds), "--out", str(tmp_path)])) == 0
    said = "There are no figures, for which matplotlib would have to be installed."
    assert capsys.readouterr().err == f"{said}\n"
    for name in ("report.html", "summary.md"):
        assert said in (tmp_path / name).read_text()
    assert not (tmp_path / "figures").exists()
    # The numbers are the same.
    for name in ("results.csv", "aggregate.csv"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()
