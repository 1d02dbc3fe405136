"""`anomalib-patchgan benchmark`: the data of a comparison, split once for all models, checked before any job starts."""

import numpy as np
import pytest
from anomalib.data import Folder
from lightning.pytorch import seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from anomalib_patchgan.benchmark.check import set_up
from anomalib_patchgan.benchmark.results import read_run, read_scores
from anomalib_patchgan.cli import main
from tests.fakes.comparison import FOLDER, MEAN, SIZE, write_comparison

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_nothing_is_chosen_on_test_images(prepared, tmp_path, capsys):
    folder = {"normal_test_dir": "test/normal", "val_split_mode": "same_as_test"}
    config = write_comparison(tmp_path / "mean.yaml", prepared, [MEAN], folder=folder)
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    assert "validation and test share 16 images" in capsys.readouterr().err
    assert not (tmp_path / "run" / "jobs").exists()


@pytest.mark.parametrize("arguments", [{"val_split_mode": "from_test"}, {"test_split_mode": "from_dir"}, {}])
def test_the_split_that_is_checked_is_the_one_that_is_tested(prepared, arguments):
    """Anomalib's own folder splits at random whenever a trainer starts."""
    splits = []
    for seed in (1, 2):
        data = Folder(root=prepared, **FOLDER, **arguments)
        set_up(data)
        checked = [set(part.samples.image_path) for part in (data.train_data, data.val_data, data.test_data)]
        for stage in (TrainerFn.FITTING, TrainerFn.VALIDATING, TrainerFn.TESTING):
            seed_everything(seed, verbose=False)
            data.setup(stage)
        tested = [set(part.samples.image_path) for part in (data.train_data, data.val_data, data.test_data)]
        assert tested == checked
        splits.append(tested)
    assert splits[0] == splits[1]


def test_all_models_and_seeds_are_tested_on_one_split(prepared, tmp_path):
    models = [MEAN, {"class_path": "StandardDeviation"}]
    config = write_comparison(tmp_path / "mean.yaml", prepared, models, seed={"grid": [0, 1]}, folder={})
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    images = [read_scores(path).image.tolist() for path in (tmp_path / "run" / "jobs").glob("*.npz")]
    assert len(images) == 4
    assert all(sorted(one) == sorted(images[0]) for one in images)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Images without masks, each of its own size and its own case; those with a lesion are darker, and larger files."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for folder, count, shade in (("train/normal", 24, 200), ("test/normal", 6, 200), ("test/abnormal", 6, 60)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            side = (40 if shade > 100 else 120) + number
            pixels = rng.integers(0, shade, (side, 50 + 3 * number), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{folder.replace('/', '-')}_{number:02d}.jpg")
    return root


def test_images_of_any_size_without_masks(photographs, tmp_path):
    """Image metrics only, and a score owes nothing to the other images of its batch."""
    models = [
        {"class_path": "FileSize", "init_args": {"image_size": SIZE}},
        {"class_path": "MeanIntensity", "init_args": {"sign": "darker", "image_size": SIZE}},
    ]
    scores = {}
    for batch in (1, 5):
        settings = {"id_pattern": "(.+)", "eval_batch_size": batch}
        config = write_comparison(tmp_path / "photographs.yaml", photographs, models, **settings)
        run = tmp_path / f"run{batch}"
        assert main(["benchmark", "--config", str(config), "--out", str(run)]) == 0
        results = read_run(run)[1]
        assert {result.model for result in results} == {"FileSize", "MeanIntensity"}
        for result in results:
            assert result.metrics["image_AUROC"] == 1
            assert not [name for name in result.metrics if name.startswith(("pixel", "case", "patient"))]
            found = read_scores(run / "jobs" / f"{result.id}.npz")
            assert not len(found.pixel_patient)
            assert not len(found.example)
            scores.setdefault(result.model, []).append(found.score)
        summary = (run / "summary.md").read_text(encoding="utf-8")
        assert "6 normal and 6 lesion images\n" in summary
        assert "No pixel metrics: they need masks of the lesions in the test split" in summary
        assert "Dice" not in summary
    for one, other in scores.values():
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_missing_data_are_found_before_any_job_starts(tmp_path, capsys):
    config = write_comparison(tmp_path / "mean.yaml", tmp_path / "nowhere", [MEAN])
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert "nowhere" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "jobs").exists()


def test_other_peoples_data_modules_fail_in_one_line(tmp_path, capsys):
    config = write_comparison(tmp_path / "mean.yaml", tmp_path / "nowhere", [MEAN], folder={})
    assert main(["benchmark", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    assert "data 'Folder'" in capsys.readouterr().err.strip().splitlines()[-1]
