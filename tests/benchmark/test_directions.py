"""`benchmarks/directions.py`: runs on tiny data, what it holds out and what it leaves behind."""

import doctest
import json
import re
import shutil

import directions
import pytest
from held_out import data, expected_residual, results, variants

from anomalib_patchgan import PatchGan
from tests.fakes.brats import write_brats
from tests.fakes.isic2016 import write_isic2016
from tests.fakes.prepared import TRAIN_PATIENTS, write_prepared_folder

SIDE = 96
pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(autouse=True)
def small_images(monkeypatch):
    """At their full size the tests would take a minute."""
    for module in (data, directions):
        monkeypatch.setattr(module, "SIDE", SIDE)


@pytest.fixture
def root(tmp_path):
    write_prepared_folder(tmp_path / "data" / "lgg_flair")
    return tmp_path / "data"


def run(root, *names, data_name="lgg_flair", **options):
    """Call the command with two steps of two images."""
    settings = {"fold": 0, "steps": 2, "batch_size": 2, "out": root.parent / "out", "cache_dir": root.parent / "cache"}
    words = [word for name, value in (settings | options).items() for word in (f"--{name}", *str(value).split())]
    return directions.main(["--data", data_name, "--root", str(root), "--direction", *names, *words])


def read(root, name):
    return json.loads((root.parent / "out" / "jobs" / f"lgg_flair-fold-0-seed-0-steps-2-{name}.json").read_text())


def test_runs_leave_results_and_a_summary_and_are_not_repeated(root, monkeypatch):
    assert run(root, "default", "shading", "flipped") == 0
    found = {name: read(root, name) for name in ("default", "shading", "flipped")}
    for name, result in found.items():
        (evaluation,) = result["evaluations"]
        assert evaluation["steps"] == 2
        assert list(evaluation["found"]) == ["Restoration", "MaskedRestoration", "Foreignness", "Appearance", "sum"]
        assert all(0 <= value <= 1 for one in evaluation["found"].values() for value in one.values())
        assert result["run"]["direction"] == name
        assert {"commit", "machine", "versions"} <= result["environment"].keys()
    assert found["shading"]["settings"]["direction"]["strength"] == variants.Shading.strength
    # It has the networks of the default, and another score; shading has other networks.
    assert found["flipped"]["networks_of_commit"] is not None
    assert found["default"]["networks_of_commit"] is found["shading"]["networks_of_commit"] is None
    sums = {name: result["evaluations"][-1]["found"]["sum"] for name, result in found.items()}
    assert len({tuple(one.values()) for one in sums.values()}) == 3

    summary = json.loads((root.parent / "out" / "directions.json").read_text())
    assert summary["default"]["lgg_flair/0/2"]["pixel_AP"] == sums["default"]["pixel_AP"]
    assert list(summary["rows"]) == ["shading", "flipped"]
    difference = summary["rows"]["flipped"]["lgg_flair/0/2/pixel_AP"]
    assert difference == pytest.approx(sums["flipped"]["pixel_AP"] - sums["default"]["pixel_AP"])

    performed = []
    perform = directions.perform
    monkeypatch.setattr(directions, "perform", lambda one, *rest: performed.append(one.id) or perform(one, *rest))
    path = root.parent / "out" / "jobs" / "lgg_flair-fold-0-seed-0-steps-2-flipped.json"
    path.write_text(path.read_text()[:40])
    assert run(root, "default", "shading", "flipped") == 0
    assert performed == [path.stem]
    assert read(root, "flipped")["evaluations"][-1]["found"] == found["flipped"]["evaluations"][-1]["found"]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["shadin"], {}, "--direction shadin: there are default, falling_rate"),
        (["default"], {"fold": 4}, "--fold 4: there are 0, 1, 2, 3"),
        (["default"], {"steps": 0}, "--steps must be at least 1, got 0"),
        (["default"], {"seed": -1}, "--seed must be at least 0, got -1"),
        (["default"], {"data_name": "brats"}, "invalid choice: 'brats'"),
        (["default", "neighbours"], {}, "neighbours needs volumes with evenly spaced slices"),
        (["default"], {"batch_size": 3}, "was made with other settings"),
        (["default"], {"accelerator": "cuda"}, "--accelerator cuda: torch finds no such GPU here"),
    ],
)
def test_wrong_input_is_one_line_before_any_training(root, capsys, monkeypatch, names, options, message):
    monkeypatch.setattr(directions, "perform", None)
    monkeypatch.setattr(directions.torch.cuda, "is_available", lambda: False)
    done = results.Run(direction="default", data="lgg_flair", fold=0, seed=0, steps=2, batch_size=2)
    results.write_result(root.parent / "out", done, {})
    if names[-1] == "neighbours":
        shutil.rmtree(root.parent / "out")
    with pytest.raises(SystemExit) as stopped:
        run(root, *names, **options)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("missing", ["", "lgg_flair/train/abnormal", "lgg_flair/train/mask/P01_04.png"])
def test_missing_data_are_one_line(root, capsys, missing):
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SystemExit):
        run(root, "default")
    (line,) = capsys.readouterr().err.splitlines()
    assert "train" in line


