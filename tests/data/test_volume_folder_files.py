"""Patterns and tables of participants: which scans `VolumeFolder` finds, and what becomes of each."""

import shutil

import pytest

from anomalib_patchgan.data.prepare.volume_folder.cohort import read_participants
from anomalib_patchgan.data.prepare.volume_folder.names import PathPattern
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.data.volume_folder_helpers import IMAGE, MASK, cases, files, plan, splits
from tests.fakes.cohort import write_table

BY = {"image": IMAGE, "mask": MASK}
NAMES = tuple(f"P{number:02}" for number in range(1, 11))


@pytest.fixture
def root(tmp_path):
    """Names only: planning opens no volume. The first six have masks."""
    for number, name in enumerate(NAMES):
        touch(tmp_path / "cohort", f"{name}/{name}_flair.nii.gz")
        if number < 6:
            touch(tmp_path / "cohort", f"{name}/{name}_seg.nii.gz")
    return tmp_path / "cohort"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*/{case}_flair.nii.gz", "a/b_c_flair.nii.gz", {"case": "b_c"}),
        ("*/{case}_flair.nii.gz", "a/b_FLAIR.NII.GZ", {"case": "b"}),
        ("*/{case}_flair.nii.gz", "a/b_flair.nii", {"case": "b"}),
        ("*/{case}_flair.nii.gz", "a/b/c_flair.nii.gz", None),
        ("*/{case}_flair.nii.gz", "c_flair.nii.gz", None),
        ("*/{case}_flair.nii.gz", "a/_flair.nii.gz", None),
        ("**/{case}_flair.nii.gz", "c_flair.nii.gz", {"case": "c"}),
        ("**/{case}_flair.nii.gz", "a/b/c_flair.nii.gz", {"case": "c"}),
        ("{case}/*.nii", "a/b.nii.gz", {"case": "a"}),
        ("{case}/flair.nii", "a/flair.nii.gz.part", None),
        ("{case}/{case}-?.nii.gz", "a/A-1.nii.gz", {"case": "a"}),
        ("{case}/{case}-?.nii.gz", "a/b-1.nii.gz", None),
        ("{participant}/{case}/x.nii", "p/2019/x.nii", {"participant": "p", "case": "2019"}),
        ("{participant}_{case}.nii", "a_b_1.nii", {"participant": "a_b", "case": "1"}),
        ("a+b(1)/{case}.nii", "a+b(1)/x.nii", {"case": "x"}),
        ("./{case}.nii", "x.nii", {"case": "x"}),
    ],
)
def test_patterns(pattern, path, expected):
    assert PathPattern(pattern, "image").match(path) == expected


def test_the_modality_is_one_of_those_that_are_asked_for():
    pattern = PathPattern("{case}?{modality}.nii.gz", "image", ["t2f", "flair", "t1", "t1ce"])
    assert pattern.match("a-1_flair.nii.gz") == {"case": "a-1", "modality": "flair"}
    assert pattern.match("a-1-T2F.nii.gz") == {"case": "a-1", "modality": "T2F"}
    assert pattern.match("a_t1ce.nii") == {"case": "a", "modality": "t1ce"}
    assert pattern.match("a_seg.nii") is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("*/flair.nii.gz", "it needs {case}"),
        ("{case}_flair.png", "it must end in .nii.gz or .nii"),
        ("/data/{case}.nii", "it must be relative to root"),
        ("~/{case}.nii", "it must be relative to root"),
        ("../{case}.nii", "it must be relative to root"),
        ("a\\{case}.nii", "it must be relative to root"),
        ("{case}/{patient}.nii", "{patient} is none of {participant}, {case}, {modality}"),
        ("{case}/{x.nii", "it has a brace without its other one"),
        ("{case}/{}.nii", "{} is none of"),
    ],
)
def test_what_is_no_pattern(root, pattern, reason):
    for argument in ("image", "mask"):
        with pytest.raises(ConfigurationError) as caught:
            plan(root, **{**BY, argument: pattern})
        assert f"{argument}={pattern!r} is no pattern, {reason}" in str(caught.value)


def test_image_and_mask_need_the_same_placeholders(root):
    with pytest.raises(ConfigurationError, match="mask=.*must have {case} as the images have"):
        plan(root, image=IMAGE, mask="{participant}/{case}_seg.nii.gz")
    with pytest.raises(ConfigurationError, match="image=.*needs {modality} for several modalities"):
        plan(root, modalities=["flair", "t1", "t2"], **BY)


