"""What one job of a benchmark leaves behind: `jobs/ID.json` for people, `jobs/ID.npz` for the report.

A run folder holds `run.json` (the configuration and the command), `jobs/` and what the report makes of them. The NPZ
file is renamed into place before the JSON file: a job whose JSON file exists is complete. Copies of test images lie
apart, in `examples/ID.npz`: scores may be published where images may not, and a report can do without them. So do the
networks that rows share, in `networks/ID.pt`, with training images beside them.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.files import read_json, write_atomically, write_json
from anomalib_patchgan.measure.curves import require_finite

FORMAT = 2
RUN = "run.json"
JOBS = "jobs"
EXAMPLES = "examples"
_EXAMPLE = "example"
# Bins of the pixel counts; the report's intervals use them, the metrics themselves do not.
PIXEL_BINS = 256
# Fields of a job: numbers by name, and anything by name.
_NUMBERS = ("metrics", "thresholds", "cost")
_RECORDS = ("spec", "strata", "training", "environment", "code")


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The numbers of one job.

    Args:
        id: Name of its files, unique in a run.
        model: Name of the model in the tables.
        data: Name of the comparison; jobs of one name are compared with each other.
        fold: Which of several splits of these data; "" when there is only one.
        seed: Seed of the training.
        spec: What the job was asked to do, as read from the configuration.
        error: Why it failed, in one line; `None` when it finished. A failed job has no numbers.
        metrics: Metrics of the test split; `None` where undefined (no lesion, no mask, no patient without lesion).
        strata: The image metrics of each stratum of lesions against all normal images.
        thresholds: `image` and `pixel`, both chosen on validation data, and `patient`, chosen on its healthy patients.
        cost: Parameters, time and memory; `None` where not measured.
        training: Epochs, the chosen checkpoint, the metrics on validation data, the numbers of images; `networks_of`
            names the model whose networks were taken over, if there was no training.
        environment: Machine, versions, threads and time.
        code: What computed the numbers, by `model` and `data`: a hash of the plugin's code, or name and version of
            another package.
    """

    id: str
    model: str
    data: str
    fold: str
    seed: int
    spec: Mapping[str, Any]
    error: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    strata: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class JobScores:
    """The raw scores of one job on the test split, N images in the order of the sample table.

    Args:
        image: Path of each image below the data's folder, `(N,)`.
        patient: Patient or, for photographs, image that a sample comes from, `(N,)`: what a bootstrap resamples.
        stratum: `large`, `small` or "" for each image, `(N,)`.
        label: Whether the image holds a lesion, `(N,)` bool.
        score: Raw scores, higher is more anomalous, `(N,)` float64.
        pixel_patient: The P patients, `(P,)`; P is 0 without masks.
        positives: Lesion pixels of each patient in each bin of the raw map, lowest values first, `(P, K)` uint32.
        negatives: The other pixels, of the same shape.
        example: Indices of the M images below, ascending, `(M,)`.
        example_image: The images themselves, `(M, h, w, 3)` uint8.
        example_mask: Their lesions, `(M, h, w)` bool.
        example_map: Their raw maps scaled to 0-255, the same scale for all images of the job, `(M, h, w)` uint8.
    """

    image: NDArray[np.str_]
    patient: NDArray[np.str_]
    stratum: NDArray[np.str_]
    label: NDArray[np.bool_]
    score: NDArray[np.float64]
    pixel_patient: NDArray[np.str_] = field(default_factory=lambda: np.empty((0,), np.str_))
    positives: NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 0), np.uint32))
    negatives: NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 0), np.uint32))
    example: NDArray[np.int64] = field(default_factory=lambda: np.empty((0,), np.int64))
    example_image: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0, 3), np.uint8))
    example_mask: NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0, 0), np.bool_))
    example_map: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0), np.uint8))


def write_job(run: Path, result: JobResult, scores: JobScores | None) -> None:
    """Write the files of a job, each atomically.

    Args:
        run: Run folder.
        result: The numbers.
        scores: The raw scores; `None` for a failed job.
    """
    if scores is not None:
        arrays = vars(scores)
        images = {name: array for name, array in arrays.items() if name.startswith(_EXAMPLE)}
        if len(scores.example):
            _write_arrays(run / EXAMPLES / f"{result.id}.npz", images)
        _write_arrays(run / JOBS / f"{result.id}.npz", {name: arrays[name] for name in arrays if name not in images})
    write_json(run / JOBS / f"{result.id}.json", {"format": FORMAT, **asdict(result)})