def test_folds_are_of_training_patients_and_share_none(root, tmp_path):
    for path in (root / "lgg_flair" / "test").rglob("*.png"):
        path.write_bytes(b"nobody reads this")
    parts = [data.load("lgg_flair", root, fold, tmp_path) for fold in range(4)]
    held_out = [set(one.held_out.patients) for one in parts]
    assert sorted(patient for one in held_out for patient in one) == sorted(TRAIN_PATIENTS)
    for one, patients in zip(parts, held_out, strict=True):
        assert set(one.train.patients) == set(TRAIN_PATIENTS) - patients
        assert not one.train.labels.any()
        assert one.held_out.labels.mean() == 0.5
        assert (one.held_out.masks.any(axis=(1, 2)) == one.held_out.labels).all()
        assert one.train.images.shape[1:] == (3, SIDE, SIDE)


def test_labels_and_masks_are_those_of_the_images(root, tmp_path):
    # The fake lesions are brighter than anything around them, and normal images have none.
    part = data.load("lgg_flair", root, 0, tmp_path).held_out
    assert 0 < part.labels.sum() < len(part.labels)
    assert (part.masks.any(axis=(1, 2)) == part.labels).all()
    for image, mask in zip(part.images[:, 0].numpy(), part.masks, strict=True):
        assert not mask.any() or image[mask].mean() > image[~mask].mean() + 50


def test_archives_hold_out_training_cases(tmp_path, monkeypatch):
    archive = write_brats(tmp_path / "brats", 2021, [f"BraTS2021_0000{number}" for number in range(5)])
    splits = tmp_path / "splits.csv"
    names = sorted(path.name for path in archive.iterdir())
    splits.write_text("id,split\n" + "\n".join(f"{name},{'test' if name[-1] == '4' else 'train'}" for name in names))
    monkeypatch.setattr(data, "BRATS_SPLITS", splits)
    found = data.load("brats_slices", tmp_path / "brats", 0, tmp_path / "cache")
    assert {*found.train.patients, *found.held_out.patients} == {name for name in names if name[-1] != "4"}
    assert found.held_out.labels.any()
    assert found.train.slices is not None
    assert not found.comparable_intensities

    write_isic2016(tmp_path / "isic2016_sample", training=6, test=2)
    found = data.load("isic_images", tmp_path, 0, tmp_path / "cache")
    assert len(set(found.held_out.patients)) == 2
    assert found.held_out.labels.all()
    assert max([*found.train.patients, *found.held_out.patients]) < "ISIC_0010000"
    assert found.comparable_intensities


def test_networks_of_other_code_or_damaged_ones_are_not_taken_over(tmp_path, monkeypatch):
    one = results.Run(direction="flipped", data="lgg_flair", fold=0, seed=0, steps=2, batch_size=2)
    module = PatchGan(image_size=(32, 32), width=8)
    trained = module.trained_networks()
    assert results.load_networks(tmp_path, one, trained) is None
    results.save_networks(tmp_path, one, trained, "abc")
    assert results.load_networks(tmp_path, one, trained) == "abc"
    assert results.load_networks(tmp_path, one, PatchGan(image_size=(32, 32), width=16).trained_networks()) is None
    with monkeypatch.context() as patch:
        patch.setattr(results, "code_of", lambda _: "anomalib_patchgan 0")
        assert results.load_networks(tmp_path, one, trained) is None
    (path,) = (tmp_path / "networks").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert results.load_networks(tmp_path, one, trained) is None


def test_seeds_are_averaged_in_pairs_and_a_damaged_result_is_named(tmp_path):
    def write(direction, seed, value, accelerator="cpu"):
        one = results.Run(direction=direction, data="lgg_flair", fold=1, seed=seed, steps=9, batch_size=2)
        numbers = {"image_AUROC": value, "pixel_AP": value / 2, "pixel_best_dice": None}
        environment = {"accelerator": accelerator}
        results.write_result(tmp_path, one, {"evaluations": [{"found": {"sum": numbers}}], "environment": environment})

    for seed, value in ((0, 0.5), (1, 0.7)):
        write("default", seed, value)
    for seed, value in ((1, 0.8), (2, 0.1)):
        write("game", seed, value)
    found = results.summarise(tmp_path)
    assert found["default"] == {"lgg_flair/1/9": {"seeds": 2, "image_AUROC": 0.6, "pixel_AP": 0.3}}
    assert list(found["rows"]) == ["game"]
    pairs = found["rows"]["game"]
    assert pairs == {"lgg_flair/1/9/seeds": 1} | {
        f"lgg_flair/1/9/{metric}": pytest.approx(value) for metric, value in (("image_AUROC", 0.1), ("pixel_AP", 0.05))
    }
    write("shading", 0, 0.9, "cuda")  # the default's seed 0 ran on the CPU: another training
    assert list(results.summarise(tmp_path)["rows"]) == ["game"]
    write("affine", 1, float("nan"))
    with pytest.raises(
        results.DataError, match=r"seed-1-steps-9-affine\.json is no whole .* metrics are NaN or infinite"
    ):
        results.summarise(tmp_path)
    write("affine", 1, 0.9)
    (tmp_path / "jobs" / "broken.json").write_text('{"run": {}}')
    with pytest.raises(results.DataError, match=re.escape("broken.json is no whole result")):
        results.summarise(tmp_path)


@pytest.mark.parametrize("module", [data, expected_residual])
def test_examples_run(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


def test_the_documented_summary_is_that_of_its_results(repo_root):
    folder = repo_root / "benchmarks" / "results" / "directions"
    assert json.loads((folder / results.SUMMARY).read_text()) == results.summarise(folder)
