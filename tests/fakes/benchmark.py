"""Writes run folders of benchmarks that never ran: made-up scores with their true metrics."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from anomalib_patchgan.benchmark.results import FORMAT, RUN, JobResult, JobScores, read_run, read_scores, write_job
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.detection import image_metrics, patient_metrics, stratum_metrics
from anomalib_patchgan.measure.localisation import pixel_counts, pixel_metrics

# How far lesions lie above normal images, in standard deviations of either.
MODELS: Mapping[str, float] = {"PatchGan": 2.0, "Padim": 1.6, "Autoencoder": 0.8, "MeanIntensity": 0.2}
# Rules with one seed and, except the first, without a map.
RULES = ("MeanIntensity",)
SIDE = 16


def write_run(
    run: str | Path,
    *,
    models: Mapping[str, float] = MODELS,
    data: Sequence[str] = ("discs",),
    folds: Sequence[str] = ("",),
    seeds: Sequence[int] = (0, 1, 2),
    failed: Sequence[str] = ("Ganomaly",),
    error: str = "RuntimeError: the generator has no gradient",
    reference: str | None = "PatchGan",
    patients: int = 12,
    slices: int = 6,
    side: int = SIDE,
    examples: bool = True,
    healthy: int = 0,
    seed: int = 0,
) -> Path:
    """Write a run: every model with every fold and seed (rules with the first seed), and failed jobs.

    Half of the images of each patient who is not healthy hold a lesion, every second one large. The scores depend on
    all arguments but `failed`; the images and their order on data, fold and `patients` alone, so that models are
    compared on the same.

    Args:
        run: Folder to write into.
        models: Name and separation of each model.
        data: Names of the data.
        folds: Names of the folds, each with patients of its own.
        seeds: Seeds.
        failed: Models whose jobs failed.
        error: Their error.
        reference: Model that the others are tested against.
        patients: Patients of each fold.
        slices: Images of each patient.
        side: Height and width of the maps.
        examples: Whether the first job of a model has costs and example images.
        healthy: Patients of each fold without a lesion.
        seed: Seed of the scores.

    Returns:
        The folder.
    """
    run = Path(run)
    names = [*models, *failed]
    jobs = [
        _job(names.index(model), model, one, fold, number)
        for one in data
        for fold in folds
        for model in names
        for number in (seeds[:1] if model in RULES else seeds)
    ]
    for job in jobs:
        first = (job["fold"], job["seed"]) == (folds[0], seeds[0])
        if job["model"] in failed:
            result, scores = JobResult(**job, error=error, environment=_environment()), None
        else:
            rng = np.random.default_rng([seed, *job["id"].encode()])
            result, scores = _finish(
                job, models[job["model"]], patients, healthy, slices, side, examples and first, rng
            )
        write_job(run, result, scores)
    write_json(
        run / RUN,
        {
            "format": FORMAT,
            "name": run.name,
            "reference": reference,
            "command": f"anomalib-patchgan benchmark --config {run.name}.yaml",
            "config": {},
            "jobs": [job["id"] for job in jobs],
            "models": names,
        },
    )
    return run


def jobs_of(run: Path, model: str, folds: Collection[str] = ("", "a", "b")) -> list[tuple[JobResult, JobScores]]:
    """Read the results and scores of a model's finished jobs."""
    results = [result for result in read_run(run)[1] if result.model == model and result.fold in folds]
    return [(one, read_scores(run / "jobs" / f"{one.id}.npz")) for one in results if one.error is None]


def _job(number, model, data, fold, seed):
    identity = "--".join([f"model-{number}", f"{data}".replace(" ", "-"), *([fold] if fold else []), f"seed-{seed}"])
    return {"id": identity, "model": model, "data": data, "fold": fold, "seed": seed, "spec": {"accelerator": "cpu"}}


