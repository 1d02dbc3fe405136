"""`benchmarks/volumes.py` on tiny cases: what it writes about patients."""

import json
import runpy
import sys

import numpy as np

from tests.fakes.volumes import LESION, SHAPE, make_voxels, write_volume


def write_case(folder, name, *, lesion, axes="LPS", seed=0):
    """A case as in BraTS, with the labels of the lesion that `make_voxels` writes."""
    x, y, z = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = (np.hypot(x - LESION[0], y - LESION[1]) < 6) & (abs(z - LESION[2]) < 2)
    write_volume(folder / name / f"{name}_flair.nii.gz", make_voxels(lesion=lesion, seed=seed), axes)
    write_volume(folder / name / f"{name}_seg.nii.gz", (ball & lesion).astype(np.int16), axes)
    return str(folder / name)


def run(repo_root, monkeypatch, model, out, cases, healthy=()):
    words = ["--ckpt_path", str(model), "--out", str(out), "--cases", *cases]
    monkeypatch.setattr(sys, "argv", ["volumes.py", *words, *(["--healthy", *healthy] if healthy else [])])
    runpy.run_path(str(repo_root / "benchmarks" / "volumes.py"), run_name="__main__")
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
