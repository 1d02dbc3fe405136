"""`VolumeFolder` by patterns: slices, tiles, planes, foreground, bad volumes and interrupted preparations, on fakes."""

import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan import VolumeFolder
from anomalib_patchgan.data.prepare.preview import write_preview
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.data.killed_preparation import contents, prepare_with_kills
from tests.data.samples import tables
from tests.data.volume_folder_helpers import ANY_SPLIT, IMAGE, MASK, SMALL, make, plan
from tests.fakes.brats2019 import AFFINE, write_nifti
from tests.fakes.cohort import write_folders, write_head, write_table

PATIENTS = ("P01", "P02", "P03", "P04", "P05", "P06")
BY = {"image": IMAGE, "mask": MASK}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("cohort"), PATIENTS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def copy(cohort, tmp_path):
    return shutil.copytree(cohort, tmp_path / "copy")


def voxels_of(root, case, kind="flair"):
    return np.asarray(nib.load(next(root.glob(f"{case}/{case}_{kind}.nii*"))).dataobj)


def change(root, case, edit, kind="flair"):
    path = next(root.glob(f"{case}/{case}_{kind}.nii*"))
    image = nib.load(path)
    write_nifti(path, edit(np.asarray(image.dataobj).copy()), image.affine)
    return path


def test_slices_are_those_of_the_volumes(cohort, cache):
    data = make(cohort, cache, **BY)
    train, val, test = tables(data)
    assert set(train.label) == {"normal"}
    assert set(val.label) == set(test.label) == {"normal", "abnormal"}
    assert {*train.patient_id} | {*val.patient_id} | {*test.patient_id} == set(PATIENTS)
    for row in test.itertuples():
        lesion = voxels_of(cohort, row.case, "seg")[:, :, row.slice].T > 0
        assert lesion.any() == (row.label == "abnormal")
        if row.label == "abnormal":
            assert np.array_equal(np.asarray(Image.open(row.mask_path)) > 0, lesion)
            assert row.lesion_mm2 == lesion.sum()
    assert data.volume_recipe["plane"] == "axial"
    assert data.volume_recipe["field_mm"] == 64
    manifest = data.prepare()
    assert manifest["foreground"].startswith("every voxel that is not 0")
    assert sorted(manifest["sources"]) == sorted(
        f"{case}/{case}_{kind}.nii.gz" for case in PATIENTS for kind in ("flair", "seg")
    )


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_other_planes(cohort, cache, plane):
    data = make(cohort, cache, plane=plane, **BY)
    row = data.test_data.samples.query("label == 'abnormal'").iloc[0]
    # The axes of the fakes run to the left, the back and the top.
    labels = voxels_of(cohort, row.case, "seg")
    lesion = (labels[:, row.slice, ::-1] if plane == "coronal" else labels[row.slice, :, ::-1]).T > 0
    mask = np.asarray(Image.open(row.mask_path)) > 0
    assert mask.shape == (64, 64)
    assert mask.sum() == lesion.sum()
    rows, columns = np.nonzero(mask)
    expected_rows, expected_columns = np.nonzero(lesion)
    assert np.ptp(rows) == np.ptp(expected_rows)
    assert np.array_equal(columns - columns.min(), expected_columns - expected_columns.min())
    assert data.volume_recipe["plane"] == plane


def test_any_spacing_becomes_square_pixels_of_one_size(tmp_path):
    root = write_folders(tmp_path / "cohort", PATIENTS[:3])
    for path in root.glob("*/*"):
        image = nib.load(path)
        # Every other voxel along the first axis.
        write_nifti(path, np.asarray(image.dataobj)[::2], AFFINE @ np.diag([2, 1, 1, 1]))
    test = make(root, tmp_path / "cache", image_size=32, **BY).test_data.samples
    row = test[test.label == "abnormal"].iloc[0]
    lesion = voxels_of(root, row.case, "seg")[:, :, row.slice] > 0
    mask = np.asarray(Image.open(row.mask_path)) > 0
    assert mask.shape == (32, 32)
    assert row.lesion_mm2 == 2 * lesion.sum()
    assert abs(4 * mask.sum() - row.lesion_mm2) < 0.1 * row.lesion_mm2


def test_tiles_of_healthy_scans_and_of_slices_with_lesion(tmp_path):
    root = write_folders(tmp_path / "cohort", PATIENTS, shape=(96, 104, 24))
    table = write_table(tmp_path / "p.csv", {name: ["normal" if name < "P05" else "abnormal"] for name in PATIENTS})
    for name in PATIENTS[:4]:
        change(root, name, np.zeros_like, "seg")
    data = make(root, tmp_path / "cache", protocol="tiles", participants=table, field_mm=104, **BY)
    train, val, test = tables(data)
    assert set(train.label) == {"normal"}
    assert len(train.case.unique()) >= 1
    assert {*train.patient_id} < {*PATIENTS[:4]}
    both = (*(val.stratum[val.label == "abnormal"]), *(test.stratum[test.label == "abnormal"]))
    assert set(both) == {"large", "small"}
    with Image.open(test.image_path.iloc[0]) as image:
        assert image.size == (TILE, TILE)
    small = make(root, tmp_path / "cache", protocol="tiles", participants=table, field_mm=104, stratum="small", **BY)
    assert set(small.test_data.samples.stratum.dropna()) <= {"small", ""}
    assert small.comparable_intensities