def read_job(path: Path) -> JobResult | None:
    """Read the JSON file of a job.

    Returns:
        The numbers; `None` when there is no such file or, after a crash of the machine, not a whole one.

    Raises:
        DataError: The file is of another version of this package, or no job's.
    """
    content = read_json(path)
    if content is None:
        return None
    if content.pop("format", None) != FORMAT:
        msg = f"{path} is not a job of this version's benchmark (format {FORMAT}): run the benchmark with --force."
        raise DataError(msg)
    try:
        result = JobResult(**content)
    except TypeError as error:
        msg = f"{path} is not a whole job of a benchmark ({error}): delete it and run the benchmark again."
        raise DataError(msg) from error
    if wrong := _wrong_fields(result):
        msg = f"{path} is not a whole job of a benchmark ({wrong}): delete it and run the benchmark again."
        raise DataError(msg)
    # Its images are looked for under this name and embedded into the report: it must not lead elsewhere.
    if result.id != path.stem:
        msg = f"{path} is the job {result.id!a}, not that of its name: delete it and run the benchmark again."
        raise DataError(msg)
    return result


def _wrong_fields(result: JobResult) -> str:
    """Name the fields that a job's file has in another form; an empty text for none."""
    kinds: dict[type, tuple[str, ...]] = {str: ("model", "data", "fold"), int: ("seed",), dict: (*_NUMBERS, *_RECORDS)}
    wrong = [name for kind, names in kinds.items() for name in names if not isinstance(getattr(result, name), kind)]
    wrong += [
        f"{name}: {key}"
        for name in _NUMBERS
        if name not in wrong
        for key, value in getattr(result, name).items()
        if not isinstance(value, int | float | None)
    ]
    return ", ".join(wrong)


def read_jobs(run: Path) -> list[JobResult]:
    """Read the JSON files of all jobs in a run folder, in the order of their ids.

    Raises:
        DataError: A job's file is not usable.
    """
    return [result for path in sorted((run / JOBS).glob("*.json")) if (result := read_job(path)) is not None]


def read_scores(path: Path) -> JobScores:
    """Read the NPZ file of a job, and that of its examples where there is one.

    Raises:
        DatasetNotFoundError: There are no scores.
        DataError: A file is damaged, or a score is NaN or infinite.
    """
    examples = path.parents[1] / EXAMPLES / path.name
    arrays, images = _read_arrays(path), _read_arrays(examples) if examples.is_file() else {}
    try:
        scores = JobScores(**arrays, **images)
        require_finite(scores.score, "scores")
    except TypeError as error:
        msg = f"{path} is not of this version's benchmark ({error}): run the benchmark again with --force."
        raise DataError(msg) from error
    except DataError as error:
        msg = f"{path}: {error}"
        raise DataError(msg) from error
    return scores


def _write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write an NPZ file atomically."""
    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        # numpy would pickle them. Its own argument against that is the name of an array before numpy 2.1.
        msg = f"arrays of objects are not written: {', '.join(objects)}."
        raise TypeError(msg)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type] # no array is called allow_pickle
    write_atomically(path, buffer.getvalue())


def _read_arrays(path: Path) -> dict[str, NDArray]:
    """Read an NPZ file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        msg = f"No raw scores at {path}: run the benchmark again with the same --out, which makes what is missing."
        raise DatasetNotFoundError(msg) from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        msg = f"{path} is damaged ({error}): delete it and its JSON file and run the benchmark again."
        raise DataError(msg) from error


def read_run(run: Path) -> tuple[dict[str, Any], list[JobResult]]:
    """Read the description and all jobs of a run.

    Returns:
        `run.json` and the numbers of the jobs, in the order of their ids.

    Raises:
        DatasetNotFoundError: The folder holds no run or no job.
        DataError: `run.json` or a job's file is not usable.
    """
    description = read_json(run / RUN)
    if description is None:
        msg = f"No benchmark run at {run.absolute()}: it holds no {RUN}; give the --out of `benchmark`."
        raise DatasetNotFoundError(msg)
    wrong = [name for name in ("jobs", "models", "older_code") if not isinstance(description.get(name, []), list)]
    if wrong:
        msg = f"{run / RUN} is not of a benchmark ({', '.join(wrong)} must be a list): run the benchmark again."
        raise DataError(msg)
    results = read_jobs(run)
    if not results:
        msg = f"No finished job in {run.absolute() / JOBS}: run the benchmark first."
        raise DatasetNotFoundError(msg)
    return description, results
