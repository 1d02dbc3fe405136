"""Splits by patient: by hash or from a file, stable, complete, without a patient on two sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalib_patchgan.data.prepare.splits import assign_splits, splits_from_file
from anomalib_patchgan.errors import ConfigurationError, DataError

PATIENTS = [f"P{number:03d}" for number in range(200)]
RATIOS = {"val_split_ratio": 0.15, "test_split_ratio": 0.2}


def test_shares_are_about_those_asked_for():
    splits = list(assign_splits(PATIENTS, **RATIOS, seed=0).values())
    assert 0.10 < splits.count("val") / len(splits) < 0.20
    assert 0.14 < splits.count("test") / len(splits) < 0.26


def test_an_added_patient_moves_no_other():
    before = assign_splits(PATIENTS, **RATIOS, seed=0)
    after = assign_splits([*PATIENTS, "new", "A", "zz"], **RATIOS, seed=0)
    assert {name: after[name] for name in PATIENTS} == before


def test_order_does_not_matter_and_the_seed_does():
    splits = assign_splits(PATIENTS, **RATIOS, seed=0)
    assert assign_splits(PATIENTS[::-1], **RATIOS, seed=0) == splits
    assert assign_splits(PATIENTS, **RATIOS, seed=1) != splits


@given(
    patients=st.sets(st.text(min_size=1), min_size=3, max_size=30),
    val=st.floats(0.01, 0.5),
    test=st.floats(0.01, 0.45),
    seed=st.integers(0, 1000),
)
def test_no_split_is_empty(patients, val, test, seed):
    splits = assign_splits(patients, val_split_ratio=val, test_split_ratio=test, seed=seed)
    assert splits.keys() == patients
    assert set(splits.values()) == {"train", "val", "test"}


def test_without_a_test_share_nobody_is_tested():
    splits = assign_splits(PATIENTS, val_split_ratio=0.2, test_split_ratio=0, seed=0)
    assert set(splits.values()) == {"train", "val"}


@pytest.mark.parametrize(("val", "test"), [(0, 0.2), (-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (1, 0), (float("nan"), 0.1)])
def test_ratios_that_leave_nothing_are_refused(val, test):
    with pytest.raises(ConfigurationError, match="val_split_ratio"):
        assign_splits(PATIENTS, val_split_ratio=val, test_split_ratio=test, seed=0)


def test_too_few_patients_are_refused():
    with pytest.raises(ConfigurationError, match="too few"):
        assign_splits(["A", "B"], **RATIOS, seed=0)


def write(tmp_path, text):
    path = tmp_path / "splits.csv"
    path.write_text(text, encoding="utf-8")
    return path


CASES = {"A_1": "A", "A_2": "A", "B_1": "B", "C_1": "C"}


def test_a_file_names_cases_or_patients_and_leaves_out_the_rest(tmp_path):
    path = write(tmp_path, "id,split\nA,train\nB_1,test\nC,val\n")
    cases = CASES | {"D_1": "D"}
    assert splits_from_file(path, cases) == {"A_1": "train", "A_2": "train", "B_1": "test", "C_1": "val"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A_1,train\nA_2,test\n", "puts patient A into train and test"),
        ("A,train\nX,test\n", "names X"),
        ("A,train\nB,val\n", "gives no case to test"),
        ("A,test\n", "gives no case to train"),
        ("A,test\nB,train\n", "gives no case to val"),
    ],
)
def test_files_that_cannot_work_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        splits_from_file(write(tmp_path, text), CASES)