def _finish(job, separation, patients, healthy, slices, side, measured, rng):
    """Make up a finished job, with the metrics of its made-up scores."""
    patient = np.repeat([f"{job['fold']}P{number:02d}" for number in range(patients)], slices)
    number = np.tile(np.arange(slices), patients)
    label = (number >= slices // 2) & (np.repeat(np.arange(patients), slices) >= healthy)
    stratum = np.where(label, np.where(number % 2 == 0, "large", "small"), "")
    # Patients differ, which is why they are resampled and not slices.
    shift = np.repeat(rng.normal(0, 0.5, patients), slices)
    score = 5 + shift + rng.normal(0, 1, label.size) + separation * label * np.where(stratum == "small", 0.7, 1.3)
    with_map = job["model"] not in RULES
    masks = _masks(label, stratum, side)
    maps = rng.normal(0, 1, masks.shape) + separation * masks
    metrics = image_metrics(score, label, 6.0) | patient_metrics(score, label, patient)
    pixels = {}
    if with_map:
        metrics |= pixel_metrics(maps, masks, patient, 2.0)
        # Patients have as many slices each.
        counts = [one.reshape(patients, slices, -1).sum(1, dtype=np.uint32) for one in pixel_counts(maps, masks)]
        pixels = {"pixel_patient": patient[::slices], "positives": counts[0], "negatives": counts[1]}
    shown = np.flatnonzero(label)[:8] if measured and with_map else np.zeros(0, dtype=np.int64)
    cost = {"training_seconds": 30.0 + 10 * job["seed"], "image_height": 64, "image_width": 48}
    if measured:
        cost |= {"parameters": 1_234_567, "flops": 2_500_000_000, "torch_p50_ms": 12.5, "torch_p95_ms": 14.0}
        cost |= {"openvino_p50_ms": None if job["model"] == "Padim" else 3 + 5 * separation, "peak_memory_MiB": 321.4}
    result = JobResult(
        **job,
        metrics=metrics,
        strata=stratum_metrics(score, label, stratum),
        thresholds={"image": 6.0, "pixel": 2.0},
        cost=cost,
        training={
            "epochs": 4,
            "backbone": "resnet18, random" if job["model"] == "Padim" else "",
            "images_test": label.size,
        },
        environment=_environment(),
    )
    return result, JobScores(
        image=np.array([f"abnormal/{a}_{b:02d}.png" if c else f"normal/{a}_{b:02d}.png"
                        for a, b, c in zip(patient, number, label, strict=True)]),
        patient=patient,
        stratum=stratum,
        label=label,
        score=score,
        **pixels,
        example=shown,
        example_image=np.stack([_enlarge(np.repeat(90 + 80 * mask[..., None], 3, axis=2)) for mask in masks[shown]])
        if shown.size else np.zeros((0, 0, 0, 3), dtype=np.uint8),
        example_mask=np.stack([_enlarge(mask) for mask in masks[shown]]) > 0
        if shown.size else np.zeros((0, 0, 0), dtype=bool),
        example_map=np.stack([_enlarge(np.clip(one * 50 + 60, 0, 255)) for one in maps[shown]])
        if shown.size else np.zeros((0, 0, 0), dtype=np.uint8),
    )  # fmt: skip


def _masks(label, stratum, side):
    """A square in each lesion image, small or large, at a place of its own."""
    masks = np.zeros((label.size, side, side), dtype=bool)
    for index in np.flatnonzero(label):
        size = side // 3 if stratum[index] == "large" else side // 6
        top, left = index % (side - size), 3 * index % (side - size)
        masks[index, top : top + size, left : left + size] = True
    return masks


def _enlarge(pixels):
    image = Image.fromarray(pixels.astype(np.uint8))
    return np.asarray(image.resize((64, 64), Image.Resampling.NEAREST))


def _environment():
    return {
        "machine": "Test Processor",
        "cores": 2,
        "threads": 1,
        "accelerator": "cpu",
        "python": "3.11.2",
        "commit": "4a1b2c3d",
        "versions": {"anomalib": "2.7.0", "torch": "2.10.0"},
        "started": "2026-11-20T10:00:00+00:00",
        "seconds": 40.0,
    }