def test_a_head_is_told_from_the_air_and_skull_stripping_is_checked(tmp_path):
    root = tmp_path / "cohort"
    names = PATIENTS[:4]
    for number, name in enumerate(names):
        write_head(root / name / f"{name}_flair.nii.gz", seed=number)
    table = write_table(tmp_path / "p.csv", {name: ["normal"] for name in names})
    with pytest.raises(DataError, match=r"P0._flair.nii.gz is not skull-stripped.*--data.skull_stripped false"):
        make(root, tmp_path / "cache", image=IMAGE, participants=table)
    data = make(root, tmp_path / "cache", image=IMAGE, participants=table, skull_stripped=False)
    middle = np.asarray(Image.open(data.train_data.samples.query("slice == 8").image_path.iloc[0]))
    assert 0.4 < (middle > 0).mean() < 0.7
    assert (middle[[0, -1]] == 0).all()
    # The ventricle is dark, and part of the head.
    assert (middle[30:34, 30:34] > 0).all()
    assert "Otsu" in data.prepare()["foreground"]
    assert data.volume_recipe["skull_stripped"] is False


def nan(voxels):
    voxels = voxels.astype(np.float32)
    voxels[10, 10, 8] = np.nan
    return voxels


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [
        ("flair", lambda v: np.stack([v, v], axis=-1), "no single three-dimensional volume .*save one volume per file"),
        ("flair", np.zeros_like, "no voxel other than 0"),
        ("flair", lambda v: (v > 0).astype(np.int16), "constant"),
        ("seg", lambda v: v[:-1], "63x64x16 voxels instead of 64x64x16: resample it"),
        ("seg", lambda v: v * np.float32(0.25), "is no mask, it holds 0.5: .*threshold it"),
        ("seg", lambda v: np.where(v > 0, -1, 0).astype(np.int16), "is no mask, it holds -1"),
        ("seg", lambda v: v.astype(np.int16) * 900, "is no mask, it holds 1800"),
        ("seg", np.ones_like, "marks 100% of the foreground as lesion: is it a mask of the brain"),
        ("seg", lambda v: np.stack([v, v], axis=-1), "no single three-dimensional volume"),
    ],
)
def test_a_bad_scan_stops_with_one_line_or_is_skipped(copy, tmp_path, kind, edit, message):
    path = change(copy, "P02", edit, kind)
    with pytest.raises(DataError, match=message) as caught:
        VolumeFolder(copy, cache_dir=tmp_path / "cache", **BY, **SMALL, **ANY_SPLIT).prepare()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    skipping = VolumeFolder(copy, cache_dir=tmp_path / "cache", on_error="skip", **BY, **SMALL, **ANY_SPLIT)
    assert list(skipping.prepare()["skipped"]) == ["P02"]


def test_a_mask_elsewhere_is_refused(copy, tmp_path):
    path = copy / "P02/P02_seg.nii.gz"
    write_nifti(path, np.asarray(nib.load(path).dataobj), AFFINE + shift())
    with pytest.raises(
        DataError, match="P02_seg.nii.gz is not on the voxel grid of .*P02_flair.nii.gz, it lies up to 5"
    ):
        make(copy, tmp_path / "cache", **BY)


def shift():
    matrix = np.zeros((4, 4))
    matrix[0, 3] = 5
    return matrix


@pytest.mark.parametrize("kind", ["flair", "seg"])
def test_nan_voxels_become_background_or_are_refused(copy, tmp_path, caplog, kind):
    path = change(copy, "P02", nan, kind)
    make(copy, tmp_path / "cache", **BY)
    assert f"{path}: 1 NaN" in caplog.text
    with pytest.raises(DataError, match=f"P02_{kind}"):
        make(copy, tmp_path / "cache", strict=True, **BY)


@pytest.mark.parametrize("field_mm", [32, 104])
def test_a_field_that_does_not_show_all_is_said(cohort, tmp_path, caplog, field_mm):
    make(cohort, tmp_path / "cache", field_mm=field_mm, **BY)
    said = f"{cohort}/P02/P02_flair.nii.gz: the foreground is larger than what images show" in caplog.text
    assert said == (field_mm == 32)


