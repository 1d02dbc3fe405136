"""Looking up a split in a sample table."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomalib_patchgan.benchmark.split_table import choose_lesion_images, read_examples, read_masks, read_split
from anomalib_patchgan.errors import DataError


@pytest.fixture
def samples(tmp_path):
    """Three images, one with a mask of 40x20 whose left half is lesion."""
    paths = []
    for name in ("normal/a.png", "abnormal/b.png", "normal/c.png"):
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 40), 100, np.uint8)).save(path)
        paths.append(str(path))
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return pd.DataFrame({"image_path": paths, "mask_path": ["", str(tmp_path / "mask.png"), ""]})


def test_rows_come_in_the_order_asked_for(samples):
    samples = samples.assign(patient_id=["P", "Q", "R"], stratum=[np.nan, "small", np.nan])
    table = read_split(samples, samples.image_path[::-1].tolist())
    assert table.patient.tolist() == ["R", "Q", "P"]
    assert table.stratum.tolist() == ["", "small", ""]
    assert table.name.tolist() == ["normal/c.png", "abnormal/b.png", "normal/a.png"]


def test_what_a_bootstrap_resamples(samples):
    paths = samples.image_path.tolist()
    assert read_split(samples, paths).patient.tolist() == paths
    both = samples.assign(patient_id=["tile 1", "tile 2", "tile 3"], case=["A", "A", "B"])
    assert read_split(both, paths).patient.tolist() == ["A", "A", "B"]
    visits = samples.assign(patient_id=["A", "A", "B"], case=["A visit 1", "A visit 2", "B visit 1"])
    assert read_split(visits, paths).patient.tolist() == ["A", "A", "B"]


def test_an_unknown_image(samples):
    with pytest.raises(DataError, match=r"x\.png is not in the sample table"):
        read_split(samples, ["x.png"])


def test_masks_are_brought_to_the_size_of_the_maps(samples):
    table = read_split(samples, samples.image_path.tolist())
    masks = read_masks(table, (10, 10))
    assert masks.shape == (3, 10, 10)
    assert masks[1, :, :5].all()
    assert masks.sum() == 50
    assert read_masks(read_split(samples.assign(mask_path=""), samples.image_path.tolist()), (10, 10)) is None


def test_masks_are_read_as_the_data_modules_read_them(samples):
    """A lesion that grey loses is refused instead of counted as none."""
    path = samples.mask_path[samples.mask_path != ""].iloc[0]
    mask = Image.fromarray(np.eye(20, 40, dtype=np.uint8), "P")
    mask.putpalette([0, 0, 0, 0, 0, 4])
    mask.save(path)
    with pytest.raises(DataError, match="palette"):
        read_masks(read_split(samples, samples.image_path.tolist()), (10, 10))


def test_examples_show_image_lesion_and_map(samples):
    table = read_split(samples, samples.image_path.tolist())
    maps = np.zeros((3, 20, 40), np.float32)
    maps[1, :, :20] = 7
    masks = read_masks(table, (20, 40))
    image, mask, heat = read_examples(table, np.array([1]), maps, masks)
    assert (image == 100).all()
    assert image.shape == (1, 20, 40, 3)
    assert np.array_equal(mask[0], masks[1])
    assert heat[0, 5, 5] == 255
    assert heat[0, 5, 35] == 0
    assert [len(part) for part in read_examples(table, np.array([1]), maps[:0], masks)] == [0, 0, 0]


def test_examples_are_spread_over_the_lesions():
    label = np.ones(1000, bool)
    chosen = choose_lesion_images(label, 5)
    assert chosen.tolist() == [0, 250, 500, 749, 999]
    assert choose_lesion_images(~label).size == 0
    assert choose_lesion_images(np.array([True, False, True])).tolist() == [0, 2]
