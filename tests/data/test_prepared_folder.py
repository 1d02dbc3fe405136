"""`PreparedFolder`: split by patient, no leak, and bad input answered with what to do."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib import TaskType
from PIL import Image
from torchvision.transforms.v2 import Resize

from anomalib_patchgan.data import PreparedFolder
from anomalib_patchgan.data.prepared_table import choose_patients, make_prepared_table
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.fakes.prepared import TRAIN_PATIENTS, write_prepared_folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_prepared_folder(tmp_path_factory.mktemp("prepared") / "brains")


@pytest.fixture
def root(template, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(template, tmp_path / "brains")


def patients(table, split):
    return set(table.patient_id[table.split == split])


def setup(root, **arguments):
    data = PreparedFolder(root, num_workers=0, **({"val_split_ratio": 0.4} | arguments))
    data.setup()
    return data


def test_validation_takes_whole_patients_with_their_lesions(template):
    data = setup(template)
    train, val, test = (subset.samples for subset in (data.train_data, data.val_data, data.test_data))
    assert set(train.patient_id) | set(val.patient_id) == set(TRAIN_PATIENTS)
    assert not set(train.patient_id) & set(val.patient_id)
    assert set(train.label) == {"normal"}
    for _, rows in val.groupby("patient_id"):
        assert rows.label.value_counts().to_dict() == {"normal": 4, "abnormal": 4}
    assert len(test) == 16
    assert data.task is TaskType.SEGMENTATION
    assert (data.name, data.category) == ("PreparedFolder", "brains")


def test_fingerprint_is_of_the_content_of_the_training_images(template, root):
    data = setup(template)
    found = data.training_images
    assert found["count"] == len(data.train_data)
    assert setup(root).training_images == found
    assert setup(template, seed=3).training_images["sha256"] != found["sha256"]
    image = Path(data.train_data.samples.image_path.iloc[0])
    copy = root / image.relative_to(template)
    Image.fromarray(255 - np.asarray(Image.open(copy))).save(copy)
    changed = setup(root).training_images
    assert changed["count"] == found["count"]
    assert changed["sha256"] != found["sha256"]
    # Images of validation and test do not count.
    shutil.rmtree(root / "test")
    shutil.copytree(template / "test" / "normal", root / "test" / "normal")
    assert setup(root).training_images == changed


def test_items_have_three_channels_and_a_binary_mask(template):
    data = setup(template, eval_batch_size=16)
    batch = next(iter(data.test_dataloader()))
    assert batch.image.shape == (16, 3, 64, 64)
    assert 0 <= batch.image.min() <= batch.image.max() <= 1
    assert batch.gt_mask.shape == (16, 64, 64)
    assert torch.equal(batch.gt_mask.any(dim=(1, 2)), batch.gt_label.bool())


def test_image_and_mask_are_resized_together(template):
    data = setup(template, augmentations=Resize((32, 48)))
    item = data.test_data[0]
    assert item.image.shape == (3, 32, 48)
    assert item.gt_mask.shape == (32, 48)


@pytest.mark.parametrize("value", [1, 255])
def test_masks_of_ones_read_like_masks_of_255(root, value):
    for path in (root / "test" / "mask").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * value).save(path)
    masks = [setup(root).test_data[index].gt_mask for index in range(16)]
    assert sum(int(mask.sum()) for mask in masks) > 100
    assert set(torch.cat([mask.unique() for mask in masks]).tolist()) == {0, 1}


def test_split_does_not_depend_on_who_else_is_there(template, tmp_path):
    many = write_prepared_folder(tmp_path, patients=(*TRAIN_PATIENTS, "P06", "P07", "P08"))
    few_table, many_table = (make_prepared_table(root, val_split_ratio=0.4) for root in (template, many))
    assert patients(few_table, "val") == patients(many_table, "val") & set(TRAIN_PATIENTS)


def test_split_depends_on_the_seed_alone(template):
    first, again = setup(template, seed=3), setup(template, seed=3)
    assert first.val_data.samples.equals(again.val_data.samples)
    choices = {
        tuple(sorted(patients(make_prepared_table(template, val_split_ratio=0.4, seed=s), "val"))) for s in "1234"
    }
    assert len(choices) > 1


@pytest.mark.parametrize("ratio", [0.001, 0.999])
def test_both_sides_get_a_patient_with_normal_slices(template, ratio):
    table = make_prepared_table(template, val_split_ratio=ratio)
    for split in ("train", "val"):
        assert len(patients(table[table.label == "normal"], split)) >= 1


def test_about_the_asked_share_is_chosen():
    everyone = [f"patient-{number}" for number in range(2000)]
    assert 0.17 < len(choose_patients(everyone, 0.2, seed=0)) / 2000 < 0.23


def test_patients_with_lesion_slices_only_may_go_to_validation_but_never_to_training(root):
    names = [f"L{number}" for number in range(20)]
    for name in names:
        for part in ("abnormal", "mask"):
            shutil.copy(root / "train" / part / "P01_04.png", root / "train" / part / f"{name}_04.png")
    table = make_prepared_table(root, val_split_ratio=0.4)
    assert patients(table, "val") & set(names)
    assert not patients(table, "train") & set(names)


def test_own_validation_folder_is_used_as_it_is(tmp_path):
    data = setup(write_prepared_folder(tmp_path, with_val=True))
    assert set(data.val_data.samples.patient_id) == {"V01", "V02"}
    assert set(data.train_data.samples.patient_id) == set(TRAIN_PATIENTS)
    assert set(data.train_data.samples.label) == {"normal"}


def test_without_masks_the_task_is_classification(root):
    for split in ("train", "test"):
        shutil.rmtree(root / split / "mask")
    data = setup(root)
    assert data.task is TaskType.CLASSIFICATION
    assert data.test_data[0].gt_mask is None


def test_a_test_split_of_lesions_only_takes_nothing_from_training(root):
    before = len(setup(root).train_data)
    shutil.rmtree(root / "test" / "normal")
    data = setup(root)
    assert len(data.train_data) == before
    assert set(data.test_data.samples.label) == {"abnormal"}


def test_the_id_is_the_whole_stem_without_a_slice_number(tmp_path):
    for name in ("train/normal/alpha", "train/normal/beta-2", "test/normal/TCGA_CS_4942_19970222_05"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64)).save(tmp_path / f"{name}.png")
    table = make_prepared_table(tmp_path)
    assert set(table.patient_id) == {"alpha", "beta-2", "TCGA_CS_4942_19970222"}


def test_hidden_files_and_other_files_are_no_images(root):
    (root / "train" / "normal" / "._P01_00.png").write_bytes(b"resource fork")
    (root / "train" / "normal" / "notes.txt").write_text("taken on Monday")
    assert len(setup(root).train_data) % 4 == 0


def refuse(error, match, root, **arguments):
    with pytest.raises(error, match=match) as caught:
        setup(root, **arguments)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named_with_the_expected_layout(tmp_path):
    refuse(DatasetNotFoundError, r"No prepared folder at .*nowhere.*train/normal", tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["train/normal", "test"])
def test_an_empty_part_is_named_with_what_was_found(root, part):
    shutil.rmtree(root / part)
    (root / part).mkdir()
    refuse(DatasetNotFoundError, rf"No images in .*{part}.*holds .*train/abnormal.*Expected there", root)


def test_an_empty_validation_folder_is_refused(root):
    (root / "val").mkdir()
    refuse(DatasetNotFoundError, r"No images in .*val", root)


def test_a_patient_in_training_and_test_is_named(root):
    shutil.copy(root / "train/normal/P02_00.png", root / "test/normal/P02_99.png")
    refuse(DataError, r"two splits .*P02 \(test and (train|val)\).*id_pattern", root)


def test_a_pattern_that_misses_a_file_names_the_file(root):
    refuse(DataError, r"'\^\(P.*finds no patient id in .*T01_00.png", root, id_pattern=r"^(P\d+)")


@pytest.mark.parametrize(
    ("arguments", "match"), [({"id_pattern": "("}, "regular expression"), ({"val_split_ratio": 0}, "0")]
)
def test_impossible_arguments(template, arguments, match):
    refuse(ConfigurationError, match, template, **arguments)


def test_one_patient_cannot_be_split(tmp_path):
    root = write_prepared_folder(tmp_path, patients=["P01"])
    refuse(DataError, r"needs two patients.*\['P01'\]", root)


def test_a_missing_mask_is_named(root):
    (root / "test/mask/T02_05.png").unlink()
    refuse(DataError, r"abnormal.T02_05.png has no mask: expected .*mask.T02_05.png", root)


def test_a_mask_of_another_size_is_named(root):
    Image.new("L", (32, 64)).save(root / "train/mask/P03_04.png")
    refuse(DataError, r"mask.P03_04.png is 32x64 but its image .* is 64x64", root)


def test_a_mask_with_lossy_compression_is_refused(root):
    Image.new("L", (64, 64)).save(root / "test/mask/T01_04.jpg")
    (root / "test/mask/T01_04.png").unlink()
    refuse(DataError, r"T01_04.jpg is a JPEG.*PNG", root)


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, "png"), (np.int32, "tiff"), (np.float32, "tiff")])
def test_images_of_more_than_8_bits_are_refused(root, dtype, suffix):
    Image.fromarray(np.full((64, 64), 700, dtype)).save(root / f"train/normal/P09_00.{suffix}")
    refuse(DataError, rf"P09_00.{suffix} is not 8-bit .*rescale the pixels to 0-255", root)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(root, content):
    (root / "test/normal/T01_09.png").write_bytes(content)
    refuse(DataError, r"T01_09.png cannot be read as an image", root)


def test_two_images_with_one_stem_are_refused(root):
    Image.new("L", (64, 64)).save(root / "train/normal/P01_00.bmp")
    refuse(DataError, r"P01_00.png and P01_00.bmp have the same stem", root)


@pytest.mark.slow
def test_real_slices_are_split_by_patient(shared_data):
    root = shared_data / "lgg_flair"
    if not root.is_dir():
        pytest.skip(f"needs {root}, which is not on this machine")
    table = make_prepared_table(root)
    counts = table.groupby(["split", "label"]).size().to_dict()
    assert counts["train", "normal"] + counts["val", "normal"] == 540
    assert (counts["test", "normal"], counts["test", "abnormal"]) == (158, 249)
    assert ("train", "abnormal") not in counts
    groups = [patients(table, split) for split in ("train", "val", "test")]
    assert [len(group) for group in groups[:2]] == [46 - len(groups[1]), len(groups[1])]
    assert len(set.union(*groups)) == 46 + len(groups[2]) == sum(map(len, groups))


def test_truncated_pixels_name_the_file(tmp_path):
    root = write_prepared_folder(tmp_path, slices=2)
    data = PreparedFolder(root, val_split_ratio=0.4, num_workers=0)
    data.setup()
    path = Path(data.train_data.samples.image_path[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=f"{path} cannot be read .*truncated.*intact copy"):
        data.train_data[0]


def test_folds_test_on_every_patient_once(template):
    everyone = patients(make_prepared_table(template), "test") | set(TRAIN_PATIENTS)
    tested = []
    for fold in range(3):
        table = make_prepared_table(template, val_split_ratio=0.4, folds=3, fold=fold)
        tested += sorted(patients(table, "test"))
        assert patients(table, "train")
        assert patients(table, "val")
        assert patients(table, "train") | patients(table, "val") | patients(table, "test") == everyone
        assert set(table.label[table.split == "train"]) == {"normal"}
        assert set(table.label[table.split == "test"]) == {"normal", "abnormal"}
    assert sorted(tested) == sorted(everyone)


def test_folds_need_enough_patients(template):
    for arguments in ({"folds": 1}, {"folds": 3, "fold": 3}, {"folds": 3, "fold": -1}, {"folds": 99}):
        with pytest.raises(ConfigurationError, match="folds"):
            make_prepared_table(template, **arguments)


def test_slice_numbers_come_from_the_file_names_if_all_have_one(root):
    table = make_prepared_table(root)
    assert table.slice.tolist() == [int(Path(path).stem.rsplit("_", 1)[1]) for path in table.image_path]
    (root / "test" / "normal" / "T01_00.png").rename(root / "test" / "normal" / "T01.png")
    assert "slice" not in make_prepared_table(root).columns
