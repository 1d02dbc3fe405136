"""Diagnoses and user-written splits: what is tolerated, and every other line named with its number."""

import pytest

from anomalib_patchgan.data.prepare.isic2016 import read_diagnoses
from anomalib_patchgan.data.prepare.splits import read_split_file
from anomalib_patchgan.errors import DataError, DatasetNotFoundError


def written(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("words", [("benign", "malignant"), ("0.0", "1.0"), ("0", "1"), ("Benign", " MALIGNANT ")])
@pytest.mark.parametrize("start", ["", "\ufeff", "image_id,label\n", "\ufeffimage_id,benign_malignant\r\n", "\n  \n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_diagnoses(tmp_path, words, start, end):
    lines = [f"ISIC_0000000,{words[0]}", "", f' "ISIC_0000001" ,{words[1]}'.replace(' "', '"').replace('" ', '"')]
    assert read_diagnoses(written(tmp_path, start + end.join(lines))) == {"ISIC_0000000": False, "ISIC_0000001": True}


def test_a_real_file(shared_data):
    paths = sorted((shared_data / "isic2016_sample").rglob("ISBI2016_ISIC_Part3_*GroundTruth.csv"))
    assert paths
    for path in paths:
        lines = path.read_text(encoding="utf-8").split()
        diagnoses = read_diagnoses(path)
        assert len(diagnoses) == len(lines)
        assert sum(diagnoses.values()) == sum(line.endswith((",malignant", ",1.0")) for line in lines)


def test_splits(tmp_path):
    path = written(tmp_path, "ID,Split\nBraTS19_2013_2_1,train\nBraTS19_2013_3_1, Val\n\u00e9t\u00e9,TEST\n")
    assert read_split_file(path) == {"BraTS19_2013_2_1": "train", "BraTS19_2013_3_1": "val", "\u00e9t\u00e9": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "table.csv is empty"),
        ("\n \n", "table.csv is empty"),
        ("id,split\n", "table.csv is empty"),
        ("a,train\nb\n", "line 2 has 1 columns instead of 2"),
        ("a,train\n\nb,test,x\n", "line 3 has 3 columns instead of 2"),
        ("a;train\n", "line 1 has 1 columns instead of 2"),
        ("a,training\n", "line 1 has 'training' where train, val or test belongs"),
        ("a,train\nid,split\n", "line 2 has 'split' where"),
        ("id,split\nid,split\n", "line 2 has 'split' where"),
        ("a,train\nb,\n", "line 2 has '' where"),
        ("a,train\na,test\n", "line 2 names a again, which line 1 does already"),
        ("a,train\nb,val\nA,test\n", "line 3 names A again, which line 1 does already"),
        (",train\n", "line 1 holds an id that cannot be a file name, ''"),
        ("../a,train\n", "line 1 holds an id that cannot be a file name"),
        ("a/b,train\n", "line 1 holds an id"),
        ("a\\b,train\n", "line 1 holds an id"),
        (".a,train\n", "line 1 holds an id"),
        ("a\x07,train\n", r"line 1 holds an id that cannot be a file name, 'a\\x07'"),
        ('"a\nb",train\n', r"line 2 holds an id that cannot be a file name, 'a\\nb'"),
        ('a,train\n"b,test', "line 2, is no valid CSV"),
        ('a,train\n"b"c,test', "line 2, is no valid CSV"),
        (f"{'x' * 200_000},train", "line 1, is no valid CSV"),
        ("a,train\0\n", "contains NUL bytes"),
        (b"a,train\n\xff\xfe\n", r"is not UTF-8 \(byte 8\)"),
        ("a,train\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_every_other_file_is_refused_in_one_line(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=message) as error:
        read_split_file(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_misspelt_first_line_is_no_header(tmp_path):
    with pytest.raises(DataError, match="line 1 has 'bening' where benign or malignant"):
        read_diagnoses(written(tmp_path, "ISIC_0000000,bening\n"))


def test_a_missing_and_a_huge_file(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        read_split_file(tmp_path / "none.csv")
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(DataError, match="more than max_bytes"):
        read_split_file(tmp_path / "huge.csv")
