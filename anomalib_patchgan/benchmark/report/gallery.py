"""What the figures of a comparison show, and what is said about them; needs matplotlib and scikit-learn."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from anomalib_patchgan.benchmark.report.analyse import Aggregate
from anomalib_patchgan.benchmark.report.figures import (
    Curve,
    Example,
    ModelView,
    draw_curves,
    draw_examples,
    draw_latency,
    draw_scores,
    encode,
)
from anomalib_patchgan.benchmark.report.load import Comparison, Job
from anomalib_patchgan.benchmark.results import JobScores

GRID = np.linspace(0, 1, 501)
# What ranks the example images: its name in their caption, and the function of lesion and map.
EXAMPLES_BY: tuple[str, Callable[..., float]] = ("pixel AP", average_precision_score)


class Drawing(NamedTuple):
    """A figure: file name, PNG content, what it shows in words, and its caption."""

    name: str
    png: bytes
    alt: str
    caption: str


def view_model(model: str, jobs: Sequence[tuple[Job, JobScores]]) -> ModelView:
    """Take from a model's raw scores what the figures show, so that those of all models never lie in memory together.

    Args:
        model: Name of the model.
        jobs: Its finished jobs with their scores, at least one.
    """
    seed = min(job.result.seed for job, _ in jobs)
    first = [scores for job, scores in jobs if job.result.seed == seed]
    curves = [scores for scores in first if scores.label.any() and not scores.label.all()]
    shown = next((scores for _, scores in jobs if len(scores.example)), first[0])
    examples = zip(shown.example_image, shown.example_mask, shown.example_map, strict=True)
    return ModelView(
        model=model,
        folds=len(first),
        scores=np.concatenate([scores.score for scores in first]),
        labels=np.concatenate([scores.label for scores in first]),
        roc=_mean_curve([_roc(scores) for scores in curves]),
        precision_recall=_mean_curve([_precision_recall(scores) for scores in curves]),
        examples=dict(zip(shown.image[shown.example].tolist(), itertools.starmap(Example, examples), strict=True)),
    )


def best_median_and_worst(examples: Mapping[str, Example]) -> dict[str, str]:
    """Choose the images on which a model finds the lesion best, middling and worst, by `EXAMPLES_BY`.

    Args:
        examples: Example images by name.

    Returns:
        Image name by `best`, `median` and `worst`, as far as there are so many images with lesion and other pixels.
    """
    _, quality = EXAMPLES_BY
    ranked = sorted(
        (float(quality(example.mask.ravel(), example.map.ravel())), name)
        for name, example in examples.items()
        if example.mask.any() and not example.mask.all()
    )
    rows = {"best": -1, "median": len(ranked) // 2, "worst": 0}
    chosen = {row: ranked[index][1] for row, index in rows.items() if ranked}
    return {row: name for index, (row, name) in enumerate(chosen.items()) if name not in list(chosen.values())[:index]}


def draw(
    comparison: Comparison, views: Sequence[ModelView], aggregates: Iterable[Aggregate], *, examples: bool
) -> list[Drawing]:
    """Draw the figures of a comparison.

    Args:
        comparison: The jobs.
        views: What the figures show of each model, in the order of the tables.
        aggregates: The metrics of the models.
        examples: Whether to show images of the data.
    """
    if not views:
        return []
    data, slug = comparison.data, comparison.slug
    found = {(one.model, one.metric): one.mean for one in aggregates if not one.stratum}
    means, precisions = (
        {model: mean for (model, metric), mean in found.items() if metric == wanted}
        for wanted in ("image_AUROC", "image_AP")
    )
    several = max(view.folds for view in views) > 1
    drawings = []
    for kind, name, title, values, area in (
        ("roc", "roc", "ROC curves", means, "AUROC"),
        ("precision_recall", "pr", "Precision-recall curves", precisions, "average precision"),
    ):
        curves = draw_curves(views, comparison.reference, values, kind)
        if curves is not None:
            caption = f"{title} of the images, first seed of each model; in brackets the mean {area} of all its jobs."
            caption += " The curve is the mean over the folds." if several else ""
            alt = f"{title} on {data}. {_listing(values)}"
            drawings.append(Drawing(f"{name}-{slug}.png", encode(curves), alt, caption))
    drawings.append(
        Drawing(
            f"scores-{slug}.png",
            encode(draw_scores(views)),
            f"Score histograms of normal and lesion images on {data} for {len(views)} models.",
            "Scores of normal images (filled) and of lesion images (line), first seed; each model has its own scale, "
            f"and the outer bins hold the outer 0.5 %.{' The folds are pooled.' if several else ''}",
        )
    )
    points = _latencies(comparison, means)
    latency = draw_latency(points, comparison.reference)
    if latency is not None:
        times = _listing({model: point[0] for model, point in points.items()}, " ms")
        drawings.append(
            Drawing(
                f"latency-{slug}.png",
                encode(latency),
                f"Image AUROC against latency on {data}. {times}",
                "Image AUROC against the median time of one image: filled, OpenVINO; open, torch, for models that "
                "could not be exported.",
            )
        )
    # The reference chooses the images, or the first model that has some.
    ranked = sorted(views, key=lambda view: view.model != comparison.reference)
    chooser = next((view for view in ranked if view.examples), None)
    chosen = best_median_and_worst(chooser.examples) if examples and chooser else {}
    if chooser and chosen:
        *rows, last = chosen
        drawings.append(
            Drawing(
                f"examples-{slug}.png",
                encode(draw_examples({view.model: view.examples for view in views}, chosen)),
                f"Lesion images of {data} with the heat maps of {len(views)} models: {', '.join(chosen.values())}",
                "Lesion images with the outline of the lesion, and the heat maps of the models, each scaled over its "
                f"own test split: the {' and '.join(filter(None, [', '.join(rows), last]))} of the examples by the "
                f"{EXAMPLES_BY[0]} of {chooser.model}'s map. The same images for every model, first seed.",
            )
        )
    return drawings


def _roc(scores: JobScores) -> Curve:
    fpr, tpr, _ = roc_curve(scores.label, scores.score)
    return Curve(fpr, tpr)


def _precision_recall(scores: JobScores) -> Curve:
    precision, recall, _ = precision_recall_curve(scores.label, scores.score)
    # What any threshold of at least this recall reaches first, as average precision adds it up.
    steps = np.searchsorted(recall[::-1], GRID, side="left")
    return Curve(GRID, precision[::-1][np.minimum(steps, precision.size - 1)])


def _mean_curve(curves: Sequence[Curve]) -> Curve | None:
    """The mean at equal x; a single curve stays as it is."""
    if len(curves) <= 1:
        return curves[0] if curves else None
    ends = np.mean([curve.y[0] for curve in curves])
    y = np.mean([np.interp(GRID, curve.x, curve.y) for curve in curves], axis=0)
    # np.interp takes the last of the points at x = 0, the curves begin at the first.
    return Curve(np.append(0.0, GRID), np.append(ends, y))


def _latencies(comparison: Comparison, means: Mapping[str, float]) -> dict[str, tuple[float, float, bool]]:
    """Milliseconds, image AUROC and whether OpenVINO ran it, of each model with both numbers."""
    points = {}
    for model in comparison.models:
        costs = [job.result.cost for job in comparison.finished(model)]
        for name in ("openvino_p50_ms", "torch_p50_ms"):
            time = next((value for cost in costs if (value := cost.get(name)) is not None), None)
            if time is not None and model in means:
                points[model] = (time, means[model], name.startswith("openvino"))
                break
    return points


def _listing(values: Mapping[str, float], unit: str = "") -> str:
    return "; ".join(f"{model} {value:.3g}{unit}" for model, value in values.items())
