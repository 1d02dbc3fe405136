"""`ISIC2016`: protocols, splits and bad archives, on fakes in the official tree."""

import shutil

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan import ISIC2016
from anomalib_patchgan.data.prepare.skin import without_lesion
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import read_json
from tests.data.samples import pixels, tables
from tests.fakes.isic2016 import write_isic2016

TRAINING, TEST = (f"ISBI2016_ISIC_Part1_{part}_Data" for part in ("Training", "Test"))
MASKS = "ISBI2016_ISIC_Part1_Training_GroundTruth"
PAPER = {"protocol": "paper", "test_tiles": 20, "val_tiles": 10}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_isic2016(tmp_path_factory.mktemp("archive"), training=10, test=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def make(archive, cache, **arguments):
    data = ISIC2016(archive, cache_dir=cache, num_workers=0, workers=1, **{"val_split_ratio": 0.3} | arguments)
    data.setup()
    return data


def ids(folder):
    return {path.stem for path in folder.glob("*.jpg")}


def test_images_train_without_lesions_and_test_on_whole_images(archive, cache):
    train, val, test = tables(make(archive, cache))
    assert len(train)
    assert set(train.label) == {"normal"}
    assert set(val.label) == set(test.label) == {"abnormal"}
    assert set(test.patient_id) == ids(archive / TEST)
    assert set(train.patient_id) | set(val.patient_id) <= ids(archive / TRAINING)
    assert not set(train.patient_id) & set(val.patient_id)
    assert {pixels(path).shape for path in test.image_path} == {(256, 256, 3)}
    assert {pixels(path).shape for path in train.image_path} == {(256, 256, 3)}
    row = test.iloc[0]
    mask = Image.open(archive / f"ISBI2016_ISIC_Part1_Test_GroundTruth/{row.patient_id}_Segmentation.png")
    resized = np.asarray(mask.resize((256, 256))) > 127
    assert ((pixels(row.mask_path) > 0) != resized).mean() < 0.01


def test_images_without_lesion_show_only_healthy_skin_at_its_size_and_place():
    image = np.random.default_rng(0).integers(1, 200, (64, 64, 3), dtype=np.uint8)
    lesion = np.zeros((64, 64), bool)
    lesion[20:60, 12:40] = True
    image[lesion] = 255
    image[[0, -1]] = image[:, [0, -1]] = 250  # a frame, as of a screenshot
    made = dict(without_lesion(image, lesion))
    assert list(made) == [0, 1, 3]  # below it, on top after half a turn, there are too few rows
    for one in made.values():
        assert one.shape == image.shape
        assert one.max() < 250
    assert np.array_equal(made[0][1:18, 1:63], image[1:18, 1:63])
    assert np.array_equal(made[0][18:34, 1:63], image[16:0:-1, 1:63])  # continued by reflection
    assert np.array_equal(np.rot90(made[1], -1)[1:63, 42:63], image[1:63, 42:63])
    assert np.array_equal(np.rot90(made[3], -3)[1:63, 1:10], image[1:63, 1:10])


def test_an_image_without_lesion_is_trained_on_as_it_is_and_one_full_of_it_not_at_all():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    ((turns, same),) = without_lesion(image, np.zeros((64, 64), bool))
    assert turns == 0
    assert np.array_equal(same, image)
    assert not list(without_lesion(image, np.ones((64, 64), bool)))


def test_tiles_come_from_their_own_image(archive, cache):
    data = make(archive, cache, protocol="tiles")
    train, val, test = tables(data)
    assert set(train.label) == {"normal"}
    assert set(test.patient_id) == ids(archive / TEST)
    assert not set(train.patient_id) & set(val.patient_id)
    for row in test[test.label == "abnormal"].itertuples():
        assert row.coverage == pytest.approx((pixels(row.mask_path) > 0).mean(), abs=1e-4)
    assert set(test.stratum.dropna()) == {"large", "small"}
    assert read_json(data.root / "manifest.json")["leaks_patients"] is False


def test_every_image_has_the_same_skin_but_not_in_the_published_protocol(archive, cache):
    for row in make(archive, cache, protocol="images").test_data.samples.itertuples():
        assert np.allclose(np.percentile(pixels(row.image_path), 75, axis=(0, 1)), 191, atol=2)
    balanced, plain, paper = (
        np.stack([pixels(path) for path in tables(make(archive, cache, **arguments))[2].image_path[:20]])
        for arguments in ({"protocol": "tiles"}, {"protocol": "tiles", "color_constancy": False}, PAPER)
    )
    assert abs(balanced.astype(int) - plain).max() > 5
    first = tables(make(archive, cache, **PAPER, color_constancy=False))[2].image_path[:20]
    assert np.array_equal(paper, np.stack([pixels(path) for path in first]))


def test_the_published_split_pools_both_parts_and_says_that_it_leaks(archive, cache):
    data = make(archive, cache, **PAPER)
    train, val, test = tables(data)
    assert test.label.value_counts().to_dict() == {"normal": 20, "abnormal": 20}
    assert val.label.value_counts().to_dict() == {"normal": 10, "abnormal": 10}
    images = {path.rsplit("/", 1)[-1].split("_tile")[0] for path in train.image_path}
    assert images & ids(archive / TEST)
    assert read_json(data.root / "manifest.json")["leaks_patients"] is True


def test_diagnosis_trains_on_benign_images(archive, cache):
    data = make(archive, cache, protocol="diagnosis")
    train, val, test = tables(data)
    assert set(train.label) == {"normal"}
    lines = (archive / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv").read_text(encoding="utf-8").split()
    malignant = {line.split(",")[0] for line in lines if line.endswith(",1.0")}
    assert set(test[test.label == "abnormal"].patient_id) == malignant
    assert set(test.patient_id) == ids(archive / TEST)
    assert len(val)
    assert test.attrs["task"] == "classification"


def test_diagnosis_needs_no_masks(archive, tmp_path):
    copy = tmp_path / "isic"
    shutil.copytree(archive, copy, ignore=shutil.ignore_patterns("*Part1*GroundTruth"))
    assert len(make(copy, tmp_path / "cache", protocol="diagnosis").test_data)
    with pytest.raises(DatasetNotFoundError, match="Looked at .*Training_GroundTruth: there is no such folder"):
        make(copy, tmp_path / "cache")


def test_root_may_be_the_parent(archive, cache, tmp_path):
    shutil.copytree(archive, tmp_path / "downloads/isic")
    assert make(tmp_path / "downloads", cache).root.name == make(archive, cache).root.name


def test_a_split_file_may_mix_the_parts(archive, tmp_path):
    names = [sorted(ids(archive / part)) for part in (TRAINING, TEST)]
    path = tmp_path / "splits.csv"
    lines = [f"{names[0][0]},test", f"{names[1][0]},train", f"{names[1][1]},train", f"{names[0][1]},val"]
    path.write_text("\n".join(lines), encoding="utf-8")
    data = make(archive, tmp_path, split_file=path, protocol="tiles")
    assert [set(table.patient_id) for table in tables(data)] == [set(names[1][:2]), {names[0][1]}, {names[0][0]}]


def damaged(archive, tmp_path):
    copy = tmp_path / "isic"
    shutil.copytree(archive, copy)
    return copy, min((copy / TRAINING).glob("*.jpg"))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def mask_of(image):
    return image.parents[1] / MASKS / f"{image.stem}_Segmentation.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "jpg"),
        (lambda image: truncate(mask_of(image)), "_Segmentation.png"),
        (lambda image: mask_of(image).unlink(), "Expected: .*_Segmentation.png"),
        (lambda image: Image.new("L", (10, 10)).save(mask_of(image)), "10x10"),
    ],
)
def test_a_bad_image_stops_with_one_line_or_is_skipped(archive, tmp_path, damage, message):
    copy, image = damaged(archive, tmp_path)
    damage(image)
    with pytest.raises((DataError, DatasetNotFoundError), match=message) as caught:
        make(copy, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list(make(copy, tmp_path / "cache", on_error="skip").prepare()["skipped"]) == [image.stem]


def test_an_image_in_both_parts_is_refused(archive, tmp_path):
    copy, image = damaged(archive, tmp_path)
    shutil.copy(image, copy / TEST)
    with pytest.raises(DataError, match="there twice"):
        make(copy, tmp_path / "cache")


def test_an_image_without_a_diagnosis_is_refused(archive, tmp_path):
    copy, image = damaged(archive, tmp_path)
    path = copy / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(image.stem)]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=f"no diagnosis of {image.stem}"):
        make(copy, tmp_path / "cache", protocol="diagnosis")
    path.unlink()
    with pytest.raises(DatasetNotFoundError, match="Part3_Training_GroundTruth.csv"):
        make(copy, tmp_path / "cache", protocol="diagnosis")


def test_a_missing_archive_says_where_and_what(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"it is empty. Expected: .*Part1_Training_Data.*isic-archive"):
        make(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("arguments", [{"image_size": 8}, {"val_split_ratio": 0}, {"test_tiles": 0}])
def test_wrong_arguments_are_refused_at_once(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        ISIC2016("nowhere", **arguments)


def test_real_images_in_every_protocol(shared_data, tmp_path):
    root = shared_data / "isic2016_sample"
    assert len(make(root, tmp_path, protocol="diagnosis").test_data) == 120
    _, _, test = tables(make(root, tmp_path, protocol="images"))
    assert (test.label == "abnormal").sum() == 120
