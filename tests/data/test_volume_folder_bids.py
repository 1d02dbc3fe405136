"""Which files of a BIDS data set `VolumeFolder` takes for images and masks."""

import shutil

import pytest

from anomalib_patchgan.data.prepare.volume_folder.names import parse_bids
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.data.volume_folder_helpers import cases, files, make, plan, splits
from tests.fakes.cohort import ABNORMAL, NORMAL, write_bids


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    return write_bids(tmp_path_factory.mktemp("bids") / "ds", sessions={"sub-12": ["ses-1", "ses-2"]})


@pytest.fixture
def copy(bids, tmp_path):
    return shutil.copytree(bids, tmp_path / "ds")


def derivative(root, name, source="sub-11/anat/sub-11_label-L_mask.nii.gz", folder="other/sub-11/anat"):
    path = root / "derivatives" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return shutil.copy(root / "derivatives/lesions" / source, path)


def test_healthy_volunteers_train_and_patients_validate_and_test(bids, tmp_path):
    data = make(bids, tmp_path)
    train, val, test = (part.samples for part in (data.train_data, data.val_data, data.test_data))
    assert set(train.patient_id) < set(NORMAL)
    assert set(train.label) == {"normal"}
    for part in (val, test):
        assert set(part.label) == {"normal", "abnormal"}
        assert set(part.patient_id) & set(NORMAL)
        assert set(part.patient_id) & set(ABNORMAL)
    assert set(train.patient_id) | set(val.patient_id) | set(test.patient_id) == {*NORMAL, *ABNORMAL}
    both = [part for part in (val, test) if "sub-12" in set(part.patient_id)]
    assert len(both) == 1
    assert set(both[0].case[both[0].patient_id == "sub-12"]) == {"sub-12_ses-1", "sub-12_ses-2"}


def test_sources_are_named_as_in_the_data_set(bids):
    found = cases(bids)
    assert files(found["sub-01"]) == ["sub-01/anat/sub-01_FLAIR.nii.gz"]
    assert files(found["sub-12_ses-2"]) == [
        "derivatives/lesions/sub-12/ses-2/anat/sub-12_ses-2_label-L_mask.nii.gz",
        "sub-12/ses-2/anat/sub-12_ses-2_FLAIR.nii.gz",
    ]
    assert plan(bids).remarks["patients"]["sub-12_ses-2"] == "sub-12"


@pytest.mark.parametrize(
    "name",
    [
        "sub-11_desc-brain_mask.nii.gz",
        "sub-11_label-GM_dseg.nii.gz",
        "sub-11_desc-aseg_dseg.nii.gz",
        "sub-11_space-MNI152NLin2009cAsym_label-L_mask.nii.gz",
        "sub-11_label-L_probseg.nii.gz",
        "sub-11_mod-T1w_label-L_mask.nii.gz",
        "sub-11_ses-1_label-L_mask.nii.gz",
        "sub-12_label-L_mask.nii.gz",
        "sub-11_run-2_label-L_mask.nii.gz",
    ],
)
def test_masks_of_something_else_are_not_taken(copy, name):
    derivative(copy, name, folder=f"other/{name[:6]}/anat")
    found = cases(copy)
    assert not any(case.problem for case in found.values())
    assert len(files(found["sub-11"])) == 2
    assert not any("other" in source for case in found.values() for source in case.sources)


@pytest.mark.parametrize(
    "name", ["sub-11_dseg.nii.gz", "sub-11_desc-tumor_dseg.nii", "sub-11_space-orig_label-L_desc-x_mask.NII.GZ"]
)
def test_masks_of_the_lesion_by_several_names(copy, name):
    shutil.rmtree(copy / "derivatives/lesions/sub-12")
    path = derivative(copy, name)
    (copy / "derivatives/lesions/sub-11/anat/sub-11_label-L_mask.nii.gz").unlink()
    assert path.relative_to(copy).as_posix() in files(cases(copy)["sub-11"])


def test_two_masks_are_a_problem_of_their_scan_that_a_pattern_solves(copy, tmp_path):
    derivative(copy, "sub-11_dseg.nii.gz")
    with pytest.raises(DataError, match="sub-11_.*are both masks of sub-11: choose with --data.mask PATTERN"):
        make(copy, tmp_path / "cache")
    assert list(make(copy, tmp_path / "cache", on_error="skip").prepare()["skipped"]) == ["sub-11"]
    found = cases(copy, mask="derivatives/lesions/**/{case}_label-L_mask.nii.gz")
    assert len(found) == len(cases(copy))
    assert not any(case.problem for case in found.values())


def test_a_mask_that_two_images_may_share_is_a_problem_of_both(copy):
    anat = copy / "sub-11/anat"
    (anat / "sub-11_FLAIR.nii.gz").rename(anat / "sub-11_run-1_FLAIR.nii.gz")
    shutil.copy(anat / "sub-11_run-1_FLAIR.nii.gz", anat / "sub-11_run-2_FLAIR.nii.gz")
    found = cases(copy)
    assert "may be of sub-11_run-1 or of another scan" in str(found["sub-11_run-1"].problem)
    assert found["sub-11_run-2"].problem is not None
    lesions = copy / "derivatives/lesions/sub-11/anat"
    (lesions / "sub-11_label-L_mask.nii.gz").rename(lesions / "sub-11_run-2_label-L_mask.nii.gz")
    found = cases(copy)
    assert found["sub-11_run-2"].problem is None
    assert "sub-11_run-1" not in found


