"""The tables of the report, for Markdown and HTML alike."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from anomalib_patchgan.benchmark.report.analyse import NAN, PATIENTS_ONLY, Aggregate
from anomalib_patchgan.benchmark.report.load import Comparison, Job
from anomalib_patchgan.benchmark.report.resampling import FEWEST_FOR_TEST, RESAMPLES
from anomalib_patchgan.benchmark.results import PIXEL_BINS
from anomalib_patchgan.measure.patient_scores import PATIENT_METRICS

METRIC_NAMES = {
    "image_AUROC": "image AUROC",
    "image_AP": "image AP",
    "image_TPR_at_1FPR": "TPR at 1 % FPR",
    "image_TPR_at_5FPR": "TPR at 5 % FPR",
    "image_F1": "F1 at val. threshold",
    "pixel_AUROC": "pixel AUROC",
    "pixel_AP": "pixel AP",
    "pixel_AUPRO": "AUPRO",
    "pixel_best_dice": "best Dice",
    "pixel_dice": "Dice at val. threshold",
    "case_dice": "case Dice",
    "patient_AUROC_max": "patient AUROC",
    "patient_AUROC_top3": "patient AUROC, top 3",
    "patient_sensitivity": "patient sensitivity at val. threshold",
    "patient_specificity": "patient specificity at val. threshold",
}
EMPTY = "-"
SIGNIFICANT = 0.05


class Cell(NamedTuple):
    """A cell: a number, its spread, and what stands below or behind it."""

    value: str = EMPTY
    spread: str = ""
    detail: str = ""
    bold: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        title: What it shows.
        columns: Heads of the columns; the first is that of the rows' names.
        rows: Name and cells of each row.
        notes: Sentences below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str]


# Stratum, "" for all lesions, and metric.
Column = tuple[str, str]
Found = Mapping[tuple[str, str, str], Aggregate]


def make_tables(comparison: Comparison, aggregates: Sequence[Aggregate]) -> list[Table]:
    """Make the tables of one comparison; one without any number is left out.

    Args:
        comparison: The jobs.
        aggregates: Its metrics over the jobs.
    """
    found = {(one.model, one.stratum, one.metric): one for one in aggregates}
    tables = [
        _metrics(comparison, found),
        _differences(comparison, found),
        _strata(comparison, found),
        _cost(comparison),
    ]
    return [table for table in tables if table.rows and len(table.columns) > 1]


def _metrics(comparison: Comparison, found: Found) -> Table:
    metrics = {metric for _, stratum, metric in found if not stratum}
    columns = [("", metric) for metric in METRIC_NAMES if metric in metrics]
    whole = _complete(comparison)
    rows = []
    for model, cells in _means(comparison, found, columns):
        jobs = comparison.finished(model)
        seeds = str(len({job.result.seed for job in jobs}))
        folds = {job.result.fold for job in jobs}
        rows.append((model, [Cell(seeds if model in whole else f"{seeds}, {len(folds)} folds only"), *cells]))
    how = (
        "Mean over seeds ± standard deviation over seeds, where there are several. In brackets, where given: 95 % "
        "interval over patients and seeds, so it says how much the number depends on the patients of the test split "
        "and on the randomness of training; where no ± stands nothing is known of the latter, and the interval is over "
        f"{PATIENTS_ONLY}. Student's t, from the seeds' variance and {RESAMPLES} bootstrap samples of the patients "
        "(each drawn with all its images). The best mean of a column is bold if it is that of several seeds."
    )
    notes = [how]
    if len({job.result.fold for job in comparison.jobs}) > 1:
        notes.append(
            "Folds are averaged within each seed; a seed that misses a fold counts for the mean alone. A model that "
            "misses folds is never the best."
        )
    if "pixel_AUROC" in metrics:
        notes.append(
            "Pixel metrics take all pixels of a test split together; a model without a map has none. Their intervals "
            f"come from counts of pixels in {PIXEL_BINS} bins of the map's value."
        )
    else:
        notes.append("No pixel metrics: they need masks of the lesions in the test split, and a model with a map.")
    if metrics & set(PATIENT_METRICS):
        notes.append(
            "A patient with a lesion in any image is abnormal. Its score is the highest of its images or, top 3, the "
            "mean of the highest three, or of as large a share where it has more or fewer images than the median "
            "patient. Intervals and tests need as many healthy patients, and as many others, as elsewhere patients. "
            "The validation threshold of patients is that of their top 3, chosen on healthy validation patients."
        )
    if any("at val" in METRIC_NAMES[metric] for metric in metrics):
        best_dice = ", best Dice on the test data themselves" if "pixel_best_dice" in metrics else ""
        notes.append(f"The validation threshold was chosen on validation data{best_dice}.")
    return Table("Metrics", ["model", "seeds", *_heads(columns)], rows, notes)


def _differences(comparison: Comparison, found: Found) -> Table:
    reference = comparison.reference
    known = {(one.stratum, one.metric) for one in found.values() if not math.isnan(one.difference_low)}
    columns = sorted(known, key=lambda key: (key[0], list(METRIC_NAMES).index(key[1])))
    rows = [
        (model, [_difference(found.get((model, *key))) for key in columns])
        for model in comparison.models
        if model != reference
    ]
    how = (
        f"Model minus {reference}, positive where the model is better, with its 95 % interval and two-sided p-value "
        "over patients (the same are drawn for both) and seeds, p corrected by Holm's method for the rivals in a "
        f"column. Differences with p below {SIGNIFICANT} are bold. Where either of the two has fewer than two seeds "
        f"that ran all folds, a difference may be the luck of one training: its interval is over {PATIENTS_ONLY} and "
        f"there is no p; nor is there with fewer than {FEWEST_FOR_TEST} patients. Only folds that both have are "
        "compared, and only models tested on the same images."
    )
    return Table(f"Differences to {reference}", ["model", *_heads(columns)], rows, [how])


def _strata(comparison: Comparison, found: Found) -> Table:
    keys = sorted({(stratum, metric) for _, stratum, metric in found if stratum})
    columns = [key for metric in ("image_AUROC", "image_AP") for key in keys if key[1] == metric]
    rows = [row for row in _means(comparison, found, columns) if any(cell != Cell() for cell in row[1])]
    notes = ["The lesion images of one stratum against all normal images; mean, spread and interval as above."]
    return Table("Strata", ["model", *_heads(columns)], rows, notes)


def _cost(comparison: Comparison) -> Table:
    rows = []
    for model in comparison.models:
        jobs = comparison.finished(model)
        cell = partial(_cost_cell, jobs)
        size = [cell("cost", f"image_{side}", "g").value for side in ("height", "width")]
        cells = {
            "parameters": cell("cost", "parameters", ",.0f"),
            "GFLOP": cell("cost", "flops", ".3g", 1e9),
            "image size": Cell() if EMPTY in size else Cell("x".join(size)),
            "epochs": cell("training", "epochs", "g"),
            "training s": cell("cost", "training_seconds", ".0f"),
            "images/s": cell("cost", "training_images_per_second", ".3g"),
            "peak MiB": cell("cost", "peak_memory_MiB", ".0f"),
            "torch p50 ms": cell("cost", "torch_p50_ms", ".3g"),
            "torch p95 ms": cell("cost", "torch_p95_ms", ".3g"),
            "OpenVINO p50 ms": cell("cost", "openvino_p50_ms", ".3g"),
            "OpenVINO p95 ms": cell("cost", "openvino_p95_ms", ".3g"),
            "OpenVINO MB": cell("cost", "openvino_MB", ".3g"),
            "backbone": Cell(str(jobs[0].result.training.get("backbone") or EMPTY)),
        }
        rows.append((model, cells))
    how = (
        "Mean over the jobs that measured it. GFLOP: one forward pass of one image, a multiplication and an addition "
        "count as two. Images/s: during training, without validation. Peak MiB: memory that training took above what "
        "the process held before. Latency: one image at a time on this machine's CPU."
    )
    notes = [how]
    errors, sources = (
        {model: _first(comparison.finished(model), name) for model in comparison.models}
        for name in ("export_error", "networks_of")
    )
    notes += [f"{model} could not be exported to OpenVINO: {error}" for model, error in errors.items() if error]
    for source in dict.fromkeys(name for name in sources.values() if name):
        takers = "; ".join(model for model, name in sources.items() if name == source)
        notes.append(f"With the networks of {source}, not trained again: {takers}.")
    heads = [head for head in (rows[0][1] if rows else ()) if any(cells[head].value != EMPTY for _, cells in rows)]
    return Table("Cost", ["model", *heads], [(model, [cells[head] for head in heads]) for model, cells in rows], notes)


def _cost_cell(jobs: Sequence[Job], part: str, name: str, form: str, unit: float = 1) -> Cell:
    """The mean of a number over the jobs that have it, without an exponent."""
    values = [value for job in jobs if (value := getattr(job.result, part).get(name)) is not None]
    if not values:
        return Cell()
    text = format(sum(values) / len(values) / unit, form)
    return Cell(f"{float(text):,.0f}" if "e" in text else text)


def _heads(columns: Sequence[Column]) -> list[str]:
    return [f"{METRIC_NAMES[metric]}, {stratum}" if stratum else METRIC_NAMES[metric] for stratum, metric in columns]


def _means(comparison: Comparison, found: Found, columns: Sequence[Column]) -> Iterator[tuple[str, list[Cell]]]:
    """Yield each model with its cells, the highest mean of a column in bold."""
    whole = _complete(comparison)
    best = {
        key: max((one.mean for name, one in found.items() if name[1:] == key and name[0] in whole), default=NAN)
        for key in columns
    }
    for model in comparison.models:
        yield model, [_cell(found.get((model, *key)), best[key]) for key in columns]


def _cell(one: Aggregate | None, best: float) -> Cell:
    if one is None:
        return Cell()
    value = f"{one.mean:.3f}"
    return Cell(
        value=value,
        spread="" if math.isnan(one.sd) else f" ± {one.sd:.3f}",
        detail="" if math.isnan(one.low) else f"[{one.low:.3f}, {one.high:.3f}]",
        # As the table writes it, so that equal numbers are equally bold.
        bold=value == f"{best:.3f}" and one.seeds > 1,
    )


def _difference(one: Aggregate | None) -> Cell:
    if one is None or math.isnan(one.difference_low):
        return Cell()
    interval = f"[{one.difference_low:+.3f}, {one.difference_high:+.3f}]"
    if one.difference_over == PATIENTS_ONLY:
        interval += f" {PATIENTS_ONLY}"
    tested = not math.isnan(one.p_holm)
    return Cell(
        value=f"{one.difference:+.3f}",
        detail=f"{interval}, p = {one.p_holm:.3f}" if tested else interval,
        bold=tested and one.p_holm < SIGNIFICANT,
    )


def _complete(comparison: Comparison) -> set[str]:
    """The models that ran on every fold that any model ran on; of the others a mean is over something else."""
    folds = {job.result.fold for model in comparison.models for job in comparison.finished(model)}
    return {model for model in comparison.models if {job.result.fold for job in comparison.finished(model)} == folds}


def _first(jobs: Sequence[Job], name: str) -> str | None:
    return next((str(job.result.training[name]) for job in jobs if job.result.training.get(name)), None)
