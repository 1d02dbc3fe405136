"""`BraTS2019`: protocols, splits, orientation and bad archives, on fakes in the official tree."""

import os
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan import BraTS2019
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, read_json
from tests.data.brats_helpers import middle
from tests.data.killed_preparation import contents, prepare_with_kills
from tests.fakes.brats2019 import HGG, LGG, write_brats2019, write_nifti

PAPER = {"protocol": "paper", "test_tiles": 4, "val_tiles": 3}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_brats2019(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def make(archive, cache, **arguments):
    data = BraTS2019(archive, cache_dir=cache, num_workers=0, workers=1, **arguments)
    data.setup()
    return data


def tables(data):
    return data.train_data.samples, data.val_data.samples, data.test_data.samples


def pixels(path):
    return np.asarray(Image.open(path))


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


def damaged(archive, tmp_path, case=HGG[0]):
    copy = tmp_path / archive.name
    shutil.copytree(archive, copy)
    return copy, copy / "HGG" / case


def overwrite(path, change):
    image = nib.load(path)
    write_nifti(path, change(np.asarray(image.dataobj).copy()), image.affine)


def with_label_3(labels):
    labels[labels == 4] = 3
    return labels


def nan_corner(voxels):
    voxels = voxels.astype(np.float32)
    voxels[0, 0, 0] = np.nan
    return voxels


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda case: (case / f"{case.name}_flair.nii.gz").write_bytes(b"\x1f\x8b nonsense"), "flair"),
        (lambda case: overwrite(case / f"{case.name}_seg.nii.gz", with_label_3), "label"),
        (
            lambda case: overwrite(case / f"{case.name}_seg.nii.gz", lambda voxels: voxels[:-1]),
            "95x104x24 voxels instead of",
        ),
        (lambda case: overwrite(case / f"{case.name}_flair.nii.gz", np.zeros_like), "no brain"),
        (lambda case: overwrite(case / f"{case.name}_flair.nii.gz", lambda v: (v > 0).astype(np.int16)), "constant"),
        (lambda case: (case / f"{case.name}_seg.nii.gz").unlink(), "it holds .*Expected: .*_seg.nii.gz"),
    ],
)
def test_a_bad_case_stops_with_one_line_or_is_skipped(archive, tmp_path, damage, message):
    copy, case = damaged(archive, tmp_path)
    damage(case)
    with pytest.raises((DataError, DatasetNotFoundError), match=message) as caught:
        make(copy, tmp_path / "cache")
    assert case.name in str(caught.value)
    assert "\n" not in str(caught.value)
    manifest = make(copy, tmp_path / "cache", on_error="skip").prepare()
    assert list(manifest["skipped"]) == [case.name]


def test_nan_voxels_become_background_or_are_refused(archive, tmp_path, caplog):
    copy, case = damaged(archive, tmp_path)
    overwrite(case / f"{case.name}_flair.nii.gz", nan_corner)
    make(copy, tmp_path / "cache")
    assert f"{case.name}_flair.nii.gz: 1 NaN" in caplog.text
    with pytest.raises(DataError, match=f"{case.name}_flair"):
        make(copy, tmp_path / "cache", strict=True)


def test_links_that_leave_the_archive_are_refused(archive, tmp_path):
    copy, case = damaged(archive, tmp_path)
    path = case / f"{case.name}_flair.nii.gz"
    path.rename(tmp_path / "elsewhere.nii.gz")
    path.symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(DataError, match="symbolic link that leaves"):
        make(copy, tmp_path / "cache")


def test_a_link_to_the_whole_archive_is_fine(archive, tmp_path):
    (tmp_path / "link").symlink_to(archive)
    assert make(tmp_path / "link", tmp_path / "cache").prepare()["missing"] == []


def test_a_case_in_both_grades_is_refused(archive, tmp_path):
    copy, case = damaged(archive, tmp_path)
    shutil.copytree(case, copy / "LGG" / case.name)
    with pytest.raises(DataError, match="another grade"):
        make(copy, tmp_path / "cache")


