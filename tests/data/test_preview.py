"""The contact sheet of a prepared folder."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from anomalib_patchgan.data.prepare.preview import draw_rows, find_rows, write_preview
from anomalib_patchgan.data.prepare.samples import SAMPLES
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.plots import OUTLINE
from tests.fakes.prepared import write_prepared_folder


@pytest.fixture
def root(tmp_path):
    return write_prepared_folder(tmp_path / "brains", with_val=True)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def outlined(picture):
    """Pixels nearer to the colour of outlines than to any grey."""
    return np.abs(picture - 255 * np.array(to_rgb(OUTLINE))).sum(axis=-1) < 150


def write_table(root, stratum):
    """Write a sample table that gives the patient in the first three letters of a name as its case."""
    rows = []
    for path in sorted(root.glob("*/*/*.png")):
        split, label, name = path.relative_to(root).parts
        if label != "mask":
            mask = f"{split}/mask/{name}" if label == "abnormal" else ""
            row = {"image": f"{split}/{label}/{name}", "mask": mask, "split": split, "label": label, "case": name[:3]}
            rows.append(row | {"stratum": stratum(label, name)})
    pd.DataFrame(rows).to_csv(root / SAMPLES, index=False)


def test_rows_and_counts(root):
    assert [row.header for row in find_rows(root)] == [
        "train normal: 20 images of 5 cases",
        "train abnormal: 20 images of 5 cases",
        "val normal: 8 images of 2 cases",
        "val abnormal: 8 images of 2 cases",
        "test normal: 8 images of 2 cases",
        "test abnormal: 8 images of 2 cases",
    ]
    (root / "test" / "normal" / "._T01_00.png").write_bytes(b"macOS")
    assert [row.images for row in find_rows(root)] == [20, 20, 8, 8, 8, 8]


def test_rows_per_stratum(root):
    write_table(root, lambda label, name: "" if label == "normal" else "large" if name[:3] == "T01" else "small")
    names = [row.name for row in find_rows(root)]
    assert [name for name in names if name.startswith("test")] == [
        "test normal",
        "test abnormal",
        "test abnormal, large",
        "test abnormal, small",
    ]
    large = find_rows(root)[names.index("test abnormal, large")]
    assert (large.images, large.cases) == (4, 1)
    assert {path.name[:3] for path in large.shown} == {"T01"}


def test_samples_come_from_all_cases(root):
    train = find_rows(root, columns=5)[0]
    assert sorted(path.name[:3] for path in train.shown) == ["P01", "P02", "P03", "P04", "P05"]
    # The table knows better than the names.
    write_table(root, lambda *_: "")
    table = pd.read_csv(root / SAMPLES)
    table["case"] = "one"
    table.to_csv(root / SAMPLES, index=False)
    assert find_rows(root)[0].header == "train normal: 20 images of 1 case"


def test_other_seed_shows_other_samples(root):
    assert find_rows(root)[0] == find_rows(root)[0]
    assert find_rows(root, seed=1)[0].shown != find_rows(root)[0].shown


def test_figure_shows_rows_images_and_title(root):
    rows = find_rows(root, columns=3)
    figure = draw_rows(rows, "a $title$", columns=3)
    assert [text.get_text() for text in figure.texts] == ["a $title$", *(row.header for row in rows)]
    assert len(figure.axes) == 3 * len(rows)
    shown = figure.axes[0].images[0]
    with Image.open(next(iter(rows[0].shown))) as image:
        assert np.array_equal(shown.get_array(), np.asarray(image))
    assert shown.get_interpolation() == "nearest"
    assert shown.origin == "upper"
    assert figure.axes[0].yaxis_inverted()
    assert not figure.axes[0].xaxis_inverted()
    assert len(draw_rows(find_rows(root, columns=50), "", columns=50).axes) == 2 * 20 + 4 * 8


def test_outlines_are_visible(root, tmp_path):
    with_masks = pixels(write_preview(root, tmp_path / "with.png", columns=4))
    for path in root.glob("*/mask/*.png"):
        path.unlink()
    without = pixels(write_preview(root, tmp_path / "without.png", columns=4))
    changed = np.abs(with_masks - without).sum(axis=-1) > 0
    assert not outlined(without).any()
    assert outlined(with_masks).sum() > 500
    assert changed[outlined(with_masks)].all()
    # Outlines only: no more than a few pixels of each of the twelve lesions.
    assert changed.mean() < 0.05


def test_outline_of_a_whole_tile(tmp_path):
    for folder, value in (("abnormal", 90), ("mask", 255)):
        (tmp_path / "test" / folder).mkdir(parents=True)
        Image.new("L", (32, 32), value).save(tmp_path / "test" / folder / "a.png")
    shown = outlined(pixels(write_preview(tmp_path, tmp_path / "preview.png")))
    assert np.ptp(np.nonzero(shown)[0]) > 120
    assert np.ptp(np.nonzero(shown)[1]) > 120


def test_orientation_and_colour(tmp_path):
    (tmp_path / "train" / "normal").mkdir(parents=True)
    image = Image.new("RGB", (40, 40), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 10, 10))
    image.save(tmp_path / "train" / "normal" / "a.png")
    picture = pixels(write_preview(tmp_path, tmp_path / "preview.png"))
    red = np.argwhere((picture == (255, 0, 0)).all(axis=-1))
    # Below the text, which is black, too.
    black = np.argwhere((picture[70:] == 0).all(axis=-1)) + np.array([70, 0])
    assert len(red) > 500
    assert (red.mean(axis=0) < black.mean(axis=0) - 30).all()


def test_large_and_odd_images(tmp_path):
    for folder in ("abnormal", "mask"):
        (tmp_path / "test" / folder).mkdir(parents=True)
    Image.new("RGB", (1500, 1000), (200, 150, 120)).save(tmp_path / "test" / "abnormal" / "a.png")
    mask = Image.new("RGB", (1500, 1000))
    mask.paste((9, 0, 0), (500, 300, 1000, 700))
    mask.save(tmp_path / "test" / "mask" / "a.png")
    shown = np.argwhere(outlined(pixels(write_preview(tmp_path, tmp_path / "preview.png"))))
    assert 35 < np.ptp(shown[:, 0]) < 45
    assert 42 < np.ptp(shown[:, 1]) < 54
    mask.paste((0, 0, 4), (500, 300, 1000, 700))
    mask.save(tmp_path / "test" / "mask" / "a.png")
    with pytest.raises(DataError, match=r"mask.a.png: 200000 pixels are lesion by its colours, but 0"):
        write_preview(tmp_path, tmp_path / "preview.png")


def test_same_bytes_again(root, tmp_path):
    first = write_preview(root, tmp_path / "new" / "a.png", title="same")
    assert first.read_bytes() == write_preview(root, tmp_path / "b.PNG", title="same").read_bytes()
    assert first.read_bytes() != write_preview(root, tmp_path / "c.png").read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("exists", [False, True])
def test_empty_folder(tmp_path, exists):
    root = tmp_path / "empty"
    if exists:
        (root / "train" / "normal").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError, match=r"No images to preview in .*empty: expected \{train,val,test\}"):
        write_preview(root, tmp_path / "preview.png")
    assert not (tmp_path / "preview.png").exists()


def test_damaged_image(root, tmp_path):
    path = root / "test" / "normal" / "T01_00.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"T01_00\.png cannot be read"):
        write_preview(root, tmp_path / "preview.png")


def test_mask_of_another_size(root, tmp_path):
    Image.new("L", (10, 10), 255).save(root / "test" / "mask" / "T01_04.png")
    with pytest.raises(DataError, match=r"T01_04\.png is 10x10 but its image"):
        write_preview(root, tmp_path / "preview.png")


def test_arguments(root, tmp_path):
    with pytest.raises(ConfigurationError, match="columns must be at least 1, got 0"):
        write_preview(root, tmp_path / "preview.png", columns=0)
    with pytest.raises(ConfigurationError, match=r"is a PNG file, got .*preview\.jpg"):
        write_preview(root, tmp_path / "preview.jpg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigurationError, match=r"folder\.png cannot be written \(.*\): give another place"):
        write_preview(root, tmp_path / "folder.png")
