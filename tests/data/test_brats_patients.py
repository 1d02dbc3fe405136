"""Which cases of `BraTS` are of one patient or one scan, and their grades: by names and by `name_mapping.csv`."""

import logging

import pytest

from anomalib_patchgan.errors import DataError
from tests.data.brats_helpers import make, names, plan, split_file
from tests.fakes.brats import TREES, write_brats, write_name_mapping


def test_years_that_number_patients_alike_share_them(tmp_path):
    write_brats(tmp_path, 2018, ["HGG/Brats18_TCIA02_471_1"])
    write_brats(tmp_path, 2019, ["HGG/BraTS19_TCIA02_471_1", "HGG/BraTS19_CBICA_AAB_1"])
    write_brats(tmp_path, 2021, ["BraTS2021_00005"])
    write_brats(tmp_path, 2024, ["BraTS-GLI-00005-100", "BraTS-GLI-00006-100"])
    found = plan(tmp_path).remarks["patients"]
    assert found["Brats18_TCIA02_471_1"] == found["BraTS19_TCIA02_471_1"] == "BraTS19_TCIA02_471"
    assert found["BraTS2021_00005"] == found["BraTS-GLI-00005-100"] == "BraTS-GLI-00005"
    assert len(set(found.values())) == 4
    given = {"train": ["Brats18_TCIA02_471"], "val": ["BraTS19_CBICA_AAB_1"], "test": ["BraTS-GLI-00005"]}
    splits = plan(tmp_path, split_file=split_file(tmp_path, **given)).parameters["splits"]
    assert splits["BraTS19_TCIA02_471_1"] == splits["Brats18_TCIA02_471_1"] == "train"
    assert splits["BraTS2021_00005"] == "test"
    given["val"] += ["Brats18_TCIA02_471_1"]
    with pytest.raises(DataError, match="BraTS19_TCIA02_471 into"):
        plan(tmp_path, split_file=split_file(tmp_path, **given))


ROWS = (
    "HGG,Brats17_CBICA_AOO_1,Brats18_CBICA_AOO_1,NA,BraTS19_CBICA_AOO_1,BraTS20_Training_001",
    "HGG,NA,NA,TCGA-02-0006,BraTS19_TCIA02_471_1,BraTS20_Training_002",
    "LGG,NA,NA,TCGA-02-0006,NA,BraTS20_Training_260",
)


@pytest.fixture
def mapped(tmp_path):
    """2018 and 2020 with the table of 2020, in which a scan has two names and two cases are of one patient."""
    root = tmp_path / "root"
    write_brats(root, 2018)
    write_name_mapping(
        write_brats(root, 2020, [*TREES[2020][1], "BraTS20_Training_300"]), [*ROWS, "LGG,,,,,BraTS20_Training_300"]
    )
    return root


def test_a_name_mapping_tells_grades_of_a_flat_tree(mapped):
    write_brats(mapped, 2018, ["HGG/Brats18_CBICA_ARW_1"], archive="more")
    found = names(mapped, grades=["HGG"])
    assert found == ["Brats18_CBICA_ARW_1", "Brats18_TCIA02_471_1", "BraTS20_Training_001", "BraTS20_Training_002"]
    assert set(names(mapped)) - set(found) == {"Brats18_2013_8_1", "BraTS20_Training_260", "BraTS20_Training_300"}


def test_of_one_scan_under_two_names_the_newer_is_kept_and_the_other_named(mapped, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        manifest = make(mapped, tmp_path / "cache").prepare()
    assert manifest["duplicates"] == {"Brats18_CBICA_AOO_1": "BraTS20_Training_001"}
    assert "Brats18_CBICA_AOO_1" not in manifest["cases"]
    assert "Brats18_CBICA_AOO_1 is left out: name_mapping.csv says that it is the same scan as" in caplog.text


def test_the_older_is_kept_if_the_newer_lacks_a_file(mapped):
    next(mapped.glob("**/BraTS20_Training_001_flair.nii")).unlink()
    assert plan(mapped).remarks["duplicates"] == {"BraTS20_Training_001": "Brats18_CBICA_AOO_1"}


def test_a_name_mapping_tells_patients(mapped, caplog):
    """Of one year by the subject in TCGA, and of two years by the row; and then nothing is left to warn of."""
    found = plan(mapped).remarks["patients"]
    assert found["BraTS20_Training_002"] == found["BraTS20_Training_260"] == found["Brats18_TCIA02_471_1"]
    assert found["BraTS20_Training_002"] == "BraTS20_Training_002"
    assert caplog.text == ""


def test_a_split_file_may_use_a_name_that_is_left_out(mapped, tmp_path):
    given = {"test": ["Brats18_CBICA_AOO_1"], "val": ["Brats18_TCIA02_471"], "train": ["BraTS20_Training_300"]}
    splits = plan(mapped, split_file=split_file(tmp_path, **given)).parameters["splits"]
    assert splits == {
        "Brats18_TCIA02_471_1": "val",
        "BraTS20_Training_001": "test",
        "BraTS20_Training_002": "val",
        "BraTS20_Training_260": "val",
        "BraTS20_Training_300": "train",
    }
    given["train"] += ["BraTS20_Training_001"]
    with pytest.raises(DataError, match="puts BraTS20_Training_001 into test and"):
        plan(mapped, split_file=split_file(tmp_path, **given))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["HGG,NA,NA,NA,NA,BraTS20_Training_001,more"], "line 2, has 7 cells instead of the 6"),
        (["IV,NA,NA,NA,NA,BraTS20_Training_001"], "line 2, has 'IV' where HGG or LGG belongs"),
        (["HGG,,,,,BraTS20_Training_001", "LGG,,,,,BraTS20_Training_001"], "line 3, gives .* the grade LGG, and HGG"),
        (['HGG,,,,,"BraTS20_Training_001', ""], "no valid CSV"),
        (["HGG,,,,\0,BraTS20_Training_001"], "NUL"),
    ],
)
def test_a_damaged_name_mapping_is_one_line(tmp_path, rows, message):
    archive = write_brats(tmp_path, 2020)
    path = write_name_mapping(archive, rows)
    with pytest.raises(DataError, match=message) as caught:
        plan(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_data_sets_name_mapping_does_not_disturb(tmp_path):
    write_brats(tmp_path, 2020)
    (tmp_path / "others").mkdir()
    (tmp_path / "others/name_mapping.csv").write_bytes(b"\xff\0")
    (tmp_path / "name_mapping_photos.csv").write_text("a;b\n1;2;3\n", encoding="utf-8")
    assert len(names(tmp_path)) == 3
