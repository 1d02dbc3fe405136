"""Finds lesions in PNG and JPEG images: each one through the model, its map over it, and a table of the scores."""

import hashlib
import io
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.data.image_files import find_input_images
from anomalib_patchgan.data.prepare.photographs import read_photograph
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.overlay import draw_overlay, resize_map
from anomalib_patchgan.deploy.predictor import SlicePredictor
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import DEFAULT_LIMITS, RECORDS, ReadLimits, hash_file, read_bytes, read_json, write_json
from anomalib_patchgan.outputs import write_csv, write_results, writing

FORMAT = 1
JSON, CSV = "scores.json", "scores.csv"
COLUMNS = ("image", "score", "is_anomalous", "overlay", "map", "error")


@dataclass(frozen=True, kw_only=True)
class ImageCase:
    """One image.

    Args:
        name: Its path below the folder without the ending, which its results take; with `/`.
        path: Its file.

    Example:
        >>> ImageCase(name="p1/slice_3", path=Path("in/p1/slice_3.png")).outputs(with_map=True)
        {'overlay': 'p1/slice_3_overlay.png', 'map': 'p1/slice_3_anomaly.tiff'}
    """

    name: str
    path: Path

    def outputs(self, *, with_map: bool) -> dict[str, str]:
        """Return the names of the files of its results by kind."""
        return {"overlay": f"{self.name}_overlay.png"} | ({"map": f"{self.name}_anomaly.tiff"} if with_map else {})


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """What a model says about one image.

    Args:
        case: The image.
        content: Its stored bytes.
        score: In [0, 1]; 0.5 is the threshold if the model has one.
        anomaly: Map at the size of the image, `(H, W)` float32 in [0, 1], with the same threshold.
        model: Name, file and SHA-256 of the model.
    """

    case: ImageCase
    content: bytes
    score: float
    anomaly: NDArray[np.float32]
    model: Mapping[str, str]

    def save(self, folder: Path, *, with_map: bool = False) -> Path:
        """Write `<name>_overlay.png`, `<name>_anomaly.tiff` if wanted and, last, the hidden record of both.

        Args:
            folder: Where to; made if missing.
            with_map: Whether to write the map, as TIFF of 32-bit floats.

        Returns:
            The image with the map over it.

        Raises:
            DataError: A file cannot be written; none is left half-written.
        """
        outputs = self.case.outputs(with_map=with_map)
        overlay, heat_map = self.case.outputs(with_map=True).values()
        image = read_photograph(self.content, self.case.path)
        files = {
            overlay: _encode(draw_overlay(image, self.anomaly), "PNG"),
            heat_map: _encode(Image.fromarray(self.anomaly), "TIFF") if with_map else None,
        }
        basis = _basis(self.model, hashlib.sha256(self.content).hexdigest(), outputs)
        content = basis | {"score": round(self.score, 6)}
        write_results(folder, files, record_path(folder, self.case), content, self.case.name)
        return folder / overlay


def find_image_cases(source: Path, output: Path) -> list[ImageCase]:
    """Find the images of a file or folder.

    Args:
        source: Image, or folder of images at any depth.
        output: Where results go; what lies there is none of the images.

    Raises:
        DatasetNotFoundError: There is no such file or folder, or no image in it.
        DataError: The file is a volume, or the results of two images would have one name.
        ConfigurationError: Results would lie among the images.
    """
    if not source.exists():
        msg = f"{source} does not exist: give an image or a folder of images as --input."
        raise DatasetNotFoundError(msg)
    if source.is_dir() and source.resolve() == output.resolve():
        msg = f"--out {output} is the folder of the images, whose heat maps would be taken for images: give another."
        raise ConfigurationError(msg)
    root = source if source.is_dir() else source.parent
    cases: dict[str, ImageCase] = {}
    for path in find_input_images(source):
        if source.is_dir() and path.resolve().is_relative_to(output.resolve()):
            continue
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in cases:
            msg = f"{path} and {cases[name].path.name} have the same stem, which must be unique: rename one of them."
            raise DataError(msg)
        cases[name] = ImageCase(name=name, path=path)
    return list(cases.values())