def test_derivatives_and_source_data_are_no_images(copy):
    shutil.copytree(copy / "sub-01", copy / "derivatives/bet/sub-01")
    shutil.copytree(copy / "sub-02", copy / "sourcedata/sub-02")
    (copy / "sub-03/func").mkdir()
    shutil.copy(copy / "sub-03/anat/sub-03_FLAIR.nii.gz", copy / "sub-03/func/sub-03_run-9_FLAIR.nii.gz")
    (copy / "sub-03/anat/flair.nii.gz").touch()
    assert sorted(cases(copy)) == sorted([*NORMAL, "sub-11", "sub-12_ses-1", "sub-12_ses-2", "sub-13"])


def test_a_derivative_may_be_the_root(copy):
    shutil.copytree(copy, copy / "derivatives/stripped", ignore=shutil.ignore_patterns("stripped"))
    assert len(cases(copy / "derivatives/stripped")) == len(cases(copy))


def test_three_modalities_and_others_by_their_suffix(tmp_path):
    root = write_bids(tmp_path / "ds", modalities=("flair", "t1", "t1ce", "t2"))
    found = cases(root, modalities=["t1ce", "T2w", "flair"])["sub-11"]
    assert [name.rsplit("_", 1)[1] for name in found.sources] == [
        "T1w.nii.gz",
        "T2w.nii.gz",
        "FLAIR.nii.gz",
        "mask.nii.gz",
    ]
    assert "ce-gadolinium" in next(iter(found.sources))
    for path in root.glob("sub-*/anat/*_ce-*"):
        path.rename(path.with_name(path.name.replace("_ce-gadolinium_T1w", "_PDw")))
    assert files(cases(root, modalities="PDw")["sub-01"]) == ["sub-01/anat/sub-01_PDw.nii.gz"]
    assert files(cases(root, modalities="t1")["sub-01"]) == ["sub-01/anat/sub-01_T1w.nii.gz"]


def test_a_missing_modality_is_a_problem_of_its_scan(tmp_path):
    root = write_bids(tmp_path / "ds", modalities=("flair", "t1", "t2"))
    (root / "sub-11/anat/sub-11_T2w.nii.gz").unlink()
    found = cases(root, modalities=["flair", "t1", "t2"])
    assert "sub-11 has no t2 beside" in str(found["sub-11"].problem)
    assert found["sub-12"].problem is None


def test_a_file_in_the_folder_of_another_participant_is_refused(copy):
    shutil.copy(copy / "sub-01/anat/sub-01_FLAIR.nii.gz", copy / "sub-02/anat")
    with pytest.raises(DataError, match="sub-02/anat/sub-01_FLAIR.nii.gz lies in the folder of another participant"):
        plan(copy)


def test_what_is_no_bids_says_what_was_expected(copy, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"Expected: sub-\*.*with t1 as in BIDS.*Volumes there: .*FLAIR"):
        plan(copy, modalities="t1")
    with pytest.raises(DatasetNotFoundError, match="there is no such folder"):
        plan(tmp_path / "nowhere")


def test_a_table_that_came_with_the_data_may_say_anything_in_its_groups(copy, caplog):
    table = copy / "participants.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("abnormal", "fcd"), encoding="utf-8")
    found = plan(copy)
    assert set(splits(found)) == set(cases(copy))
    assert "line 7 has 'fcd'" in caplog.text
    with pytest.raises(DataError, match="participants.tsv, line 7 has 'fcd' where normal or abnormal belongs"):
        plan(copy, participants=table)


def test_without_a_table_scans_without_masks_are_left_out(copy, caplog):
    (copy / "participants.tsv").unlink()
    assert sorted(cases(copy)) == ["sub-11", "sub-12_ses-1", "sub-12_ses-2", "sub-13"]
    assert "5 scans are left out, such as sub-01: it has neither a mask nor a group" in caplog.text
    shutil.rmtree(copy / "derivatives")
    with pytest.raises(ConfigurationError, match="none of 9 scans can be used.*--data.participants TABLE"):
        plan(copy)


def test_an_image_may_be_a_link_and_lost_ones_are_named(copy, tmp_path, caplog):
    path = copy / "sub-01/anat/sub-01_FLAIR.nii.gz"
    path.rename(tmp_path / "store")
    path.symlink_to(tmp_path / "store")
    lost = copy / "sub-02/anat/sub-02_FLAIR.nii.gz"
    lost.unlink()
    lost.symlink_to(tmp_path / "nothing")
    found = cases(copy)
    assert "sub-01" in found
    assert "sub-02" not in found
    assert "1 files such as sub-02/anat/sub-02_FLAIR.nii.gz are links to nothing" in caplog.text


def test_names():
    name = parse_bids("sub-01/ses-a/anat/sub-01_ses-a_ce-gd_run-1_T1w.nii")
    assert (name.case, name.session, name.suffix) == ("sub-01_ses-a_run-1", "sub-01_ses-a", "t1w")
    for other in ("flair.nii.gz", "sub-01.nii.gz", "sub-_FLAIR.nii.gz", "sub-01_ses_FLAIR.nii", "sub-0/1_FLAIR.nii"):
        assert parse_bids(other) is None
