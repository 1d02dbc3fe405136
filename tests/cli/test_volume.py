"""`anomalib-patchgan volume`: files, folders and modalities in, resumed, and bad cases listed."""

import json
import os

import pytest

from tests.fakes.volume_command import volume
from tests.fakes.volumes import make_voxels, write_volume

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def folder(tmp_path):
    """Two cases as in BraTS, with what is no image beside them."""
    for number, name in enumerate(("case-1", "case-2")):
        write_volume(tmp_path / "in" / name / f"{name}_flair.nii.gz", make_voxels(seed=number))
        write_volume(tmp_path / "in" / name / f"{name}_seg.nii.gz", make_voxels(seed=number))
    return tmp_path / "in"


def test_folder_of_cases_and_resume(exported, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert volume(exported, folder, out) == 0
    names = sorted(path.name for path in out.iterdir())
    kinds = (".json", "_anomaly.nii.gz", "_mask.nii.gz")
    assert names == sorted(f"case-{number}{kind}" for number in (1, 2) for kind in kinds)
    assert "case-1.json: patient score 0." in capsys.readouterr().out

    (out / "case-1_mask.nii.gz").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert volume(exported, folder, out) == 0
    assert "case-2: done before" in capsys.readouterr().out
    assert (out / "case-2.json").stat().st_mtime_ns == times["case-2.json"]
    assert (out / "case-1.json").stat().st_mtime_ns > times["case-1.json"]

    # Another volume under the same name is another case, and so is another form of the map.
    write_volume(folder / "case-2" / "case-2_flair.nii.gz", make_voxels(seed=7))
    assert volume(exported, folder, out) == 0
    assert "done before" in (said := capsys.readouterr().out)
    assert "case-2.json" in said
    assert volume(exported, folder / "case-1", out, "--map_type", "uint8") == 0
    assert "done before" not in capsys.readouterr().out
    assert volume(exported, folder / "case-1", out, "--map_type", "uint8", "--force") == 0
    assert "done before" not in capsys.readouterr().out


def test_verdict_and_its_origin_are_said(exported, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert volume(exported, folder / "case-1", out) == 0
    said = capsys.readouterr()
    assert "found on lesion-free slices of " in said.err
    assert said.out.rstrip().endswith((", anomalous", ", normal"))
    # A record of an older version, whose verdict was by the threshold of slices, is not done.
    record = json.loads((out / "case-1.json").read_text())
    old = {name: value for name, value in record.items() if not name.startswith("patient_threshold")}
    (out / "case-1.json").write_text(json.dumps(old))
    assert volume(exported, folder / "case-1", out) == 0
    assert "done before" not in capsys.readouterr().out
    assert json.loads((out / "case-1.json").read_text()) == record


def test_record_that_names_other_files_is_not_done(exported, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert volume(exported, folder / "case-1", out) == 0
    record = json.loads((out / "case-1.json").read_text())
    (out / "case-1.json").write_text(json.dumps({**record, "outputs": {"anomaly": "../in/case-1/case-1_seg.nii.gz"}}))
    assert volume(exported, folder / "case-1", out) == 0
    assert "done before" not in capsys.readouterr().out


def test_one_bad_case_stops_no_other(exported, folder, tmp_path, capsys):
    (folder / "case-1" / "case-1_flair.nii.gz").write_bytes(b"damaged")
    assert volume(exported, folder, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "case-2.json: patient score" in said.out
    assert "failed case-1: " in said.err
    assert "is no NIfTI file" in said.err
    assert not (tmp_path / "out" / "case-1.json").exists()


def test_single_file_and_named_modality(exported, tmp_path):
    path = write_volume(tmp_path / "scan.nii", make_voxels())
    assert volume(exported, path, tmp_path / "a") == 0
    assert volume(exported, f"flair={path}", tmp_path / "b") == 0
    records = [json.loads((tmp_path / one / "scan.json").read_text()) for one in "ab"]
    assert records[0] == records[1]
    assert records[0]["inputs"] == {"flair": str(path)}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.nii.gz", "nowhere.nii.gz does not exist"),
        ("empty", "holds no <case>_flair.nii.gz"),
        ("t2=scan.nii", "--input needs flair=FILE"),
        (["scan.nii", "again/scan.nii"], "two inputs are of a case scan"),
    ],
)
def test_wrong_input_is_one_line(exported, tmp_path, monkeypatch, capsys, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("scan.nii", "again/scan.nii"):
        write_volume(tmp_path / name, make_voxels())
    assert volume(exported, source, "out") in {1, 2}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert not (tmp_path / "out").exists()


def test_cases_of_one_name_in_two_folders(exported, tmp_path, capsys):
    for name in ("a", "b"):
        write_volume(tmp_path / "in" / name / "x_flair.nii", make_voxels())
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 1
    assert "are of cases of one name" in capsys.readouterr().err


def test_model_that_is_not_there(tmp_path, capsys):
    assert volume(tmp_path / "model.xml", tmp_path / "scan.nii", tmp_path / "out") == 1
    assert "model.xml does not exist" in capsys.readouterr().err


def test_output_that_cannot_be_written(exported, tmp_path, capsys):
    path = write_volume(tmp_path / "scan.nii", make_voxels())
    (tmp_path / "file").touch()
    assert volume(exported, path, tmp_path / "file") == 1
    assert "file cannot be written to" in capsys.readouterr().err
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    assert volume(exported, path, tmp_path / "closed") == 1
    assert "Permission denied" in capsys.readouterr().err
