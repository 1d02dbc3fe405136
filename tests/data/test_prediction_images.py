"""Images of `predict`: the rules of a training, applied before the work starts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.cli import main
from anomalib_patchgan.data.prediction_images import PredictionImages
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.failures import FAILURE


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images" / "one.png"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def names(path):
    return [filename.name for filename in PredictionImages(path).image_filenames]


@pytest.mark.parametrize("hidden", ["._one.png", ".DS_Store", ".two.png", "notes.txt", ".cache/two.png"])
def test_hidden_and_other_files_are_left_out(image, hidden):
    path = image.parent / hidden
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\0\5\26\7 Mac OS X")
    assert names(image.parent) == ["one.png"]


def test_folders_in_the_folder_and_one_file(image):
    other = image.parent / "P2" / "two.JPG"
    other.parent.mkdir()
    Image.new("RGB", (20, 10)).save(other)
    assert names(image.parent) == ["two.JPG", "one.png"]
    assert names(str(other)) == ["two.JPG"]
    assert PredictionImages(other)[0].image.shape == (3, 10, 20)


def test_a_folder_that_is_hidden_itself_may_be_asked_for(image):
    image.parent.rename(image.parent.with_name(".images"))
    assert names(image.parent.with_name(".images")) == ["one.png"]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "webp"])
def test_an_image_that_is_cut_off_is_named_before_the_work(image, share, ending):
    path = image.with_name(f"two.{ending}")
    Image.open(image).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=f"{path} cannot be read as an image .*intact copy"):
        PredictionImages(image.parent)


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, "png"), (np.int32, "tif"), (np.float32, "tif")])
def test_more_than_8_bits_are_refused_as_in_a_training(image, dtype, ending):
    Image.fromarray(np.full((64, 64), 700, dtype)).save(image.with_name(f"two.{ending}"))
    with pytest.raises(DataError, match=rf"two.{ending} is not 8-bit .*rescale the pixels to 0-255"):
        PredictionImages(image.parent)


def test_what_is_not_there(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="nowhere is neither a folder, an image nor the name of a data mod"):
        PredictionImages(tmp_path / "nowhere")
    (tmp_path / "._a.png").touch()
    with pytest.raises(DatasetNotFoundError, match="No images in .*not hidden: give another folder"):
        PredictionImages(tmp_path)
    (tmp_path / "case.nii.gz").touch()
    with pytest.raises(DatasetNotFoundError, match="anomalib-patchgan volume"):
        PredictionImages(tmp_path)
    with pytest.raises(DataError, match="anomalib-patchgan volume"):
        PredictionImages(tmp_path / "case.nii.gz")


def test_heat_maps_that_would_replace_each_other_are_refused(image):
    for patient in ("P1", "P2"):
        (image.parent / patient / "flair").mkdir(parents=True)
        shutil.copy(image, image.parent / patient / "flair")
    with pytest.raises(DataError, match=r"P1/flair/one.png and .*P2/flair/one.png would both write .* flair/one.png"):
        PredictionImages(image.parent)


@pytest.mark.usefixtures("clean_environment")
def test_the_command_line_checks_images_first(image, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image.with_name("two.png").write_bytes(image.read_bytes()[:500])
    assert main(["predict", "--model", "PatchGan", "--data", str(image.parent)]) == FAILURE
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"anomalib-patchgan: error: {image.with_name('two.png')} cannot be read as an image")
    assert list(Path().iterdir()) == [Path("images")]
