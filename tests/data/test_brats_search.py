"""Which files of what lies on a disk `BraTS` takes, and what it refuses or leaves out."""

import shutil

import pytest

from anomalib_patchgan.data.prepare.brats import find
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.data.brats_helpers import make, names, plan, usual
from tests.fakes.brats import TREES, write_brats


def test_the_misnamed_segmentation_of_2020_is_found(tmp_path):
    archive = write_brats(tmp_path, 2020, [*TREES[2020][1], "BraTS20_Training_355"])
    folder = archive / "BraTS20_Training_355"
    (folder / "BraTS20_Training_355_seg.nii").rename(folder / "W39_1998.09.19_Segm.nii")
    manifest = make(tmp_path, tmp_path / "cache").prepare()
    assert manifest["skipped"] == {}
    assert "BraTS20_Training_355/W39_1998.09.19_Segm.nii" in manifest["sources"]
    other = archive / "BraTS20_Training_002"
    (other / "BraTS20_Training_002_seg.nii").rename(other / "W39_1998.09.19_Segm.nii")
    with pytest.raises(DatasetNotFoundError, match="Expected: BraTS20_Training_002_seg.nii.gz"):
        make(tmp_path, tmp_path / "cache")


def test_what_macos_packs_is_left_out(tmp_path):
    archive = write_brats(tmp_path, 2021)
    for case in TREES[2021][1]:
        fork = tmp_path / "__MACOSX/BraTS2021_Training_Data" / case
        fork.mkdir(parents=True)
        for path in (archive / case).iterdir():
            (fork / f"._{path.name}").write_bytes(b"\0\5\26\7")
            (archive / case / f"._{path.name}").write_bytes(b"\0\5\26\7")
        (archive / f"._{case}").write_bytes(b"\0\5\26\7")
    (archive / ".DS_Store").touch()
    manifest = make(tmp_path, tmp_path / "cache").prepare()
    assert sorted(manifest["cases"]) == usual(2021)
    assert not any("._" in name for name in manifest["sources"])


def test_names_and_endings_in_any_case_and_a_case_one_folder_deeper(tmp_path):
    archive = write_brats(tmp_path, 2021, suffix=".NII.GZ", form="{}_{}")
    for path in archive.glob("*/*_flair.NII.GZ"):
        path.rename(path.with_name(path.name.replace("_flair", "_FLAIR")))
    deeper = archive / "BraTS2021_00002"
    deeper.rename(tmp_path / "moved")
    deeper.mkdir()
    (tmp_path / "moved").rename(deeper / deeper.name)
    (archive / "BraTS2021_00000").rename(archive / "brats2021_00000")
    manifest = make(tmp_path, tmp_path / "cache").prepare()
    assert sorted(manifest["cases"]) == ["BraTS2021_00002", "BraTS2021_01482", "brats2021_00000"]
    assert manifest["skipped"] == {}


def test_the_compressed_file_of_two_counts(tmp_path):
    archive = write_brats(tmp_path, 2021)
    (archive / "BraTS2021_00000/BraTS2021_00000_flair.nii").write_bytes(b"half unpacked")
    assert make(archive, tmp_path / "cache").prepare()["skipped"] == {}


def test_a_file_in_a_folder_of_its_name_is_found(tmp_path):
    archive = write_brats(tmp_path, 2021)
    case = archive / "BraTS2021_00000"
    for kind, inner in (("flair", "00000057_brain_flair.nii"), ("seg", "BraTS2021_00000_seg.nii.gz")):
        path = case / f"BraTS2021_00000_{kind}.nii.gz"
        path.rename(tmp_path / "moved")
        folder = path if kind == "seg" else path.with_suffix("")
        folder.mkdir()
        (tmp_path / "moved").rename(folder / inner)
    manifest = make(archive, tmp_path / "cache").prepare()
    assert manifest["skipped"] == {}
    assert "BraTS2021_00000/BraTS2021_00000_flair.nii" in manifest["sources"]
    assert "BraTS2021_00000/BraTS2021_00000_seg.nii.gz" in manifest["sources"]
    (case / "BraTS2021_00000_flair.nii/other.nii").touch()
    with pytest.raises(DatasetNotFoundError, match="Expected: BraTS2021_00000_flair.nii.gz"):
        make(archive, tmp_path / "cache")


