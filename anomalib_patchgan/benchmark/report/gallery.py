"""Collects what figures show of each model of a comparison, and draws them; needs matplotlib and scikit-learn."""

from collections.abc import Mapping, Sequence

from anomalib_patchgan.benchmark.report.analyse import Aggregate
from anomalib_patchgan.benchmark.report.drawings import draw
from anomalib_patchgan.benchmark.report.load import Comparison, Job
from anomalib_patchgan.benchmark.report.section import Drawing
from anomalib_patchgan.benchmark.report.views import ModelView, choose_examples, view_model
from anomalib_patchgan.benchmark.results import JobScores


class Gallery:
    """The figures of one comparison.

    Args:
        comparison: The jobs.
        examples: Whether to show images of the data.
    """

    def __init__(self, comparison: Comparison, *, examples: bool) -> None:
        self._comparison = comparison
        self._chosen: Mapping[str, str] | None = None if examples else {}
        self._views: dict[str, ModelView] = {}

    def add(self, model: str, jobs: Sequence[tuple[Job, JobScores]]) -> None:
        """Take what the figures show of a model; the first one chooses the example images.

        Args:
            model: Name of the model.
            jobs: Its finished jobs with their scores, at least one.
        """
        view = view_model(model, jobs, None if self._chosen is None else set(self._chosen.values()))
        if self._chosen is None and view.examples:
            self._chosen = choose_examples(view.examples)
        self._views[model] = view

    def draw(self, aggregates: Sequence[Aggregate]) -> list[Drawing]:
        """Draw the figures.

        Args:
            aggregates: The metrics of the models.
        """
        views = [self._views[model] for model in self._comparison.models]
        return draw(self._comparison, views, aggregates, self._chosen or {})