@pytest.mark.parametrize("mask", [IMAGE, "*/{case}_*.nii.gz", "**/{case}_FLAIR.nii"])
def test_a_mask_pattern_that_takes_all_images_is_named(root, mask):
    for number in range(6):
        (root / f"{NAMES[number]}/{NAMES[number]}_seg.nii.gz").unlink()
    with pytest.raises(ConfigurationError) as caught:
        plan(root, image=IMAGE, mask=mask)
    expected = f"mask={mask!r} takes the files that image={IMAGE!r} fits, 10 such as P01/P01_flair.nii.gz: give the"
    assert str(caught.value).startswith(expected)


def test_scans_with_masks_are_found_and_others_left_out(root, caplog):
    found = plan(root, **BY)
    assert sorted(case.name for case in found.cases) == sorted(NAMES[:6])
    assert files(found.cases[0]) == ["P01/P01_flair.nii.gz", "P01/P01_seg.nii.gz"]
    assert sorted(found.remarks["left_out"]) == sorted(NAMES[6:])
    assert "4 scans are left out, such as P07: it has neither a mask nor a group" in caplog.text


def test_two_images_of_one_scan_are_refused(root):
    touch(root, "again/P01_flair.nii.gz")
    with pytest.raises(DataError, match="P01/P01_flair.nii.gz and .*again/P01_flair.nii.gz are both the flair of P01"):
        plan(root, **BY)
    (root / "again/P01_flair.nii.gz").unlink()
    touch(root, "again/p01_flair.nii.gz")
    with pytest.raises(DataError, match="both the flair of P01"):
        plan(root, **BY)


def test_of_a_file_and_its_unpacked_copy_the_compressed_one_counts(root):
    touch(root, "P01/P01_flair.nii", "P01/P01_seg.nii")
    assert files(cases(root, **BY)["P01"]) == ["P01/P01_flair.nii.gz", "P01/P01_seg.nii.gz"]


def test_endings_and_words_in_upper_case(root):
    for path in root.glob("P0[12]/*"):
        path.rename(path.with_name(path.name.replace("flair", "FLAIR").replace("seg.nii.gz", "Seg.NII.GZ")))
    assert files(cases(root, **BY)["P01"]) == ["P01/P01_FLAIR.nii.gz", "P01/P01_Seg.NII.GZ"]


@pytest.mark.parametrize("name", ["a..b", "a:b", "x" * 140])
def test_names_that_cannot_be_file_names_are_refused(root, name):
    touch(root, f"odd/{name}_flair.nii.gz")
    with pytest.raises(DataError, match="cannot be a file name"):
        plan(root, **BY)


def test_hidden_files_and_resource_forks_are_left_out(root):
    touch(root, "P01/._P01_flair.nii.gz", "__MACOSX/P11_flair.nii.gz", ".trash/P12_flair.nii.gz")
    assert len(cases(root, **BY)) == 6


def test_a_mask_is_never_an_image(root, caplog):
    found = plan(root, image="*/{case}_*.nii.gz", mask=MASK)
    assert len(found.cases) == 6
    for name in NAMES[:3]:
        touch(root, f"{name}/{name}_flair_mask.nii.gz")
    found = cases(root, image="*/{case}.nii.gz", mask="*/{case}_mask.nii.gz")
    assert list(found) == ["P01_flair", "P02_flair", "P03_flair"]
    assert "have names of masks and are no images" in caplog.text


def test_masks_without_an_image_are_named(root, caplog):
    touch(root, "X/X_seg.nii.gz")
    plan(root, **BY)
    assert "1 of 7 masks such as X/X_seg.nii.gz belong to no image" in caplog.text


def test_two_masks_are_a_problem_of_their_scan(root):
    touch(root, "other/P01_seg.nii.gz")
    assert "are both masks of P01" in str(cases(root, **BY)["P01"].problem)


