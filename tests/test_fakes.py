"""The fakes have the form of the official archives."""

import csv

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.fakes.brats2019 import AFFINE, HGG, LGG, write_brats2019
from tests.fakes.isic2016 import write_isic2016
from tests.trained_model import make_once

TILE = 32


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def brats(tmp_path_factory):
    return write_brats2019(tmp_path_factory.mktemp("brats"))


@pytest.fixture(scope="module")
def isic(tmp_path_factory):
    return write_isic2016(tmp_path_factory.mktemp("isic"))


def middle_tile(volume):
    """The middle one of the 3x3 tiles of each axial slice."""
    return volume[32 : 32 + TILE, 36 : 36 + TILE]


def test_brats_files(brats):
    cases = {path.relative_to(brats).as_posix() for path in brats.glob("*/*")}
    assert cases == {f"HGG/{name}" for name in HGG} | {f"LGG/{name}" for name in LGG}
    case = HGG[0]
    files = {f"{case}_{kind}.nii.gz" for kind in ("flair", "t1", "t1ce", "t2", "seg")}
    assert {path.name for path in (brats / "HGG" / case).iterdir()} == files
    with (brats / "name_mapping.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["Grade"], row["BraTS_2019_subject_ID"]) for row in rows] == [
        *(("HGG", name) for name in HGG),
        *(("LGG", name) for name in LGG),
    ]


@pytest.mark.parametrize("case", [f"HGG/{name}" for name in HGG] + [f"LGG/{name}" for name in LGG])
def test_brats_volumes(brats, case):
    folder = brats / case
    labels = np.asarray(nib.load(folder / f"{folder.name}_seg.nii.gz").dataobj)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 2, 4}
    for modality in ("flair", "t1", "t1ce", "t2"):
        image = nib.load(folder / f"{folder.name}_{modality}.nii.gz")
        voxels = np.asarray(image.dataobj)
        assert voxels.shape == labels.shape == (96, 104, 24)
        assert voxels.dtype == np.int16
        assert np.array_equal(image.affine, AFFINE)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
        brain = voxels != 0
        assert voxels.min() == 0
        assert 200 < np.median(voxels[brain]) < 1000
        assert not (labels != 0)[~brain].any()
        brain_slices = brain.any(axis=(0, 1))
        assert not brain_slices[[0, -1]].any()
        healthy = brain_slices & ~labels.any(axis=(0, 1))
        assert healthy[:8].sum() >= 4
        assert healthy[-8:].sum() >= 4
    covered = (middle_tile(labels) != 0).mean(axis=(0, 1))
    assert middle_tile(brain)[..., covered > 0].all()
    assert (covered >= 0.75).sum() >= 2
    neighbours = (labels[:32, 36:68] != 0).mean(axis=(0, 1)), (labels[64:, 36:68] != 0).mean(axis=(0, 1))
    assert any(((share >= 0.05) & (share <= 0.3)).any() for share in (covered, *neighbours))


def test_brats_is_brighter_in_front_and_left(brats):
    voxels = np.asarray(nib.load(brats / "HGG" / HGG[0] / f"{HGG[0]}_t1.nii.gz").dataobj)[..., 3].astype(float)
    assert voxels[:, :52][voxels[:, :52] > 0].mean() > 1.1 * voxels[:, 52:][voxels[:, 52:] > 0].mean()
    assert voxels[48:][voxels[48:] > 0].mean() > 1.1 * voxels[:48][voxels[:48] > 0].mean()


def test_brats_gain_differs_by_case(brats):
    medians = []
    for name in HGG:
        voxels = np.asarray(nib.load(brats / "HGG" / name / f"{name}_flair.nii.gz").dataobj)
        medians.append(np.median(voxels[voxels > 0]))
    assert max(medians) > 1.3 * min(medians)


def test_brats_depends_on_name_and_seed_only(brats, tmp_path):
    few = write_brats2019(tmp_path / "few", hgg=HGG[1:2], lgg=(), modalities=("flair",), name_mapping=False)
    files = {f"HGG/{HGG[1]}/{HGG[1]}_{kind}.nii.gz" for kind in ("flair", "seg")}
    assert contents(few).keys() == files
    assert contents(few).items() <= contents(brats).items()
    other = write_brats2019(tmp_path / "other", hgg=HGG[1:2], lgg=(), modalities=("flair",), seed=1)
    assert all(contents(other)[name] != content for name, content in contents(few).items())


def test_brats_without_compression(tmp_path):
    folder = write_brats2019(tmp_path, hgg=HGG[:1], lgg=(), shape=(32, 32, 8), suffix=".nii") / "HGG" / HGG[0]
    assert {path.suffix for path in folder.iterdir()} == {".nii"}
    assert nib.load(folder / f"{HGG[0]}_flair.nii").shape == (32, 32, 8)


@pytest.mark.parametrize(("part", "first", "number"), [("Training", 0, 8), ("Test", 10000, 4)])
def test_isic_files(isic, part, first, number):
    names = [f"ISIC_{first + index:07d}" for index in range(number)]
    images, masks = isic / f"ISBI2016_ISIC_Part1_{part}_Data", isic / f"ISBI2016_ISIC_Part1_{part}_GroundTruth"
    assert sorted(path.name for path in images.iterdir()) == [f"{name}.jpg" for name in names]
    assert sorted(path.name for path in masks.iterdir()) == [f"{name}_Segmentation.png" for name in names]
    for name in names:
        with Image.open(images / f"{name}.jpg") as image, Image.open(masks / f"{name}_Segmentation.png") as mask:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (160, 120))
            assert (mask.mode, mask.size) == ("L", (160, 120))
            lesion, pixels = np.asarray(mask) > 0, np.asarray(image).astype(float)
            assert set(np.unique(mask)) == {0, 255}
        assert 0.05 < lesion.mean() < 0.5
        assert pixels[lesion].mean() < 0.8 * pixels[~lesion].mean()
        assert pixels[~lesion].std() > 2


def test_isic_diagnoses(isic, tmp_path):
    for part, number, values in (("Training", 8, {"benign", "malignant"}), ("Test", 4, {"0.0", "1.0"})):
        with (isic / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv").open(encoding="utf-8") as file:
            rows = list(csv.reader(file))
        images = isic / f"ISBI2016_ISIC_Part1_{part}_Data"
        assert [row[0] for row in rows] == sorted(path.stem for path in images.iterdir())
        assert {row[1] for row in rows} == values
        assert 1 <= sum(row[1] in {"malignant", "1.0"} for row in rows) <= number / 2
    assert not list(write_isic2016(tmp_path, training=1, test=1, diagnoses=False).glob("*.csv"))


def test_isic_depends_on_id_and_seed_only(isic, tmp_path):
    few = write_isic2016(tmp_path / "few", training=2, test=1, diagnoses=False)
    assert contents(few).items() <= contents(isic).items()
    other = write_isic2016(tmp_path / "other", training=2, test=1, seed=1, diagnoses=False)
    assert all(contents(other)[name] != content for name, content in contents(few).items())


def test_what_tests_share_is_made_once_whole(tmp_path_factory):
    calls = []

    def make(folder):
        calls.append(sorted(path.name for path in folder.iterdir()))
        (folder / "half").touch()
        if len(calls) == 1:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - of this test
        make_once(tmp_path_factory, "of-a-test", make)
    first = make_once(tmp_path_factory, "of-a-test", make)
    assert make_once(tmp_path_factory, "of-a-test", make) == first
    # What the failed attempt left is gone before the second one.
    assert calls == [[], []]
    assert (first / "half").is_file()