def test_a_missing_archive_says_where_and_what(tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/other.zip").touch()
    with pytest.raises(
        DatasetNotFoundError, match=r"Looked at .*downloads: it holds other.zip. Expected: MICCAI.*upenn"
    ):
        make(tmp_path / "downloads", tmp_path)
    with pytest.raises(DatasetNotFoundError, match="there is no such folder"):
        make(tmp_path / "nowhere", tmp_path)


def test_a_grade_asked_for_must_be_there(tmp_path):
    archive = write_brats2019(tmp_path, hgg=HGG[:3], lgg=())
    assert len(make(archive, tmp_path / "cache").prepare()["cases"]) == 3
    with pytest.raises(DatasetNotFoundError, match="LGG: there is no such folder"):
        make(archive, tmp_path / "cache", grades=["HGG", "LGG"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"modalities": ["flair", "t1"]},
        {"modalities": ["flair", "flair", "flair"]},
        {"modalities": ["pet"]},
        {"grades": ["IV"]},
        {"image_size": 16},
        {"min_brain": 0},
        {"slice_range": (5, 3)},
        {"test_split_ratio": 0},
        {"val_tiles": 0},
        {"slice_range": (1, 2, 3)},
        {"grades": ["HGG", "HGG"]},
        {"stratum": "huge", "protocol": "tiles"},
        {"stratum": "small", "protocol": "paper"},
        {"on_error": "skipp"},
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        BraTS2019("nowhere", **arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("arguments", [{}, PAPER])
def test_killed_at_random_points_it_ends_with_the_same_bytes(archive, tmp_path, arguments):
    prepare_with_kills(BraTS2019(archive, cache_dir=tmp_path / "killed", workers=2, **arguments))
    BraTS2019(archive, cache_dir=tmp_path / "whole", workers=1, **arguments).prepare()
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_complete_folder_is_used_as_it_is(archive, tmp_path):
    """Every process of a training looks at it, and a shared one may be read-only."""
    data = make(archive, tmp_path, protocol="tiles")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in data.root.rglob("*")}
    make(archive, tmp_path, protocol="tiles")
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in data.root.rglob("*")} == before


def test_a_damaged_sample_table_is_repaired(archive, tmp_path):
    data = make(archive, tmp_path)
    table = data.root / "samples.csv"
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) // 2].rsplit(b"\n", 1)[0] + b"\n")
    assert len(make(archive, tmp_path).train_data) == len(data.train_data)
    assert table.read_bytes() == whole


def test_cases_skipped_for_a_limit_count_once_it_is_raised(archive, tmp_path):
    name = HGG[1]
    copy, case = damaged(archive, tmp_path, name)
    path = case / f"{name}_flair.nii.gz"
    largest = max(file.stat().st_size for file in copy.rglob("*.nii.gz"))
    path.write_bytes(path.read_bytes() + bytes(3_000_000))  # zeros after the last gzip member are padding
    limits = ReadLimits(max_bytes=max(largest, 2_000_000))
    arguments = {"workers": 1, "on_error": "skip", **PAPER}
    assert list(BraTS2019(copy, cache_dir=tmp_path / "one", limits=limits, **arguments).prepare()["skipped"]) == [name]
    again = BraTS2019(copy, cache_dir=tmp_path / "one", **arguments).prepare()
    assert again == BraTS2019(copy, cache_dir=tmp_path / "two", **arguments).prepare()
    assert again["counts"]["test"]["normal"] == PAPER["test_tiles"]


def test_archives_with_the_same_names_and_sizes_do_not_share_a_folder(tmp_path):
    first, second = (
        write_brats2019(tmp_path / str(seed), suffix=".nii", modalities=["flair"], seed=seed) for seed in (0, 1)
    )
    assert make(first, tmp_path).root != make(second, tmp_path).root


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_archive_that_may_not_be_read_is_one_line(archive, tmp_path):
    copy, case = damaged(archive, tmp_path)
    case.chmod(0)
    with pytest.raises(DataError, match="check"):
        make(copy, tmp_path / "cache")


def test_a_path_that_no_file_system_takes_is_one_line(tmp_path):
    with pytest.raises(DataError, match="name too long"):
        make(tmp_path / ("x" * 300), tmp_path)


def test_real_cases_in_every_protocol(shared_data, tmp_path):
    root = shared_data / "brats2019_sample"
    slices = tables(make(root, tmp_path))
    assert sum(map(len, slices)) > 300
    tiles = tables(make(root, tmp_path, protocol="tiles"))
    assert sum((table.stratum == "small").sum() for table in tiles) > 50
    paper = tables(make(root, tmp_path, protocol="paper", test_tiles=100, val_tiles=50))
    assert [len(table) > 0 for table in paper] == [True] * 3
