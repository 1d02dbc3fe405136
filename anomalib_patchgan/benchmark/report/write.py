"""Writes the report: numbers as CSV, tables as Markdown, figures as PNG, and all of it as one page."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.benchmark.report.analyse import Aggregate, aggregate_model, correct, tabulate, tidy
from anomalib_patchgan.benchmark.report.facts import provenance_notes
from anomalib_patchgan.benchmark.report.html import write_html
from anomalib_patchgan.benchmark.report.load import Comparison, merge_runs
from anomalib_patchgan.benchmark.report.markdown import write_markdown
from anomalib_patchgan.benchmark.report.resampling import Resampler
from anomalib_patchgan.benchmark.report.section import Fact, Section, make_facts
from anomalib_patchgan.benchmark.report.tables import make_tables
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import write_atomically

if TYPE_CHECKING:
    from anomalib_patchgan.benchmark.report.gallery import Gallery

RESULTS = "results.csv"
AGGREGATE = "aggregate.csv"
SUMMARY = "summary.md"
REPORT = "report.html"
FIGURES = "figures"
# Module and distribution of what figures take, which an environment that only runs models lacks.
_DRAWN_WITH = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}


def lacks_figures() -> str:
    """Say why a report written here has no figures; an empty text where it has them."""
    missing = [name for module, name in _DRAWN_WITH.items() if find_spec(module) is None]
    return f"There are no figures, for which {' and '.join(missing)} would have to be installed." if missing else ""


def write_report(runs: Sequence[Path], out: Path, *, reference: str | None = None, examples: bool = True) -> list[Path]:
    """Write the report of one run, or of several together.

    Every file is written under a temporary name and renamed. Figures of an earlier report in the same folder go.

    Args:
        runs: Run folders; jobs on data of the same name are compared with each other.
        out: Folder of the report; made if missing.
        reference: Model that the others are tested against; what the run's configuration says by default.
        examples: Whether to show images of the data.

    Returns:
        The files: `report.html`, `summary.md`, `results.csv`, `aggregate.csv` and the figures.

    Raises:
        ConfigurationError: Two runs contradict each other, the reference is no model of theirs, or `out` cannot be
            written to.
        DatasetNotFoundError: A folder holds no run, or a job no raw scores.
        DataError: A job's files are not usable.
    """
    merged = merge_runs(runs, reference)
    notes = [*merged.notes, *filter(None, [lacks_figures()])]
    aggregates: list[Aggregate] = []
    sections = []
    for comparison in merged.comparisons:
        section, found = _analyse(comparison, examples=examples)
        sections.append(section)
        aggregates += found
    figures = {out / FIGURES / figure.name: figure.png for section in sections for figure in section.figures}
    contents = {
        out / REPORT: write_html(merged.name, notes, sections).encode(),
        out / SUMMARY: write_markdown(merged.name, notes, sections).encode(),
        out / RESULTS: tidy(merged.comparisons),
        out / AGGREGATE: tabulate(aggregates),
        **figures,
    }
    try:
        for path, content in contents.items():
            write_atomically(path, content)
        for old in (out / FIGURES).glob("*.png"):
            if old not in figures:
                old.unlink()
    except OSError as error:
        msg = f"The report cannot be written to {out} ({error.strerror}): give another --out"
        raise ConfigurationError(msg) from error
    return list(contents)


def _analyse(comparison: Comparison, *, examples: bool) -> tuple[Section, list[Aggregate]]:
    """Aggregate and draw one comparison; besides the reference one model's scores are in memory at a time."""
    reference: Resampler | None = None
    facts: list[Fact] = make_facts(comparison, [])
    gallery = _open_gallery(comparison, examples=examples)
    found: dict[str, list[Aggregate]] = {}
    # The reference first: the others are compared with it, on the images it chose.
    for model in sorted(comparison.models, key=lambda model: model != comparison.reference):
        jobs = [(job, job.scores()) for job in comparison.finished(model)]
        resampler = Resampler(jobs)
        if not found:
            facts = make_facts(comparison, [(job.result.fold, scores) for job, scores in jobs])
        found[model] = aggregate_model(comparison, model, resampler, reference)
        if gallery is not None:
            gallery.add(model, jobs)
        if model == comparison.reference:
            reference = resampler
    aggregates = correct([one for model in comparison.models for one in found[model]])
    failed = [
        (", ".join([result.model, *([result.fold] if result.fold else []), f"seed {result.seed}"]), str(result.error))
        for result in comparison.failed
    ]
    section = Section(
        data=comparison.data,
        facts=facts,
        notes=[*comparison.notes, *provenance_notes(comparison)],
        tables=make_tables(comparison, aggregates),
        failed=failed,
        figures=[] if gallery is None else gallery.draw(aggregates),
    )
    return section, aggregates


def _open_gallery(comparison: Comparison, *, examples: bool) -> "Gallery | None":
    if lacks_figures():
        return None
    from anomalib_patchgan.benchmark.report.gallery import Gallery

    return Gallery(comparison, examples=examples)
