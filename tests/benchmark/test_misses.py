"""`benchmarks/misses.py`: which lesions are missed, from made-up scores on small images."""

import json

import misses
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.benchmark.split_table import SplitTable
from tests.fakes.prepared import write_prepared_folder
from tests.fakes.tested import SIDE, made_up, write_run

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def folder(tmp_path):
    return write_prepared_folder(tmp_path / "data", size=SIDE)


def test_a_run_is_analysed(tmp_path, folder):
    out = tmp_path / "new" / "misses.json"
    assert misses.main([str(write_run(tmp_path / "run", folder)), "--out", str(out)]) == 0
    found = json.loads(out.read_text())["data"]["run"]
    assert (found["data"], found["seeds"]) == ("heads", 2)
    assert sum(stratum["images"] for stratum in found["by_share"].values()) * 2 == found["images"]
    first, second = found["missed"][:2]
    assert first["outranked_by"] == 1.0
    assert second["outranked_by"] == 0.0
    assert 0 < first["share"] < 1
    # The lesion that has the lowest score is outranked by every image without one.
    assert found["false_alarms"][0]["outranks"] == pytest.approx(1 / (found["images"] / 2), abs=1e-3)
    assert found["wrong_pixels"] == []


def test_what_cannot_be_analysed_is_refused_in_a_line(tmp_path, folder, capsys):
    def refused(run, *options):
        with pytest.raises(SystemExit) as stopped:
            misses.main([str(run), "--out", str(tmp_path / "out" / "misses.json"), *options])
        assert stopped.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    run = write_run(tmp_path / "run", folder)
    assert "no job of 'Padim' has finished, only of PatchGan" in refused(run, "--model", "Padim")
    assert "one fold" in refused(write_run(tmp_path / "folds", folder, folds=("a", "b")))
    other = write_run(tmp_path / "other", folder, names=["abnormal/T01_00.png", "normal/T02_00.png"])
    assert "is not that of the jobs" in refused(other)
    scores = next((run / "jobs").glob("*.npz"))
    content = dict(np.load(scores))
    np.savez_compressed(scores, **(content | {"score": np.full_like(content["score"], np.nan)}))
    assert "scores are NaN or infinite" in refused(run)
    np.savez_compressed(scores, **content)
    damaged = next((folder / "test" / "abnormal").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert f"{damaged} cannot be read as an image" in refused(run)
    assert not (tmp_path / "out" / "misses.json").exists()


def test_lesions_are_measured_against_the_tissue_around_them(tmp_path):
    rng = np.random.default_rng(0)
    image = np.zeros((SIDE, SIDE))
    image[8:56, 8:56] = rng.normal(120, 10, (48, 48))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:32, 20:32] = 255
    image[20:32, 20:32] = 160
    full = np.full((SIDE, SIDE), 255, np.uint8)
    for name, content in {"image": image.clip(0, 255).astype(np.uint8), "mask": mask, "full": full}.items():
        Image.fromarray(content).save(tmp_path / f"{name}.png")
    paths = np.array([str(tmp_path / "image.png")] * 3)
    masks = np.array([str(tmp_path / "mask.png"), "", str(tmp_path / "full.png")])
    table = SplitTable(image_path=paths, name=paths, patient=paths, stratum=paths, mask_path=masks)
    shares, contrasts = misses.lesion_properties(table, (SIDE, SIDE))
    assert shares[0] == pytest.approx(144 / 48**2)
    assert contrasts[0] == pytest.approx(4, abs=0.4)
    assert np.isnan(shares[1])
    # A lesion that leaves no tissue has a share and no contrast.
    assert shares[2] == 1
    assert np.isnan(contrasts[2])


def test_strata_hold_each_lesion_once_and_the_bounds_belong_to_the_lower_one():
    names = ["abnormal/P01_0.png", "abnormal/P01_1.png", "abnormal/P01_2.png", "normal/P02_0.png", "normal/P02_1.png"]
    jobs = {"PatchGan": [made_up(names, [0.1, 0.6, 0.9, 0.2, 0.8])]}
    found = misses.strata(np.array([0.005, 0.01, 0.5, np.nan, np.nan]), misses.SHARES, jobs)
    assert [stratum["images"] for stratum in found.values()] == [2, 0, 0, 1]
    assert found["1 to 3 %"]["image_AUROC"] == {}
    assert found["below 1 %"]["image_AUROC"]["PatchGan"] == 0.25
    assert found["from 10 %"]["image_AUROC"]["PatchGan"] == 1.0


def test_wrong_pixels_are_shared_out_among_patients_at_the_best_threshold():
    # Bins from the lowest values to the highest: the best threshold takes the upper two.
    counts = {
        "pixel_patient": np.array(["P01", "P02"]),
        "positives": np.array([[0, 5, 5], [3, 0, 7]], np.uint32),
        "negatives": np.array([[90, 0, 0], [80, 2, 0]], np.uint32),
    }
    first, second = misses.wrong_pixels([made_up(["abnormal/P01_0.png", "normal/P02_0.png"], [1, 0], **counts)])
    assert first == {"patient": "P02", "missed": 0.6, "false": 0.4}
    assert second == {"patient": "P01", "missed": 0, "false": 0}
    assert misses.wrong_pixels([made_up(["abnormal/P01_0.png"], [1])]) == []
