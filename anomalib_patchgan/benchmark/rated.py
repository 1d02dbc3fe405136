"""The models of a run with what they reached on given test images."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anomalib_patchgan.benchmark.job_spec import JobSpec, canonical
from anomalib_patchgan.benchmark.report.load import Job, Merged, list_some
from anomalib_patchgan.benchmark.report.resampling import spread
from anomalib_patchgan.benchmark.results import JobResult
from anomalib_patchgan.errors import PatchGanError, one_line

# Metric of a job by the name that it has in an edge profile.
QUALITY = {"image_AUROC": "image_AUROC", "pixel_AP": "pixel_AP", "best_dice": "pixel_best_dice"}
SETTINGS = ("model_config", "data_config", "trainer")
MAX_SIDE = 4096


@dataclass(frozen=True, kw_only=True)
class RatedModel:
    """A model of a run, tested on the images in question.

    Args:
        name: Its name in the run; followed by that of the data where the run has it on several with these images.
        job: Id of the job whose configuration this is.
        spec: What that job had to do.
        size: Height and width of its images.
        quality: `QUALITY`: mean over the seeds, with `_sd` behind the name the standard deviation over them; and
            `seeds`, their number. `None` where undefined.
        evaluation_size: Height and width of the maps that the pixel metrics are of.
        megabytes: Size of the run's own export in 10**6 bytes; `None` if there was none.
        older_code: Whether the results are of other code of the model than the run's last.
    """

    name: str
    job: str
    spec: JobSpec
    size: tuple[int, int]
    quality: Mapping[str, float | None]
    evaluation_size: tuple[int, int]
    megabytes: float | None
    older_code: bool


def rate_models(merged: Merged, images: Mapping[str, bool]) -> tuple[list[RatedModel], list[str]]:
    """Find the models of a run that were tested on exactly these images.

    Args:
        merged: The run.
        images: Whether each image holds a lesion, by its path below the folder that all have in common.

    Returns:
        The models in the order of the run's tables, and what is to be said of those and of the jobs left out.
    """
    remarks = list(merged.notes)
    rated: list[RatedModel] = []
    elsewhere: list[Job] = []
    for one in merged.comparisons:
        for model, errors in _by_model(one.failed).items():
            remarks.append(f"{len(errors)} of {model}'s jobs in the run failed and are left out: {errors[0]}")
        for model in one.models:
            jobs: list[Job] = []
            for job in one.finished(model):
                try:
                    same = _images_of(job) == images
                except PatchGanError as error:
                    remarks.append(f"The job {job.result.id} of the run is left out: {one_line(error)}")
                    continue
                (jobs if same else elsewhere).append(job)
            if not jobs:
                continue
            found = _rate(model, jobs)
            if isinstance(found, str):
                remarks.append(f"{model} is left out: {found}")
            else:
                rated.append(found)
    if elsewhere:
        models = list_some(list(dict.fromkeys(job.result.model for job in elsewhere)))
        remarks.append(f"{len(elsewhere)} jobs of the run are left out: they tested other images ({models}).")
    return _with_data(rated), remarks


def _images_of(job: Job) -> dict[str, bool]:
    """Return whether each test image of a job holds a lesion, by its path."""
    scores = job.scores()
    return dict(zip(map(str, scores.image), map(bool, scores.label), strict=False))


def _rate(model: str, jobs: Sequence[Job]) -> RatedModel | str:
    """Average the jobs of a model; or say why that cannot be done."""
    settings = {canonical({name: job.result.spec.get(name) for name in SETTINGS}) for job in jobs}
    sizes = {_size(job.result.cost) for job in jobs}
    # The one that was timed in the run, whose export has a known size.
    first = next((job for job in jobs if job.result.cost.get("openvino_MB")), jobs[0]).result
    spec, size = spec_of(first), sizes.pop()
    if len(settings) > 1 or sizes:
        return "its jobs have different settings or image sizes"
    if spec is None or size is None:
        return f"the job {first.id} does not say which model it was, or at which image size"
    quality: dict[str, float | None] = {"seeds": float(len({job.result.seed for job in jobs}))}
    for name, metric in QUALITY.items():
        found = spread(jobs, metric, "")
        quality[name] = found.mean if found.seed_means and math.isfinite(found.mean) else None
        quality[f"{name}_sd"] = found.sd if math.isfinite(found.sd) else None
    return RatedModel(
        name=model,
        job=first.id,
        spec=spec,
        size=size,
        quality=quality,
        evaluation_size=spec.evaluation_size or size,
        megabytes=first.cost.get("openvino_MB"),
        older_code=any(job.older_code for job in jobs),
    )


def _size(cost: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of a job's images; `None` if it does not say."""
    height, width = (cost.get(f"image_{side}") for side in ("height", "width"))
    if isinstance(height, int) and isinstance(width, int) and 0 < min(height, width) <= max(height, width) <= MAX_SIDE:
        return height, width
    return None


def spec_of(job: JobResult) -> JobSpec | None:
    """Return what a job had to do; `None` if its record does not say which model it was.

    Args:
        job: Its record, which may be anybody's.
    """
    content = job.spec
    config, data, trainer = (content.get(name) for name in SETTINGS)
    if not isinstance(config, Mapping) or not isinstance(data, Mapping):
        return None
    class_path, arguments = config.get("class_path"), config.get("init_args", {})
    if not isinstance(class_path, str) or not isinstance(arguments, Mapping):
        return None
    size = content.get("evaluation_size")
    pair = isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)  # noqa: PLR2004
    return JobSpec(
        model=job.model,
        data=job.data,
        fold=job.fold,
        seed=abs(job.seed),
        model_config={"class_path": class_path, "init_args": dict(arguments)},
        data_config=data,
        trainer=trainer if isinstance(trainer, Mapping) else None,
        evaluation_size=(size[0], size[1]) if isinstance(size, list) and pair else None,
    )


def _by_model(failed: Sequence[JobResult]) -> dict[str, list[str]]:
    """Return the errors of failed jobs by their model."""
    errors: dict[str, list[str]] = {}
    for job in failed:
        errors.setdefault(job.model, []).append(str(job.error))
    return errors


def _with_data(rated: Sequence[RatedModel]) -> list[RatedModel]:
    """Tell apart models of one name on several data with the same images."""
    count = Counter(one.name for one in rated)
    return [replace(one, name=f"{one.name}, {one.spec.data}") if count[one.name] > 1 else one for one in rated]