def predict_images(
    predictor: SlicePredictor,
    cases: Iterable[ImageCase],
    on_error: Callable[[ImageCase, PatchGanError], None],
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Iterator[ImageResult]:
    """Find lesions in images, one after the other.

    Args:
        predictor: The model.
        cases: The images.
        on_error: Is told of an image that cannot be used, which stops no other.
        limits: Bounds of what is read from a file.

    Yields:
        The result of each image that can be used, in their order, not written yet.

    Example:
        >>> predictor = SlicePredictor.load("edge/FP32/model.xml")  # doctest: +SKIP
        >>> for result in predict_images(predictor, find_image_cases(folder, out), print):  # doctest: +SKIP
        ...     result.save(out)
    """
    # As stored: the pixels of some large photographs would fill the memory of a small machine.
    waiting: deque[tuple[ImageCase, bytes, tuple[int, int]]] = deque()

    def read() -> Iterator[NDArray[np.uint8]]:
        for case in cases:
            try:
                content = read_bytes(case.path, limits)
                pixels = np.asarray(read_photograph(content, case.path, limits))
            except PatchGanError as error:  # noqa: PERF203 - one bad image does not stop the others
                on_error(case, error)
            else:
                waiting.append((case, content, pixels.shape[:2]))
                yield pixels

    for score, anomaly in predictor.predict(read()):
        case, content, size = waiting.popleft()
        yield ImageResult(
            case=case,
            content=content,
            score=score,
            anomaly=resize_map(anomaly, size),
            model=predictor.identity,
        )


def read_score(case: ImageCase, folder: Path, model: Mapping[str, str], *, with_map: bool) -> float | None:
    """Return the score of an image whose results are there, of this model and of this very file; else `None`."""
    record = read_json(record_path(folder, case)) or {}
    outputs = case.outputs(with_map=with_map)
    score: Any = record.pop("score", None)
    if not all((folder / name).is_file() for name in outputs.values()) or not case.path.is_file():
        return None
    if record != _basis(model, hash_file(case.path), outputs):
        return None
    return score if isinstance(score, float) and math.isfinite(score) else None


def record_path(folder: Path, case: ImageCase) -> Path:
    """Return the file that says that the results of an image are complete."""
    return folder / RECORDS / f"{case.name}.json"


def _basis(model: Mapping[str, str], sha256: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    return {"format": FORMAT, "model": dict(model), "sha256": sha256, "outputs": dict(outputs)}


def _encode(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    settings = {"compress_level": 1} if form == "PNG" else {"compression": "tiff_adobe_deflate"}
    image.save(buffer, format=form, **settings)
    return buffer.getvalue()


def write_scores(
    folder: Path,
    cases: Sequence[ImageCase],
    scores: Mapping[str, float],
    failed: Mapping[str, str],
    predictor: SlicePredictor,
    *,
    with_map: bool,
) -> Path:
    """Write both tables, in the order of the images.

    Args:
        folder: Where results go.
        cases: The images.
        scores: Score of each image by its name.
        failed: Why an image has none, by its name.
        predictor: The model.
        with_map: Whether maps were written, too.

    Returns:
        The CSV file.

    Raises:
        DataError: They cannot be written.
    """
    rows = []
    for case in cases:
        score = scores.get(case.name)
        row = dict.fromkeys(COLUMNS) | {"image": str(case.path), "error": failed.get(case.name)}
        if score is not None:
            row |= {"score": round(score, 6), "is_anomalous": predictor.judge(score)}
            row |= case.outputs(with_map=with_map)
        rows.append(row)
    record = {
        "format": FORMAT,
        "model": predictor.identity,
        "threshold": THRESHOLD if predictor.has_thresholds else None,
        "versions": dict(predictor.card.versions),
        "images": rows,
    }
    with writing("the scores", folder):
        write_json(folder / JSON, record)
        write_csv(folder / CSV, COLUMNS, rows)
    return folder / CSV


def remove_scores(folder: Path) -> None:
    """Remove the tables of an earlier run, which the images that are done next would contradict."""
    for name in (JSON, CSV):
        (folder / name).unlink(missing_ok=True)
