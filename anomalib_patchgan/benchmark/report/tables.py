"""The tables of the report, for Markdown and HTML alike."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anomalib_patchgan.benchmark.report.analyse import PATIENTS_ONLY, Aggregate
from anomalib_patchgan.benchmark.report.load import Comparison, Job
from anomalib_patchgan.benchmark.report.resampling import FEWEST_FOR_TEST, RESAMPLES
from anomalib_patchgan.benchmark.results import PIXEL_BINS
from anomalib_patchgan.measure.patient_scores import PATIENT_METRICS

METRICS = {
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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: a number, its spread, and what stands below or behind it."""

    value: str = EMPTY
    spread: str = ""
    detail: str = ""
    bold: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Args:
        title: What it shows.
        columns: Heads of the columns; the first is that of the rows' names.
        rows: Name and cells of each row.
        notes: Sentences below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str]


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


Found = Mapping[tuple[str, str, str], Aggregate]


def _metrics(comparison: Comparison, found: Found) -> Table:
    columns = [metric for metric in METRICS if any((model, "", metric) in found for model in comparison.models)]
    whole = _complete(comparison)
    best = {key: _best((one for name, one in found.items() if name[1:] == ("", key)), whole) for key in columns}
    rows = []
    for model in comparison.models:
        jobs = comparison.finished(model)
        seeds = str(len({job.result.seed for job in jobs}))
        folds = {job.result.fold for job in jobs}
        cells = [Cell(value=seeds if model in whole else f"{seeds}, {len(folds)} folds only")]
        cells += [_cell(found.get((model, "", metric)), best[metric]) for metric in columns]
        rows.append((model, cells))
    spread = (
        "Mean over seeds ± standard deviation over seeds, where there are several. In brackets, where given: 95 % "
        "interval over patients and seeds, so it says how much the number depends on the patients of the test split "
        "and on the randomness of training; where no ± stands nothing is known of the latter, and the interval is over "
        f"{PATIENTS_ONLY}. Student's t, from the seeds' variance and {RESAMPLES} bootstrap samples of the patients "
        "(each drawn with all its images). The best mean of a column is bold if it is that of several seeds."
    )
    notes = [spread]
    if len({job.result.fold for job in comparison.jobs}) > 1:
        notes.append(
            "Folds are averaged within each seed; a seed that misses a fold counts for the mean alone. A model that "
            "misses folds is never the best."
        )
    if "pixel_AUROC" in columns:
        notes.append(
            "Pixel metrics take all pixels of a test split together; a model without a map has none. Their intervals "
            f"come from counts of pixels in {PIXEL_BINS} bins of the map's value."
        )
    else:
        notes.append("No pixel metrics: they need masks of the lesions in the test split, and a model with a map.")
    if set(PATIENT_METRICS) & set(columns):
        notes.append(
            "A patient with a lesion in any image is abnormal. Its score is the highest of its images or, top 3, the "
            "mean of the highest three, or of as large a share where it has more or fewer images than the median "
            "patient. Intervals and tests need as many healthy patients, and as many others, as elsewhere patients. "
            "The validation threshold of patients is that of their top 3, chosen on healthy validation patients."
        )
    if any("at val" in METRICS[metric] for metric in columns):
        best_dice = ", best Dice on the test data themselves" if "pixel_best_dice" in columns else ""
        notes.append(f"The validation threshold was chosen on validation data{best_dice}.")
    return Table(
        title="Metrics", columns=["model", "seeds", *(METRICS[name] for name in columns)], rows=rows, notes=notes
    )


def _differences(comparison: Comparison, found: Found) -> Table:
    reference = comparison.reference
    known = {(one.stratum, one.metric): None for one in found.values() if not math.isnan(one.difference_low)}
    columns = sorted(known, key=lambda key: (key[0], list(METRICS).index(key[1])))
    rows = []
    for model in comparison.models:
        if model == reference:
            continue
        ones = [found.get((model, *key)) for key in columns]
        rows.append((model, [_difference(one) for one in ones]))
    heads = [f"{METRICS[metric]}, {stratum}" if stratum else METRICS[metric] for stratum, metric in columns]
    how = (
        f"Model minus {reference}, positive where the model is better, with its 95 % interval and two-sided p-value "
        "over patients (the same are drawn for both) and seeds, p corrected by Holm's method for the rivals in a "
        f"column. Differences with p below {SIGNIFICANT} are bold. Where either of the two has fewer than two seeds "
        f"that ran all folds, a difference may be the luck of one training: its interval is over {PATIENTS_ONLY} and "
        f"there is no p; nor is there with fewer than {FEWEST_FOR_TEST} patients. Only folds that both have are "
        "compared, and only models tested on the same images."
    )
    return Table(title=f"Differences to {reference}", columns=["model", *heads], rows=rows, notes=[how])