def test_a_published_validation_part_is_left_out_and_a_labelled_one_read(tmp_path, caplog):
    write_brats(tmp_path, 2018)
    for name, segmented in (("MICCAI_BraTS_2018_Data_Validation", False), ("my_test_cases", True)):
        case = write_brats(tmp_path, 2018, [f"Brats18_CBICA_{'AAM' if segmented else 'ABT'}_1"], archive=name)
        if not segmented:
            next(case.glob("*/*_seg.nii.gz")).unlink()
    assert sorted(names(tmp_path)) == sorted([*usual(2018), "Brats18_CBICA_AAM_1"])
    assert "1 cases such as" in caplog.text
    assert "Brats18_CBICA_ABT_1 are of a validation or test part without segmentations and left out" in caplog.text
    (tmp_path / "only").mkdir()
    shutil.move(tmp_path / "MICCAI_BraTS_2018_Data_Validation", tmp_path / "only")
    with pytest.raises(DatasetNotFoundError, match="only cases of a validation or test part"):
        plan(tmp_path / "only")


def test_a_case_in_two_archives_is_refused(tmp_path):
    archive = write_brats(tmp_path / "one", 2021)
    shutil.copytree(archive, tmp_path / "two" / archive.name)
    with pytest.raises(DataError, match="BraTS2021_00000 is there twice, see .*one.*: remove one, or set root"):
        plan(tmp_path)
    with pytest.raises(DataError, match="twice"):
        plan([tmp_path / "one", tmp_path / "two"])


def test_a_root_without_cases_says_what_was_expected(tmp_path):
    (tmp_path / "photographs").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"it holds photographs/. Expected: .*Brats18_2013.*synapse"):
        plan(tmp_path)
    write_brats(tmp_path / "other", 2021)
    with pytest.raises(DatasetNotFoundError, match="Looked at .*photographs"):
        plan([tmp_path / "other", tmp_path / "photographs"])


def test_the_search_is_bounded(tmp_path, monkeypatch, caplog):
    deep = tmp_path.joinpath(*"abcdefgh")
    write_brats(deep, 2021)
    with pytest.raises(DatasetNotFoundError, match="Looked at"):
        plan(tmp_path)
    assert len(names(tmp_path / "a/b/c")) == 3
    many = tmp_path / "a/b/c/images"
    many.mkdir()
    for number in range(30):
        (many / f"{number}.png").touch()
    monkeypatch.setattr(find, "MAX_IN_FOLDER", 20)
    assert len(names(tmp_path / "a/b/c")) == 3
    assert f"{many} holds more than 20 entries" in caplog.text
    monkeypatch.setattr(find, "MAX_ENTRIES", 5)
    with pytest.raises(ConfigurationError, match="more than 5 files and folders: set root to the BraTS folders"):
        plan(tmp_path / "a/b/c")


def test_links_count_in_the_root_only(tmp_path, caplog):
    archive = write_brats(tmp_path / "disk", 2021)
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (root / "inside/linked").symlink_to(archive)
    with pytest.raises(DatasetNotFoundError, match="Looked at"):
        plan(root)
    assert "linked is a symbolic link and not followed" in caplog.text
    (root / "brats2021").symlink_to(archive)
    (root / "again").symlink_to(root)
    assert len(names(root)) == 3
    shutil.move(archive / "BraTS2021_00000", tmp_path / "outside")
    (archive / "BraTS2021_00000").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="BraTS2021_00000_flair.nii.gz is a symbolic link that leaves"):
        make(root, tmp_path / "cache")


def test_a_name_that_cannot_be_a_file_name_is_refused(tmp_path):
    archive = write_brats(tmp_path, 2018)
    (archive / "HGG/Brats18_..hidden_1").mkdir()
    with pytest.raises(DataError, match="cannot be a file name"):
        plan(tmp_path)


def test_a_grade_without_cases_beside_one_with_is_refused(tmp_path):
    archive = write_brats(tmp_path, 2018, ["HGG/Brats18_CBICA_AOO_1"])
    (archive / "LGG").mkdir()
    with pytest.raises(DatasetNotFoundError, match="LGG: it is empty"):
        plan(tmp_path)
