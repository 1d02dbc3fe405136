"""The report: numbers that scikit-learn gives too, tables, merging, and names that mean mischief."""

import argparse
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_patchgan.benchmark.report import write, write_report
from anomalib_patchgan.benchmark.report.analyse import Aggregate, correct
from anomalib_patchgan.benchmark.results import read_result, read_run, read_scores, write_job
from anomalib_patchgan.cli.report import add_arguments
from anomalib_patchgan.cli.report import run as run_report
from anomalib_patchgan.errors import ConfigurationError
from tests.fakes.benchmark import write_run

FIGURES = {
    f"{kind}-{data}.png" for kind in ("roc", "pr", "scores", "latency", "examples") for data in ("discs", "folds")
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with several seeds, and a failed model."""
    return write_run(tmp_path_factory.mktemp("runs") / "discs")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A run with two folds; Padim has failed in the second."""
    run = write_run(tmp_path_factory.mktemp("runs") / "folds", data=["folds"], folds=("a", "b"), seeds=(0, 1))
    for path in (run / "jobs").glob("model-1--folds--b--*.json"):
        result = read_result(path)
        path.with_suffix(".npz").unlink()
        write_job(run, type(result)(**{**vars(result), "metrics": {}, "strata": {}, "error": "killed"}), None)
    return run


@pytest.fixture(scope="module")
def report(run, folds, tmp_path_factory):
    """The report of both."""
    out = tmp_path_factory.mktemp("report")
    write_report([run, folds], out)
    return out


@pytest.fixture(scope="module")
def aggregate(report):
    """`aggregate.csv`, by data, model, stratum and metric."""
    return (
        pd.read_csv(report / "aggregate.csv").fillna({"stratum": ""}).set_index(["data", "model", "stratum", "metric"])
    )


def jobs_of(run, model, folds=("", "a", "b")):
    """Results and scores of a model's finished jobs."""
    results = [result for result in read_run(run)[1] if result.model == model and result.fold in folds]
    return [(one, read_scores(run / "jobs" / f"{one.id}.npz")) for one in results if one.error is None]


def tables_of(summary):
    """Rows of cells of each table of a Markdown text, by the heading above it; bold is `**` as in the source."""
    tables, heading = {}, ""
    for line in summary.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            tables.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return tables


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


def test_models_tested_on_other_images_are_not_compared(tmp_path):
    run = write_run(tmp_path / "run", failed=(), seeds=(0,))
    path = next((run / "jobs").glob("model-1--*.json"))
    scores = read_scores(path.with_suffix(".npz"))
    write_job(run, read_result(path), type(scores)(**{**vars(scores), "patient": np.char.add("x", scores.patient)}))
    write_report([run], tmp_path)
    table = pd.read_csv(tmp_path / "aggregate.csv")
    table = table[(table["metric"] == "image_AUROC") & table["stratum"].isna()].set_index("model")
    assert table[["difference", "p"]].isna().all(axis=1).to_dict() == {
        "PatchGan": True, "Padim": True, "Autoencoder": False, "MeanIntensity": False
    }  # fmt: skip


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
        result, scores = read_result(path), read_scores(path.with_suffix(".npz"))
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
