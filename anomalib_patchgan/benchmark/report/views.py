"""What the figures need of one model's raw scores, so that the scores of all models never lie in memory together."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from anomalib_patchgan.benchmark.report.load import Job
from anomalib_patchgan.benchmark.results import JobScores

GRID = np.linspace(0, 1, 501)
# What ranks the example images: its name in their caption, and the function of lesion and map.
EXAMPLES_BY: tuple[str, Callable[..., float]] = ("pixel AP", average_precision_score)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of a curve, `(K,)` each."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One lesion image with its lesion and the model's map, `(h, w, 3)` uint8, `(h, w)` bool and `(h, w)` uint8."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    map: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """What figures show of one model: its first seed.

    Args:
        model: Name of the model.
        folds: Number of folds.
        scores: Raw scores of the images of all folds, `(N,)`.
        labels: Whether they hold a lesion, `(N,)`.
        roc: Mean of the folds' ROC curves; `None` where undefined.
        precision_recall: Mean of the folds' precision-recall curves.
        examples: Example images by name.
    """

    model: str
    folds: int
    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    roc: Curve | None
    precision_recall: Curve | None
    examples: dict[str, Example]


def view_model(model: str, jobs: Sequence[tuple[Job, JobScores]], wanted: Collection[str] | None) -> ModelView:
    """Take from a model's raw scores what the figures show.

    Args:
        model: Name of the model.
        jobs: Its finished jobs with their scores, at least one.
        wanted: Names of the example images to keep; `None` for all.
    """
    seed = min(job.result.seed for job, _ in jobs)
    first = [scores for job, scores in jobs if job.result.seed == seed]
    curves = [scores for scores in first if scores.label.any() and not scores.label.all()]
    with_examples = next((scores for _, scores in jobs if len(scores.example)), None)
    return ModelView(
        model=model,
        folds=len(first),
        scores=np.concatenate([scores.score for scores in first]),
        labels=np.concatenate([scores.label for scores in first]),
        roc=_mean_curve([_roc(scores) for scores in curves]),
        precision_recall=_mean_curve([_precision_recall(scores) for scores in curves]),
        examples=_examples(with_examples, wanted) if with_examples is not None else {},
    )


def choose_examples(examples: dict[str, Example]) -> dict[str, str]:
    """Choose the images on which a model finds the lesion best, middling and worst, by `EXAMPLES_BY`.

    Args:
        examples: Example images by name.

    Returns:
        Image name by `best`, `median` and `worst`, as far as there are so many images with lesion and other pixels.
    """
    _, measure = EXAMPLES_BY
    ranked = sorted(
        (float(measure(example.mask.ravel(), example.map.ravel())), name)
        for name, example in examples.items()
        if example.mask.any() and not example.mask.all()
    )
    rows = {"best": -1, "median": len(ranked) // 2, "worst": 0}
    chosen = {row: ranked[index][1] for row, index in rows.items() if ranked}
    return {row: name for index, (row, name) in enumerate(chosen.items()) if name not in list(chosen.values())[:index]}


def _roc(scores: JobScores) -> Curve:
    fpr, tpr, _ = roc_curve(scores.label, scores.score)
    return Curve(x=fpr, y=tpr)


def _precision_recall(scores: JobScores) -> Curve:
    precision, recall, _ = precision_recall_curve(scores.label, scores.score)
    # What any threshold of at least this recall reaches first, as average precision adds it up.
    steps = np.searchsorted(recall[::-1], GRID, side="left")
    return Curve(x=GRID, y=precision[::-1][np.minimum(steps, precision.size - 1)])


def _mean_curve(curves: Sequence[Curve]) -> Curve | None:
    """The mean at equal x; a single curve stays as it is."""
    if len(curves) <= 1:
        return curves[0] if curves else None
    ends = np.mean([curve.y[0] for curve in curves])
    y = np.mean([np.interp(GRID, curve.x, curve.y) for curve in curves], axis=0)
    # np.interp takes the last of the points at x = 0, the curves begin at the first.
    return Curve(x=np.append(0.0, GRID), y=np.append(ends, y))


def _examples(scores: JobScores, wanted: Collection[str] | None) -> dict[str, Example]:
    names = scores.image[scores.example].tolist()
    return {
        name: Example(image=scores.example_image[i], mask=scores.example_mask[i], map=scores.example_map[i])
        for i, name in enumerate(names)
        if wanted is None or name in wanted
    }