def _strata(comparison: Comparison, found: Found) -> Table:
    keys = dict.fromkeys((stratum, metric) for _, stratum, metric in found if stratum)
    columns = [key for metric in ("image_AUROC", "image_AP") for key in sorted(keys) if key[1] == metric]
    whole = _complete(comparison)
    best = {key: _best((one for name, one in found.items() if name[1:] == key), whole) for key in columns}
    rows = [
        (model, [_cell(found.get((model, *key)), best[key]) for key in columns])
        for model in comparison.models
        if any((model, *key) in found for key in columns)
    ]
    notes = ["The lesion images of one stratum against all normal images; mean, spread and interval as above."]
    heads = [f"{METRICS[metric]}, {stratum}" for stratum, metric in columns]
    return Table(title="Strata", columns=["model", *heads], rows=rows, notes=notes)


def _cost(comparison: Comparison) -> Table:
    rows = []
    for model in comparison.models:
        jobs = comparison.finished(model)
        training = jobs[0].result.training
        size = [_mean(jobs, "cost", name) for name in ("image_height", "image_width")]
        flops = _mean(jobs, "cost", "flops")
        numbers = [
            (_mean(jobs, "cost", "parameters"), ",.0f"),
            (None if flops is None else flops / 1e9, ".3g"),
            (_mean(jobs, "training", "epochs"), "g"),
            (_mean(jobs, "cost", "training_seconds"), ".0f"),
            (_mean(jobs, "cost", "training_images_per_second"), ".3g"),
            (_mean(jobs, "cost", "peak_memory_MiB"), ".0f"),
            *((_mean(jobs, "cost", f"torch_{name}_ms"), ".3g") for name in ("p50", "p95")),
            *((_mean(jobs, "cost", f"openvino_{name}_ms"), ".3g") for name in ("p50", "p95")),
            (_mean(jobs, "cost", "openvino_MB"), ".3g"),
        ]
        cells = [Cell(value=EMPTY if number is None else _plain(number, form)) for number, form in numbers]
        cells.insert(2, Cell(value=EMPTY if None in size else "x".join(f"{side:g}" for side in size)))
        rows.append((model, [*cells, Cell(value=str(training.get("backbone") or EMPTY))]))
    heads = ["parameters", "GFLOP", "image size", "epochs", "training s", "images/s", "peak MiB", "torch p50 ms",
             "torch p95 ms", "OpenVINO p50 ms", "OpenVINO p95 ms", "OpenVINO MB", "backbone"]  # fmt: skip
    how = (
        "Mean over the jobs that measured it. GFLOP: one forward pass of one image, a multiplication and an addition "
        "count as two. Images/s: during training, without validation. Peak MiB: memory that training took above what "
        "the process held before. Latency: one image at a time on this machine's CPU."
    )
    errors = {model: _first(comparison.finished(model), "export_error") for model in comparison.models}
    notes = [how, *(f"{model} could not be exported to OpenVINO: {error}" for model, error in errors.items() if error)]
    sources = {model: _first(comparison.finished(model), "networks_of") for model in comparison.models}
    for source in dict.fromkeys(name for name in sources.values() if name):
        takers = "; ".join(model for model, name in sources.items() if name == source)
        notes.append(f"With the networks of {source}, not trained again: {takers}.")
    kept = [column for column in range(len(heads)) if any(cells[column].value != EMPTY for _, cells in rows)]
    columns = ["model", *(heads[column] for column in kept)]
    rows = [(model, [cells[column] for column in kept]) for model, cells in rows]
    return Table(title="Cost", columns=columns, rows=rows, notes=notes)


def _cell(one: Aggregate | None, best: str) -> Cell:
    if one is None:
        return Cell()
    value = f"{one.mean:.3f}"
    return Cell(
        value=value,
        spread="" if math.isnan(one.sd) else f" ± {one.sd:.3f}",
        detail="" if math.isnan(one.low) else f"[{one.low:.3f}, {one.high:.3f}]",
        bold=value == best and one.seeds > 1,
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


def _best(ones: Iterable[Aggregate], models: set[str]) -> str:
    """The highest mean of some models as the table writes it, so that equal numbers are equally bold."""
    return f"{max((one.mean for one in ones if one.model in models), default=math.nan):.3f}"


def _mean(jobs: Sequence[Job], part: str, name: str) -> float | None:
    values = [value for job in jobs if (value := getattr(job.result, part).get(name)) is not None]
    return sum(values) / len(values) if values else None


def _first(jobs: Sequence[Job], name: str) -> str | None:
    return next((str(job.result.training[name]) for job in jobs if job.result.training.get(name)), None)


def _plain(number: float, form: str) -> str:
    """Write a number without an exponent."""
    text = format(number, form)
    return f"{float(text):,.0f}" if "e" in text else text