def test_scans_of_one_participant_stay_together(tmp_path):
    names = [f"{participant}/{visit}" for participant in "abcdef" for visit in ("2019", "2020")]
    touch(tmp_path, *(f"{name}/{kind}.nii.gz" for name in names for kind in ("flair", "lesion")))
    found = plan(tmp_path, image="{participant}/{case}/flair.nii.gz", mask="{participant}/{case}/lesion.nii.gz")
    assert found.remarks["patients"]["a_2019"] == found.remarks["patients"]["a_2020"] == "a"
    by_case = splits(found)
    assert all(by_case[f"{name}_2019"] == by_case[f"{name}_2020"] for name in "abcdef")
    touch(tmp_path, *(f"sub-{name}_ses-{visit}_t2.nii" for name in "gh" for visit in (1, 2)))
    table = write_table(tmp_path / "p.csv", {name: ["normal"] for name in "ghi"})
    with pytest.raises(ConfigurationError, match="2 patients or images are too few to split"):
        plan(tmp_path, image="{case}_t2.nii.gz", participants=table)


def test_folders_are_links_in_the_root_only(root, tmp_path, caplog):
    shutil.move(root / "P01", tmp_path / "store")
    (root / "P01").symlink_to(tmp_path / "store")
    (root / "again").symlink_to(root)
    assert len(cases(root, **BY)) == 6
    (root / "deep").mkdir()
    (root / "deep/loop").symlink_to(tmp_path)
    assert len(cases(root, **BY)) == 6
    assert "deep/loop is a symbolic link and not followed" in caplog.text


GROUPS = {name: ["abnormal" if number < 5 else "normal"] for number, name in enumerate(NAMES)}


def test_healthy_participants_train_and_the_others_do_not(root, tmp_path):
    table = write_table(tmp_path / "p.csv", {**GROUPS, "P06": ["normal"]})
    by_case = splits(plan(root, participants=table, **BY))
    assert {by_case[name] for name in NAMES[:5]} == {"val", "test"}
    assert {by_case[name] for name in NAMES[5:]} == {"train", "val", "test"}
    more = write_table(tmp_path / "q.csv", {**GROUPS, "P11": ["normal"]})
    touch(root, "P11/P11_flair.nii.gz")
    later = splits(plan(root, participants=more, **BY))
    assert {name: later[name] for name in by_case} == by_case


def test_abnormal_scans_without_a_mask_are_left_out_and_must_not_train(root, tmp_path, caplog):
    table = write_table(tmp_path / "p.csv", {**GROUPS, "P07": ["abnormal"]})
    found = plan(root, participants=table, **BY)
    assert "P07" not in splits(found)
    assert found.remarks["left_out"] == {
        "P07": "its group is abnormal and it has no mask, so that nothing says which of its slices are healthy"
    }
    assert "1 scans are left out, such as P07: its group is abnormal and it has no mask" in caplog.text


def test_a_cohort_without_masks_judges_whole_patients(root, tmp_path):
    table = write_table(tmp_path / "p.csv", GROUPS)
    found = plan(root, image=IMAGE, participants=table)
    by_case = splits(found)
    assert len(by_case) == 10
    assert {by_case[name] for name in NAMES[:5]} == {"val", "test"}
    assert "every slice of an abnormal scan counts as abnormal" in found.remarks["warning"]
    sick = write_table(tmp_path / "s.csv", {name: ["abnormal"] for name in NAMES})
    with pytest.raises(DataError, match="no scan has a mask, and .*s.csv names no healthy participant .* column group"):
        plan(root, image=IMAGE, participants=sick)
    with pytest.raises(ConfigurationError, match="none of 10 scans can be used, such as P01: its group is abnormal"):
        plan(
            root,
            image=IMAGE,
            participants=write_table(tmp_path / "q.csv", {n: ["abnormal"] for n in NAMES}),
            protocol="tiles",
        )
    rows = {name: [*GROUPS[name], "train"] for name in NAMES} | {"P09": ["normal", "val"], "P10": ["normal", "test"]}
    training = write_table(tmp_path / "r.csv", rows, columns=["group", "split"])
    with pytest.raises(DataError, match="r.csv puts P01 into train, but its group is abnormal and it has no mask"):
        plan(root, image=IMAGE, participants=training)


def test_splits_of_the_table(root, tmp_path):
    rows = dict(zip(NAMES, [["train"]] * 4 + [["test"]] * 2, strict=False))
    found = plan(root, participants=write_table(tmp_path / "p.csv", rows, columns=["split"]), **BY)
    by_case = splits(found)
    assert {by_case[name] for name in NAMES[:4]} == {"train", "val"}
    assert by_case["P05"] == by_case["P06"] == "test"
    rows["P01"], rows["P02"] = ["val"], ["n/a"]
    found = splits(plan(root, participants=write_table(tmp_path / "q.csv", rows, columns=["split"]), **BY))
    assert found == {"P01": "val", "P03": "train", "P04": "train", "P05": "test", "P06": "test"}
    only = write_table(tmp_path / "r.csv", {name: ["train"] for name in NAMES}, columns=["split"])
    with pytest.raises(DataError, match="r.csv gives no participant with a usable scan to test"):
        plan(root, participants=only, **BY)


