"""Which figures a comparison has, and what is said about them."""

from collections.abc import Mapping, Sequence

from anomalib_patchgan.benchmark.report.analyse import Aggregate
from anomalib_patchgan.benchmark.report.figures import draw_curves, draw_latency, draw_scores, encode
from anomalib_patchgan.benchmark.report.load import Comparison
from anomalib_patchgan.benchmark.report.panel import draw_examples
from anomalib_patchgan.benchmark.report.section import Drawing
from anomalib_patchgan.benchmark.report.views import EXAMPLES_BY, ModelView


def draw(
    comparison: Comparison, views: Sequence[ModelView], aggregates: Sequence[Aggregate], chosen: Mapping[str, str]
) -> list[Drawing]:
    """Draw the figures of a comparison.

    Args:
        comparison: The jobs.
        views: What the figures show of each model, in the order of the tables.
        aggregates: The metrics of the models.
        chosen: Name of the example image of each row; empty for no examples.
    """
    if not views:
        return []
    data, slug = comparison.data, comparison.slug
    means = {one.model: one.mean for one in aggregates if (one.stratum, one.metric) == ("", "image_AUROC")}
    precisions = {one.model: one.mean for one in aggregates if (one.stratum, one.metric) == ("", "image_AP")}
    folded = " The curve is the mean over the folds." if max(view.folds for view in views) > 1 else ""
    pooled = " The folds are pooled." if folded else ""
    drawings = []
    for kind, name, title, values, area in (
        ("roc", "roc", "ROC curves", means, "AUROC"),
        ("precision_recall", "pr", "Precision-recall curves", precisions, "average precision"),
    ):
        curves = draw_curves(views, comparison.reference, values, kind)
        if curves is not None:
            caption = f"{title} of the images, first seed of each model; in brackets the mean {area} of all its jobs."
            alt = f"{title} on {data}. {_listing(values)}"
            drawings.append(
                Drawing(name=f"{name}-{slug}.png", png=encode(curves), alt=alt, caption=f"{caption}{folded}")
            )
    drawings.append(
        Drawing(
            name=f"scores-{slug}.png",
            png=encode(draw_scores(views)),
            alt=f"Score histograms of normal and lesion images on {data} for {len(views)} models.",
            caption="Scores of normal images (filled) and of lesion images (line), first seed; each model has its own "
            f"scale, and the outer bins hold the outer 0.5 %.{pooled}",
        )
    )
    points = _latencies(comparison, means)
    latency = draw_latency(points, comparison.reference)
    if latency is not None:
        times = _listing({model: point[0] for model, point in points.items()}, " ms")
        drawings.append(
            Drawing(
                name=f"latency-{slug}.png",
                png=encode(latency),
                alt=f"Image AUROC against latency on {data}. {times}",
                caption="Image AUROC against the median time of one image: filled, OpenVINO; open, torch, for models "
                "that could not be exported.",
            )
        )
    if chosen:
        judge = next(view.model for view in [*_first(views, comparison.reference), *views] if view.examples)
        drawings.append(
            Drawing(
                name=f"examples-{slug}.png",
                png=encode(draw_examples({view.model: view.examples for view in views}, chosen)),
                alt=f"Lesion images of {data} with the heat maps of {len(views)} models: {', '.join(chosen.values())}",
                caption="Lesion images with the outline of the lesion, and the heat maps of the models, each scaled "
                f"over its own test split: the {_words(list(chosen))} of the examples by the {EXAMPLES_BY[0]} of "
                f"{judge}'s map. The same images for every model, first seed.",
            )
        )
    return drawings


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


def _first(views: Sequence[ModelView], reference: str | None) -> list[ModelView]:
    return [view for view in views if view.model == reference]


def _listing(values: Mapping[str, float], unit: str = "") -> str:
    return "; ".join(f"{model} {value:.3g}{unit}" for model, value in values.items())


def _words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
