"""`scores.json` and `scores.csv`: one line for each image of a folder."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalib_patchgan.deploy.images import FORMAT, ImageCase, judge
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.predictor import SlicePredictor
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import write_atomically, write_json

JSON, CSV = "scores.json", "scores.csv"
COLUMNS = ("image", "score", "is_anomalous", "overlay", "map", "error")


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
            row |= {"score": round(score, 6), "is_anomalous": judge(score, has_thresholds=predictor.has_thresholds)}
            row |= case.outputs(with_map=with_map)
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    record = {
        "format": FORMAT,
        "model": predictor.identity,
        "threshold": THRESHOLD if predictor.has_thresholds else None,
        "versions": dict(predictor.card.versions),
        "images": rows,
    }
    try:
        write_json(folder / JSON, record)
        # A name that is not UTF-8 stands in both tables as escapes.
        write_atomically(folder / CSV, text.getvalue().encode(errors="backslashreplace"))
    except OSError as error:
        msg = f"the scores cannot be written to {folder} ({error.strerror}): check space and permissions."
        raise DataError(msg) from error
    return folder / CSV


def remove_scores(folder: Path) -> None:
    """Remove the tables of an earlier run, which the images that are done next would contradict."""
    for name in (JSON, CSV):
        (folder / name).unlink(missing_ok=True)
