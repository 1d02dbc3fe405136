"""What a job leaves behind, and what may be published of it."""

import numpy as np
import pytest

from anomalib_patchgan.benchmark import results
from anomalib_patchgan.benchmark.results import EXAMPLES, JOBS, JobResult, JobScores, read_scores, write_job
from anomalib_patchgan.errors import DataError, DatasetNotFoundError


@pytest.fixture
def written(tmp_path):
    """A job with one example image, and the path of its scores."""
    result = JobResult(id="a", model="A", data="D", fold="", seed=0, spec={})
    scores = JobScores(
        image=np.array(["x.png"]),
        patient=np.array(["p"]),
        stratum=np.array([""]),
        label=np.array([True]),
        score=np.array([0.5]),
        example=np.array([0]),
        example_image=np.full((1, 4, 4, 3), 7, np.uint8),
        example_mask=np.ones((1, 4, 4), bool),
        example_map=np.full((1, 4, 4), 9, np.uint8),
    )
    write_job(tmp_path, result, scores)
    return tmp_path / JOBS / "a.npz"


def test_scores_without_images_are_whole(written):
    assert read_scores(written).example_image.max() == 7
    with np.load(written) as arrays:
        assert not any(name.startswith("example") for name in arrays.files)
    (written.parents[1] / EXAMPLES / "a.npz").unlink()
    scores = read_scores(written)
    assert scores.score.tolist() == [0.5]
    assert len(scores.example) == len(scores.example_image) == 0


def test_damaged_and_foreign_files_are_said_in_one_line(written):
    np.savez(written, image=np.array(["x.png"]), other=np.array([1]))
    with pytest.raises(DataError, match="--force"):
        read_scores(written)
    texts = dict.fromkeys(("image", "patient", "stratum", "label"), np.array([""]))
    np.savez(written, **texts, score=np.array([np.nan]))
    with pytest.raises(DataError, match=f"{written}: 1 of 1 scores are NaN or infinite"):
        read_scores(written)
    written.write_bytes(b"PK")
    with pytest.raises(DataError, match="damaged"):
        read_scores(written)
    written.unlink()
    with pytest.raises(DatasetNotFoundError, match="run the benchmark again"):
        read_scores(written)


def test_arrays_of_objects_are_not_pickled(tmp_path):
    with pytest.raises(TypeError, match="objects are not written: odd"):
        results._write_arrays(tmp_path / "scores.npz", {"fine": np.zeros(2), "odd": np.array([{}], dtype=object)})
    assert not list(tmp_path.iterdir())


def test_only_the_given_arrays_are_written(tmp_path):
    results._write_arrays(tmp_path / "scores.npz", {"score": np.zeros(2)})
    assert set(results._read_arrays(tmp_path / "scores.npz")) == {"score"}