def test_a_split_file_comes_first(root, tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("P01,train\nP02,val\nP03,test\n", encoding="utf-8")
    table = write_table(tmp_path / "p.csv", {name: ["test"] for name in NAMES}, columns=["split"])
    assert splits(plan(root, split_file=path, participants=table, **BY)) == {
        "P01": "train",
        "P02": "val",
        "P03": "test",
    }


@pytest.mark.parametrize("line", ["P07,train", "sub-P11,train", "P11,train", "sub-P11_ses-1,train"])
def test_a_split_file_that_names_a_scan_that_is_left_out_is_told_why(root, tmp_path, line):
    touch(root, "x/sub-P11_ses-1_flair.nii.gz")
    path = tmp_path / "splits.csv"
    path.write_text(f"P01,train\nP02,val\nP03,test\n{line}\n", encoding="utf-8")
    name = line.split(",")[0]
    with pytest.raises(
        DataError, match=f"splits.csv names {name}, which is left out because it has neither a mask nor"
    ):
        plan(root, split_file=path, **BY)
    path.write_text(f"{path.read_text(encoding='utf-8')}P99,test\n".replace(line, ""), encoding="utf-8")
    with pytest.raises(DataError, match="splits.csv names P99, which the archive has not"):
        plan(root, split_file=path, **BY)


def test_participants_that_are_unknown_or_missing(root, tmp_path, caplog):
    rows = {name: ["abnormal"] for name in NAMES[:5]} | {"P99": ["normal"]}
    found = plan(root, participants=write_table(tmp_path / "p.csv", rows), **BY)
    assert sorted(case.name for case in found.cases) == sorted(NAMES[:5])
    assert "1 participants of the table, such as P99, have no scan" in caplog.text
    assert "1 scans are left out, such as P06: the table of participants does not name it" in caplog.text
    strangers = write_table(tmp_path / "q.csv", {"X": ["normal"]})
    with pytest.raises(DataError, match="names none of those that have scans, such as P01"):
        plan(root, participants=strangers, **BY)
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        plan(root, participants=tmp_path / "nowhere.csv", **BY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs one column participant_id"),
        ("id,group\na,normal\n", "needs one column participant_id"),
        ("participant_id,group,group\na,normal,normal\n", "needs one column group"),
        ("participant_id,group\n", "has no participant"),
        ("participant_id,group\na,normal,1\n", "line 2 has 3 cells instead of the 2 of the header"),
        ("participant_id,group\na,sick\n", "line 2 has 'sick' where normal or abnormal belongs"),
        ("participant_id,split\na,training\n", "line 2 has 'training' where train, val or test belongs"),
        ("participant_id,group\na,normal\nA,abnormal\n", "line 3 says something else about A than a line before"),
        ("participant_id,group\nsub-1,normal\n1,abnormal\n", "line 3 says something else about 1"),
        ("participant_id,group\n../a,normal\n", "cannot be a file name"),
        ('participant_id,group\n"a,normal\n', "is no valid CSV"),
        ("participant_id,group\na,n\0\n", "NUL"),
    ],
)
def test_tables_that_are_not_valid(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_participants(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_any_program(tmp_path, delimiter, end):
    rows = [
        ["Participant_ID", "age", "Group", "split"],
        ["sub-01", "4,5"[::2], "HC", ""],
        ["02", "", "Abnormal", "TEST"],
    ]
    path = tmp_path / "p.txt"
    path.write_bytes(b"\xef\xbb\xbf" + end.join(delimiter.join(row) for row in rows).encode())
    found = read_participants(path)
    assert [(row.name, row.group, row.split) for row in found.values()] == [
        ("sub-01", "normal", None),
        ("02", "abnormal", "test"),
    ]
    assert list(found) == ["01", "02"]


def test_the_same_row_again_is_fine(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("participant_id,session_id,group\na,1,normal\na,2,normal\n", encoding="utf-8")
    assert list(read_participants(path)) == ["a"]