def test_a_mask_of_zeros_says_that_all_is_healthy_unless_the_group_says_otherwise(copy, tmp_path, caplog):
    path = change(copy, "P02", np.zeros_like, "seg")
    data = make(copy, tmp_path / "cache", **BY)
    samples = [row for table in tables(data) for row in table.itertuples() if row.case == "P02"]
    assert len(samples) > 8
    assert {row.label for row in samples} == {"normal"}
    assert f"{path} marks no voxel: all of P02 is taken for healthy" in caplog.text
    table = write_table(tmp_path / "p.csv", {name: ["abnormal"] for name in PATIENTS})
    with pytest.raises(DataError, match="marks no voxel, but the group of P02 is abnormal"):
        make(copy, tmp_path / "cache", participants=table, **BY)
    healthy = write_table(tmp_path / "q.csv", {name: ["normal"] for name in PATIENTS})
    with pytest.raises(DataError, match="_seg.nii.gz marks a lesion, but the group of P0. is normal"):
        make(copy, tmp_path / "cache", participants=healthy, **BY)


@pytest.mark.parametrize(
    "arguments",
    [
        {"protocol": "paper"},
        {"plane": "oblique"},
        {"modalities": ["flair", "t1"]},
        {"modalities": ["flair", "t2f", "t1"]},
        {"modalities": "a word"},
        {"image_size": 16},
        {"field_mm": 0},
        {"min_brain": 0},
        {"slice_range": (5, 3)},
        {"image_size": 64.5},
        {"image_size": "64"},
        {"field_mm": "240"},
        {"min_brain": "0.5"},
        {"slice_range": (1.5, 2)},
        {"slice_range": [5, 3]},
        {"slice_range": []},
        {"slice_range": "23"},
        {"slice_range": 7},
        {"val_split_ratio": "0.2"},
        {"test_split_ratio": 0},
        {"stratum": "small"},
        {"on_error": "ignore"},
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        VolumeFolder("nowhere", **arguments)


def test_a_list_of_slices_is_as_good_as_a_tuple(cohort, tmp_path):
    listed = make(cohort, tmp_path, slice_range=[3, 12], **BY)
    found = {*listed.train_data.samples.slice} | {*listed.test_data.samples.slice}
    assert found == set(range(3, 13))
    assert listed.root == make(cohort, tmp_path, slice_range=(3, 12), **BY).root


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_killed_at_random_points_it_ends_with_the_same_bytes(cohort, tmp_path):
    prepare_with_kills(
        VolumeFolder(cohort, cache_dir=tmp_path / "killed", **BY, **ANY_SPLIT, **{**SMALL, "workers": 2})
    )
    VolumeFolder(cohort, cache_dir=tmp_path / "whole", **BY, **ANY_SPLIT, **SMALL).prepare()
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_shards_make_the_same_folder_and_a_changed_table_another(cohort, tmp_path):
    for shard in ((1, 2), (2, 2)):
        VolumeFolder(cohort, cache_dir=tmp_path / "shards", **BY, **ANY_SPLIT, **SMALL).prepare(shard=shard)
    make(cohort, tmp_path / "whole", **BY)
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    splits = dict(zip(PATIENTS, ["train", "train", "train", "train", "val", "test"], strict=True))
    table = write_table(tmp_path / "p.csv", {name: [split] for name, split in splits.items()}, columns=["split"])
    found = plan(cohort, participants=table, **BY)
    assert found.folder_name != plan(cohort, **BY).folder_name
    assert {case.name: case.plan["split"] for case in found.cases} == splits


def test_the_preview_shows_it(cohort, cache, tmp_path):
    data = make(cohort, cache, **BY)
    with Image.open(write_preview(data.root, tmp_path / "preview.png")) as image:
        assert image.format == "PNG"


def test_a_name_mixed_cohort_of_real_scans_by_one_pattern(shared_data, tmp_path):
    arguments = {"image": "**/{case}/{case}?{modality}.nii.gz", "mask": "**/{case}/{case}?seg.nii.gz"}
    found = plan(shared_data / "brats_more", **arguments)
    assert len(found.cases) == 18
    assert not any(case.problem for case in found.cases)
    few = plan(shared_data / "brats_more", modalities=["flair", "t1ce", "t2"], **arguments)
    assert sum(case.problem is None for case in few.cases) == 5
    rows = {"Brats18_CBICA_AOO_1": ["train"], "BraTS2021_01482": ["val"], "BraTS-GLI-00012-000": ["test"]}
    table = write_table(tmp_path / "p.csv", rows, columns=["split"])
    root = Path(shared_data) / "brats_more"
    data = make(root, tmp_path, participants=table, field_mm=192, image_size=64, slice_range=(40, 120), **arguments)
    assert set(data.test_data.samples.label) == {"normal", "abnormal"}


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"there is no such folder. Expected: \*/\{case\}_flair.nii.gz"):
        plan(tmp_path / "nowhere", **BY)
