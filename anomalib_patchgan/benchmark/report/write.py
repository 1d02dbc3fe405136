"""Writes the report: numbers as CSV, tables as Markdown, figures as PNG, and all of it as one page."""

import base64
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anomalib_patchgan.benchmark.report.analyse import Aggregate, aggregate_model, correct, tabulate, tidy
from anomalib_patchgan.benchmark.report.facts import Fact, make_facts, provenance_notes
from anomalib_patchgan.benchmark.report.load import Comparison, merge_runs
from anomalib_patchgan.benchmark.report.resampling import Resampler
from anomalib_patchgan.benchmark.report.tables import Table, make_tables
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.pages import templates

if TYPE_CHECKING:
    from anomalib_patchgan.benchmark.report.figures import ModelView
    from anomalib_patchgan.benchmark.report.gallery import Drawing

RESULTS = "results.csv"
AGGREGATE = "aggregate.csv"
# Each from the template of its name.
SUMMARY = "summary.md"
REPORT = "report.html"
FIGURES = "figures"
# Module and distribution of what figures take, which an environment that only runs models lacks.
_DRAWN_WITH = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}


class Section(NamedTuple):
    """What the report says about data of one name.

    Attributes:
        data: Name of the data.
        facts: What ran.
        notes: What a reader of the tables has to know.
        tables: Tables with at least one number.
        failed: Name and error of each failed job.
        figures: Figures, at least none.
    """

    data: str
    facts: Sequence[Fact]
    notes: Sequence[str]
    tables: Sequence[Table]
    failed: Sequence[tuple[str, str]]
    figures: Sequence["Drawing"]


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
    pages = templates("anomalib_patchgan.benchmark.report")
    pages.filters |= {"data_uri": _data_uri, "plain": plain, "code": _code}
    texts = {"title": merged.name, "notes": notes, "sections": sections}
    contents = {out / name: pages.get_template(f"{name}.jinja").render(texts).encode() for name in (REPORT, SUMMARY)}
    contents |= {out / RESULTS: tidy(merged.comparisons), out / AGGREGATE: tabulate(aggregates), **figures}
    try:
        for path, content in contents.items():
            write_atomically(path, content)
        for old in (out / FIGURES).glob("*.png"):
            if old not in figures:
                old.unlink()
    except OSError as error:
        msg = f"The report cannot be written to {out} ({error.strerror}): give another --out."
        raise ConfigurationError(msg) from error
    return list(contents)


def plain(text: str) -> str:
    r"""Make a text stand in Markdown as it is, also in a table.

    Example:
        >>> print(plain("<b> | a_b *"))
        \<b\> \| a_b \*
    """
    # An underscore inside a word is itself.
    return re.sub(r"([\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Make a text code in Markdown."""
    # A longer fence than any row of backticks inside.
    fence = "`" * (1 + max((len(row) for row in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}"


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _analyse(comparison: Comparison, *, examples: bool) -> tuple[Section, list[Aggregate]]:
    """Aggregate and draw one comparison; besides the reference one model's scores are in memory at a time."""
    drawn = not lacks_figures()
    if drawn:
        from anomalib_patchgan.benchmark.report import gallery
    reference: Resampler | None = None
    facts = make_facts(comparison, [])
    views: dict[str, ModelView] = {}
    found: dict[str, list[Aggregate]] = {}
    # The reference first: the others are compared with it.
    for model in sorted(comparison.models, key=lambda model: model != comparison.reference):
        jobs = [(job, job.scores()) for job in comparison.finished(model)]
        resampler = Resampler(jobs)
        if not found:
            facts = make_facts(comparison, [(job.result.fold, scores) for job, scores in jobs])
        found[model] = aggregate_model(comparison, model, resampler, reference)
        if drawn:
            views[model] = gallery.view_model(model, jobs)
        if model == comparison.reference:
            reference = resampler
    aggregates = correct([one for model in comparison.models for one in found[model]])
    ordered = [views[model] for model in comparison.models if model in views]
    section = Section(
        data=comparison.data,
        facts=facts,
        notes=[*comparison.notes, *provenance_notes(comparison)],
        tables=make_tables(comparison, aggregates),
        failed=[
            (", ".join(filter(None, [one.model, one.fold, f"seed {one.seed}"])), str(one.error))
            for one in comparison.failed
        ],
        figures=gallery.draw(comparison, ordered, aggregates, examples=examples) if drawn else [],
    )
    return section, aggregates
