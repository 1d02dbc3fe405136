"""`benchmarks/volumes.py` on tiny cases: what it writes about patients, lesions and the rules."""

import json
import runpy
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from anomalib_patchgan.data.prepare.brats.names import parse_case
from tests.fakes.volumes import lesion_voxels, make_voxels, write_volume


def write_case(folder, name, *, lesion, axes="LPS", seed=0):
    """A case as in BraTS, with the labels of the lesion that `make_voxels` writes."""
    known = parse_case(name)
    files = [known.file_name(kind) if known else f"{name}_{kind}.nii.gz" for kind in ("flair", "seg")]
    write_volume(folder / name / files[0], make_voxels(lesion=lesion, seed=seed), axes)
    write_volume(folder / name / files[1], (lesion_voxels() & lesion).astype(np.int16), axes)
    return str(folder / name)


def start(repo_root, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["volumes.py", *map(str, words)])
    runpy.run_path(str(repo_root / "benchmarks" / "volumes.py"), run_name="__main__")


def run(repo_root, monkeypatch, model, out, cases, healthy=()):
    words = ["--model", model, "--out", out, "--cases", *cases]
    start(repo_root, monkeypatch, *words, *(["--healthy", *healthy] if healthy else []))
    return json.loads(out.read_text())


def test_patients_of_brats_have_a_rate_of_lesion_free_parts(repo_root, monkeypatch, exported, tmp_path):
    cases = [write_case(tmp_path, "a", lesion=True), write_case(tmp_path, "b", lesion=True, axes="SRA", seed=1)]
    found = run(repo_root, monkeypatch, exported, tmp_path / "out" / "volumes.json", cases)
    patients = found["patients"]
    assert patients["patients_with_lesion"] == patients["lesion_free_parts"] == 2
    assert patients["patient_AUROC"] is None
    assert "healthy patients" in patients["undefined"]["patient_AUROC"]
    assert 0 <= patients["false_positive_rate_of_lesion_free_parts"] <= 1
    assert patients["patient_threshold_from"] == "lesion-free slices"
    for case in found["cases"].values():
        # The slices of the lesion are the hot ones, so the rest scores lower: also where the axes run otherwise.
        assert case["score_of_lesion_free_part"] < case["patient_score"]
        assert case["slices"] == 8


def test_healthy_patients_count(repo_root, monkeypatch, exported, tmp_path):
    cases = [write_case(tmp_path, "a", lesion=True), write_case(tmp_path, "b", lesion=False, seed=1)]
    healthy = [write_case(tmp_path, "c", lesion=False, seed=2)]
    found = run(repo_root, monkeypatch, exported, tmp_path / "volumes.json", cases, healthy)
    assert found["patients"]["healthy_patients"] == 2
    cases = found["cases"]
    # Without a lesion the tissue of these volumes is scaled brighter, and scores are what they are.
    assert found["patients"]["patient_AUROC"] == np.mean(
        [cases["a"]["patient_score"] > cases[name]["patient_score"] for name in "bc"]
    )
    assert found["patients"]["false_positive_rate"] == np.mean([cases[name]["is_anomalous"] for name in "bc"])
    assert cases["c"]["voxel_AP"] is None


TEST_CASES = (
    ("brats2018/HGG", "Brats18_TCIA02_471_1"),
    ("brats2019/HGG", "BraTS19_2013_2_1"),
    ("brats2020", "BraTS20_Training_001"),
    ("brats2021", "BraTS2021_00003"),
    ("brats2023", "BraTS-GLI-00012-000"),
    ("brats2023", "BraTS-GLI-00012-001"),
)


