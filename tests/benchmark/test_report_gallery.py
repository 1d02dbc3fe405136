"""What the figures of a report show."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalib_patchgan.benchmark.report import gallery
from anomalib_patchgan.benchmark.report.figures import Example, ModelView
from anomalib_patchgan.benchmark.report.gallery import best_median_and_worst, draw, view_model
from anomalib_patchgan.benchmark.report.load import Comparison, merge_runs
from tests.fakes.benchmark import write_run


def test_curves_have_the_area_of_the_metrics(tmp_path):
    run = write_run(tmp_path, seeds=(0, 1))
    model = "PatchGan"
    merged = merge_runs([run]).comparisons[0]
    jobs = [(job, job.scores()) for job in merged.finished(model)]
    view = view_model(model, jobs)
    scores = jobs[0][1]
    assert trapezoid(view.roc.y, view.roc.x) == pytest.approx(roc_auc_score(scores.label, scores.score))
    ap = np.sum(np.diff(view.precision_recall.x) * view.precision_recall.y[1:])
    assert ap == pytest.approx(average_precision_score(scores.label, scores.score), abs=0.01)
    precision, recall, _ = precision_recall_curve(scores.label, scores.score)
    at_half = precision[np.flatnonzero(recall >= 0.5)[-1]]
    assert view.precision_recall.y[view.precision_recall.x == 0.5] == pytest.approx(at_half)
    assert len(view.examples) == 8


def test_mean_curve_of_folds(tmp_path):
    folds = write_run(tmp_path, folds=("a", "b"), seeds=(0,))
    merged = merge_runs([folds]).comparisons[0]
    jobs = [(job, job.scores()) for job in merged.finished("Autoencoder")]
    view = view_model("Autoencoder", jobs)
    areas = [roc_auc_score(scores.label, scores.score) for job, scores in jobs if job.result.seed == 0]
    assert view.folds == 2
    assert trapezoid(view.roc.y, view.roc.x) == pytest.approx(np.mean(areas), abs=0.005)


def test_examples_are_best_median_and_worst():
    mask = np.zeros((8, 8), dtype=bool)
    mask[:2, :4] = True
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    maps = {"good": mask * 200, "bad": ~mask * 200, "middling": np.roll(mask, 2, axis=1) * 200}
    examples = {name: Example(image=image, mask=mask, map=pixels.astype(np.uint8)) for name, pixels in maps.items()}
    examples["full of lesion"] = Example(image=image, mask=np.ones_like(mask), map=examples["good"].map)
    examples["healthy"] = Example(image=image, mask=np.zeros_like(mask), map=examples["good"].map)
    assert best_median_and_worst(examples) == {"best": "good", "median": "middling", "worst": "bad"}
    assert best_median_and_worst({"good": examples["good"]}) == {"best": "good"}
    assert best_median_and_worst({}) == {}


def test_examples_are_ranked_by_what_their_caption_says(monkeypatch):
    generator = np.random.default_rng(0)
    examples = {}
    for number in range(12):
        # The size of the lesion decides which of AUROC and average precision is high.
        mask = np.arange(256).reshape(16, 16) < 2 ** (1 + number % 7)
        pixels = np.clip(generator.normal(100, 30, mask.shape) + generator.uniform(10, 90) * mask, 0, 255)
        examples[f"{number}"] = Example(
            image=np.zeros((16, 16, 3), dtype=np.uint8), mask=mask, map=pixels.astype(np.uint8)
        )
    view = ModelView(
        model="PatchGan", folds=1, scores=np.arange(4.0), labels=np.arange(4) > 1, roc=None, precision_recall=None,
        examples=examples,
    )  # fmt: skip
    comparison = Comparison(data="discs", slug="discs", jobs=(), reference="PatchGan", commands=(), notes=())

    def check(name, measure):
        values = {key: measure(one.mask.ravel(), one.map.ravel()) for key, one in examples.items()}
        order = sorted(values, key=values.__getitem__)
        chosen = best_median_and_worst(examples)
        assert chosen == {"best": order[-1], "median": order[6], "worst": order[0]}
        (caption,) = [
            one.caption for one in draw(comparison, [view], [], examples=True) if one.name.startswith("examples")
        ]
        assert f"by the {name} of PatchGan's map" in caption
        return chosen

    first = check("pixel AP", average_precision_score)
    # One source: the caption follows what ranks.
    monkeypatch.setattr(gallery, "EXAMPLES_BY", ("pixel AUROC", roc_auc_score))
    assert check("pixel AUROC", roc_auc_score) != first
