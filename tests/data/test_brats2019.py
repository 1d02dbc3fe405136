"""`BraTS2019`: protocols, splits and orientation, on fakes in the official tree."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan import BraTS2019
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import read_json
from tests.data.brats2019_helpers import PAPER, make
from tests.data.brats_helpers import middle
from tests.data.samples import pixels, tables
from tests.fakes.brats2019 import HGG, LGG, write_brats2019


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_brats2019(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def source(archive, case, kind):
    return next(archive.glob(f"*/{case}/{case}_{kind}.nii*"))


def test_slices_are_normal_without_lesion_and_abnormal_with_its_mask(archive, cache):
    data = make(archive, cache)
    train, val, test = tables(data)
    assert set(train.label) == {"normal"}
    assert set(val.label) == set(test.label) == {"normal", "abnormal"}
    for row in test.itertuples():
        case = next(name for name in (*HGG, *LGG) if f"/{name}_slice" in row.image_path)
        lesion = np.asarray(nib.load(source(archive, case, "seg")).dataobj)[:, :, row.slice].T > 0
        if row.label == "abnormal":
            assert np.array_equal(middle(pixels(row.mask_path), lesion) > 0, lesion)
            assert pixels(row.mask_path).sum() == 255 * lesion.sum()
            assert lesion.sum() >= 20
        else:
            assert not lesion.any()
        flair = np.asarray(nib.load(source(archive, case, "flair")).dataobj)[:, :, row.slice].T
        image = middle(pixels(row.image_path), flair)
        assert np.array_equal(image == 0, flair == 0)
        assert np.corrcoef(image[flair > 0], flair[flair > 0])[0, 1] > 0.99
    assert next(iter(data.test_dataloader())).gt_mask.any()


def test_slices_with_little_brain_are_left_out(archive, cache):
    few, many = (tables(make(archive, cache, min_brain=share))[0] for share in (0.9, 0.01))
    assert 0 < len(few) < len(many)
    assert set(few.slice) < set(many.slice)


def test_patients_never_cross_splits_and_the_manifest_knows_each_case(archive, cache):
    data = make(archive, cache)
    manifest = read_json(data.root / "manifest.json")
    splits = manifest["parameters"]["splits"]
    assert splits.keys() == set(HGG + LGG) == set(manifest["cases"])
    for name, table in zip(("train", "val", "test"), tables(data), strict=True):
        assert set(table.patient_id) == {case.removesuffix("_1") for case, split in splits.items() if split == name}
    assert manifest["leaks_patients"] is False
    assert len(manifest["sources"]) == 2 * len(splits), "only flair and segmentations were read"
    source = manifest["sources"][f"HGG/{HGG[0]}/{HGG[0]}_flair.nii.gz"]
    assert source["bytes"] == (archive / f"HGG/{HGG[0]}/{HGG[0]}_flair.nii.gz").stat().st_size


def test_tiles_hold_the_coverage_of_their_stratum(archive, cache):
    train, _, test = tables(make(archive, cache, protocol="tiles"))
    assert set(train.label) == {"normal"}
    for row in test[test.label == "abnormal"].itertuples():
        coverage = (pixels(row.mask_path) > 0).mean()
        assert row.coverage == pytest.approx(coverage, abs=1e-4)
        assert coverage >= 0.75 if row.stratum == "large" else 0.05 <= coverage <= 0.30
    assert set(test.stratum.fillna("")) == {"", "large", "small"}
    for row in train.itertuples():
        tile = pixels(row.image_path)
        assert tile.shape == (TILE, TILE)
        assert (tile == 0).sum() <= 10


@pytest.mark.parametrize("stratum", ["large", "small"])
def test_a_stratum_keeps_its_tiles_and_all_normal_ones(archive, cache, stratum):
    whole = tables(make(archive, cache, protocol="tiles"))[2]
    data = make(archive, cache, protocol="tiles", stratum=stratum)
    test = tables(data)[2]
    assert set(test[test.label == "abnormal"].stratum) == {stratum}
    assert (test.label == "normal").sum() == (whole.label == "normal").sum()
    assert data.test_data.samples.attrs["task"] == "segmentation"


def test_a_stratum_of_slices_is_refused(archive, cache):
    with pytest.raises(ConfigurationError, match="makes no tiles"):
        make(archive, cache, stratum="small")


def test_the_published_split_takes_the_first_tiles_and_says_that_it_leaks(archive, cache):
    data = make(archive, cache, **PAPER)
    train, val, test = tables(data)
    assert test.label.value_counts().to_dict() == {"normal": 4, "abnormal": 4}
    assert val.label.value_counts().to_dict() == {"normal": 3, "abnormal": 3}
    assert set(train.label) == {"normal"}
    normals = lambda table: sorted(table[table.label == "normal"].image_path.map(lambda path: path.rsplit("/", 1)[-1]))  # noqa: E731
    assert normals(test)[-1] < normals(val)[0]
    assert normals(val)[-1] < normals(train)[0]
    assert set(test[test.label == "abnormal"].stratum) == {"large"}
    manifest = read_json(data.root / "manifest.json")
    assert manifest["leaks_patients"] is True
    assert "same patients" in manifest["warning"]
    assert set(manifest["cases"]) == set(HGG), "high grade only, as in the scripts"
    patients = lambda table: {path.rsplit("/", 1)[-1].split("_slice")[0] for path in table.image_path}  # noqa: E731
    assert patients(train) & patients(test), "it really leaks"


def test_the_number_of_training_tiles_can_be_limited(archive, cache):
    assert len(tables(make(archive, cache, **PAPER, train_tiles=5))[0]) == 5


def test_the_number_of_processes_does_not_move_the_published_split(archive, cache, tmp_path):
    one = make(archive, cache, **PAPER)
    two = BraTS2019(archive, cache_dir=tmp_path, workers=2, **PAPER)
    two.prepare()
    assert sorted(path.name for path in one.root.rglob("*.png")) == sorted(
        path.name for path in two.root.rglob("*.png")
    )


def test_three_modalities_become_red_green_and_blue(archive, cache):
    modalities = ["t1ce", "flair", "t2"]
    row = tables(make(archive, cache, modalities=modalities))[2].iloc[0]
    picture = pixels(row.image_path)
    assert picture.shape == (240, 240, 3)
    case = row.image_path.rsplit("/", 1)[-1].split("_slice")[0]
    for channel, modality in enumerate(modalities):
        voxels = np.asarray(nib.load(source(archive, case, modality)).dataobj)[:, :, row.slice].T
        image = middle(picture, voxels)
        assert np.corrcoef(image[..., channel][voxels > 0], voxels[voxels > 0])[0, 1] > 0.99


def test_image_size_and_slice_range(archive, cache):
    data = make(archive, cache, image_size=64, slice_range=(2, 20))
    train, _, test = tables(data)
    assert set(train.slice) | set(test.slice) <= set(range(2, 21))
    assert {pixels(path).shape for path in test.image_path} == {(64, 64)}


def test_arguments_that_leave_nothing_to_train_on_are_named(archive, cache):
    with pytest.raises(ConfigurationError, match="slice_range"):
        make(archive, cache, slice_range=(11, 13))


def test_grades_can_be_chosen(archive, cache):
    assert set(make(archive, cache, grades=["HGG"]).prepare()["cases"]) == set(HGG)


def test_root_may_be_the_parent_and_files_unpacked(archive, cache, tmp_path):
    plain = write_brats2019(tmp_path / "plain", suffix=".nii", modalities=["flair"], name_mapping=False)
    data = make(plain.parent, cache)
    packed = make(archive, cache)
    names = lambda table: [path.rsplit("/", 1)[-1] for path in table.image_path]  # noqa: E731
    for one, other in zip(tables(data), tables(packed), strict=True):
        assert names(one) == names(other)
        for first, second in zip(one.image_path, other.image_path, strict=True):
            assert np.array_equal(pixels(first), pixels(second))


def test_a_split_file_replaces_the_ratios(archive, tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(f"id,split\n{HGG[0]},train\n{HGG[1]},val\n{HGG[2].removesuffix('_1')},test\n", encoding="utf-8")
    data = make(archive, tmp_path, split_file=path)
    assert [set(table.patient_id) for table in tables(data)] == [{name.removesuffix("_1")} for name in HGG[:3]]
    path.write_text(f"id,split\n{HGG[0]},test\n{HGG[1]},val\n{HGG[2].removesuffix('_1')},train\n", encoding="utf-8")
    assert make(archive, tmp_path, split_file=path).root != data.root, "the content counts, not the name"


@pytest.mark.parametrize("codes", [("R", "A", "S"), ("S", "L", "P"), ("P", "I", "R")])
def test_files_in_another_orientation_give_the_same_pictures(archive, tmp_path, codes):
    turned = tmp_path / archive.name
    shutil.copytree(archive, turned)
    for path in turned.rglob(f"{HGG[0]}_*.nii.gz"):
        image = nib.load(path)
        change = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
        )
        image.as_reoriented(change).to_filename(path)
    data, original = (make(root, tmp_path / f"cache-{index}") for index, root in enumerate((turned, archive)))
    for path in original.root.rglob("*.png"):
        assert path.read_bytes() == (data.root / path.relative_to(original.root)).read_bytes()


def test_real_cases_in_every_protocol(shared_data, tmp_path):
    root = shared_data / "brats2019_sample"
    slices = tables(make(root, tmp_path))
    assert sum(map(len, slices)) > 300
    tiles = tables(make(root, tmp_path, protocol="tiles"))
    assert sum((table.stratum == "small").sum() for table in tiles) > 50
    paper = tables(make(root, tmp_path, protocol="paper", test_tiles=100, val_tiles=50))
    assert [len(table) > 0 for table in paper] == [True] * 3