@pytest.fixture
def archive(tmp_path):
    """Test cases of five patients in the naming of five years, and a split file that names them."""
    others = (("brats2021", "BraTS2021_00001", "train"), ("brats2021", "BraTS2021_00002", "val"))
    for seed, (folder, name) in enumerate(TEST_CASES):
        write_case(tmp_path / folder, name, lesion=True, seed=seed, axes=("LPS", "SRA")[seed % 2])
    for folder, name, _ in others:
        write_case(tmp_path / folder, name, lesion=True)
    rows = [f"{name},test" for _, name in TEST_CASES] + [f"{name},{split}" for _, name, split in others]
    (tmp_path / "split.csv").write_text("id,split\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_the_test_cases_of_a_split_file_are_compared_with_brightness(
    repo_root, monkeypatch, exported, checkpoint, archive, tmp_path
):
    out = tmp_path / "volumes.json"
    data = ["--root", archive, "--split_file", archive / "split.csv"]
    start(repo_root, monkeypatch, "--model", exported, "--out", out, *data)
    found = json.loads(out.read_text())
    assert found["cases"].keys() == {name for _, name in TEST_CASES}
    case = found["cases"]["BraTS-GLI-00012-000"]
    scan = make_voxels(seed=4)
    lesion = lesion_voxels()
    ap = average_precision_score(lesion[scan != 0], scan[scan != 0])
    assert case["voxel_AP_of_brightness"] == pytest.approx(ap)
    # Smoothed, the lesion is larger than it is.
    assert case["voxel_AP_of_smoothed_brightness"] < ap
    assert case["lesions"] == 1
    # Lesions more than twice as bright as tissue are found without a false spot.
    assert (case["lesion_sensitivity_of_brightness"], case["false_spots_of_brightness"]) == (1, 0)
    assert found["spots"]["thresholds"]["brightness"] > 0.3

    compared = found["comparison"]["voxel_AP"]["brightness"]
    # The visits of a patient count as one.
    assert compared["patients"] == 5
    values = [found["cases"][name]["voxel_AP"] for _, name in TEST_CASES]
    values = [*values[:4], np.mean(values[4:])]
    rule = [found["cases"][name]["voxel_AP_of_brightness"] for _, name in TEST_CASES]
    rule = [*rule[:4], np.mean(rule[4:])]
    assert compared["model"] == pytest.approx(np.mean(values))
    assert compared["above"] == np.sum(np.greater(values, rule))
    assert compared["difference"] == pytest.approx(np.mean(values) - np.mean(rule))
    low, high = compared["interval"]
    assert low < compared["difference"] < high

    # Two trainings of one model in two forms: means of nearly equal numbers.
    start(repo_root, monkeypatch, "--model", exported, checkpoint, "--out", out, *data)
    both = json.loads(out.read_text())
    assert len(both["checkpoints"]) == len(both["spots"]["thresholds"]["models"]) == 2
    for name, one in both["cases"].items():
        assert one["voxel_AP"] == pytest.approx(found["cases"][name]["voxel_AP"], abs=1e-3)
        assert one["voxel_AP_of_brightness"] == found["cases"][name]["voxel_AP_of_brightness"]
        assert one["is_anomalous"] == float(found["cases"][name]["is_anomalous"])
    assert both["patients"]["patient_threshold_from"] == found["patients"]["patient_threshold_from"]


@pytest.mark.parametrize("kind", ["no split", "no cases", "twice", "no segmentation", "gone"])
def test_what_cannot_be_measured_is_refused_in_one_line(repo_root, monkeypatch, exported, archive, capsys, kind):
    cases = [archive / folder / name for folder, name in TEST_CASES]
    words = {
        "no split": ["--root", archive],
        "no cases": [],
        "twice": ["--cases", cases[0], cases[0]],
        "no segmentation": ["--cases", cases[4]],
        "gone": ["--cases", archive / "brats2021" / "BraTS2021_77777"],
    }[kind]
    if kind == "no segmentation":
        (cases[4] / "BraTS-GLI-00012-000-seg.nii.gz").unlink()
    out = archive / "out.json"
    with pytest.raises(SystemExit, match="^2$"):
        start(repo_root, monkeypatch, "--model", exported, "--out", out, *words)
    message = capsys.readouterr().err.splitlines()[-1]
    expected = {
        "no split": "give --cases, or --root and --split_file",
        "no cases": "give --cases, or --root and --split_file",
        "twice": "a case is given twice",
        "no segmentation": "BraTS-GLI-00012-000-seg.nii.gz",
        "gone": "BraTS2021_77777 does not exist",
    }[kind]
    assert expected in message
    assert not out.exists()
