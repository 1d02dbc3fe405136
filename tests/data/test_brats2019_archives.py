"""`BraTS2019` on archives that are damaged, incomplete or linked, and with preparations that are interrupted."""

import os
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan import BraTS2019
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits
from tests.data.brats2019_helpers import PAPER, make
from tests.data.killed_preparation import contents, prepare_with_kills
from tests.fakes.brats2019 import HGG, write_brats2019, write_nifti


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_brats2019(tmp_path_factory.mktemp("archive"))


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
