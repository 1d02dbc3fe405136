"""`anomalib-patchgan volume --masks`: the table of a cohort, its summary, resume, and masks that are none."""

import csv
import json
import logging
import shutil

import nibabel as nib
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tests.fakes.volume_command import volume
from tests.fakes.volumes import lesion_voxels, make_voxels, write_volume

pytestmark = pytest.mark.usefixtures("clean_environment")

VOXEL_ML = 2 * 2 * 5 / 1000


def write_case(folder, name, *, lesion=True, seed=0, axes="LPS"):
    write_volume(folder / name / f"{name}_flair.nii.gz", make_voxels(lesion=lesion, seed=seed), axes)
    write_volume(folder / name / f"{name}_seg.nii.gz", (lesion_voxels() & lesion).astype(np.uint8), axes)


@pytest.fixture
def cohort(tmp_path):
    """Three cases with a lesion, one of them with other axes, and one without."""
    for number, (name, axes) in enumerate({"a": "LPS", "b": "SRA", "c": "LPS"}.items()):
        write_case(tmp_path / "in", name, seed=number, axes=axes)
    write_case(tmp_path / "in", "healthy", lesion=False, seed=3)
    return tmp_path / "in"


def rows_of(out):
    with (out / "accuracy" / "cases.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def summary_of(out):
    return json.loads((out / "accuracy" / "summary.json").read_text())


def test_table_and_summary_of_a_cohort(exported, cohort, tmp_path, capsys):
    out = tmp_path / "out"
    assert volume(exported, cohort, out, "--masks", str(cohort)) == 0
    said = capsys.readouterr()
    rows = rows_of(out)
    assert list(rows) == ["a", "b", "c", "healthy"]
    for name in ("a", "b"):
        anomaly = nib.load(out / f"{name}_anomaly.nii.gz").get_fdata()
        scan, mask = (nib.load(cohort / name / f"{name}_{kind}.nii.gz").get_fdata() for kind in ("flair", "seg"))
        brain, lesion = scan != 0, mask != 0
        row = rows[name]
        assert float(row["voxel_AP"]) == pytest.approx(average_precision_score(lesion[brain], anomaly[brain]), abs=1e-5)
        written = nib.load(out / f"{name}_mask.nii.gz").get_fdata() > 0
        dice = 2 * (written & lesion & brain).sum() / ((written & brain).sum() + lesion.sum())
        assert float(row["dice"]) == pytest.approx(dice, abs=1e-5)
        assert float(row["lesion_ml"]) == pytest.approx(lesion.sum() * VOXEL_ML)
        assert (row["lesions"], row["error"]) == ("1", "")
        assert f"{name}: voxel AP {float(row['voxel_AP']):.3f}, Dice {float(row['dice']):.3f}, " in said.out
    assert rows["healthy"]["voxel_AP"] == rows["healthy"]["dice"] == ""
    assert "healthy: no lesion in healthy_seg.nii.gz, counted as healthy" in said.out

    summary = summary_of(out)
    assert (summary["cases"], summary["cases_with_lesion"], summary["not_measured"]) == (4, 3, {})
    with_lesion = [rows[name] for name in "abc"]
    expected = np.mean([float(row["voxel_AP"]) for row in with_lesion])
    assert summary["voxel_AP"]["mean"] == pytest.approx(expected, abs=1e-5)
    # Three patients are too few for an interval.
    assert summary["voxel_AP"]["interval"] is None
    at = summary["at_threshold"]
    assert (at["lesions"], at["found"]) == (3, sum(int(row["lesions_found"]) for row in with_lesion))
    false = np.mean([float(row["false_spots"]) for row in rows.values()])
    assert at["false_spots_per_case"]["mean"] == pytest.approx(false)
    point = summary["at_1_false_spot_per_case"]
    assert point["false_spots_per_case"]["mean"] <= 1
    assert point["found"] == sum(int(row["lesions_found_at_1_false"]) for row in rows.values())
    patients = summary["patients"]
    assert (patients["healthy_patients"], patients["patients_with_lesion"]) == (1, 3)
    scores = [float(rows[name]["patient_score"]) for name in ("a", "b", "c", "healthy")]
    assert patients["patient_AUROC"] == pytest.approx(np.mean([score > scores[3] for score in scores[:3]]))
    assert "4 cases measured, 3 with a lesion" in said.out
    assert "patients: AUROC" in said.out


def test_lesions_are_found_and_false_spots_counted(exported, tmp_path, capsys):
    """A second lesion, where nothing is, is missed; the true one, when it is not in the mask, is a false spot."""
    path = write_volume(tmp_path / "x_flair.nii", make_voxels())
    elsewhere = np.zeros_like(lesion_voxels())
    elsewhere[16:24, 36:44, 3:5] = True
    masks = {"true": lesion_voxels(), "both": lesion_voxels() | elsewhere, "other": elsewhere}
    found = {}
    for name, mask in masks.items():
        mask_path = write_volume(tmp_path / name / "x_seg.nii", mask.astype(np.uint8))
        assert volume(exported, path, tmp_path / "out", "--masks", str(mask_path)) == 0
        row = rows_of(tmp_path / "out")["x"]
        found[name] = [int(row[key]) for key in ("lesions", "lesions_found", "false_spots")]
    lesions, hits, false = found["true"]
    assert (lesions, hits) == (1, 1)
    assert found["both"] == [2, 1, false]
    assert found["other"] == [1, 0, false + 1]
    # The model ran once.
    assert capsys.readouterr().out.count("x: done before") == 2


def test_finished_cases_are_skipped_and_still_counted(exported, cohort, tmp_path, capsys):
    out = tmp_path / "out"
    # Results without masks first: they are measured later without the model.
    assert volume(exported, cohort / "a", out) == 0
    assert not (out / "accuracy").exists()
    assert volume(exported, [cohort / "a", cohort / "b"], out, "--masks", str(cohort)) == 0
    assert capsys.readouterr().out.count("done before") == 1
    assert summary_of(out)["cases"] == 2
    kept = {path: path.stat().st_mtime_ns for path in (out / "accuracy" / "cases").iterdir()}
    assert len(kept) == 2

    assert volume(exported, cohort, out, "--masks", str(cohort)) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # What was done in three runs is what one run does.
    assert volume(exported, cohort, tmp_path / "again", "--masks", str(cohort)) == 0
    assert summary_of(tmp_path / "again") == summary_of(out)
    assert rows_of(tmp_path / "again") == rows_of(out)
    assert summary_of(out)["cases"] == 4


def test_what_changed_or_is_damaged_is_measured_again(exported, cohort, tmp_path):
    out = tmp_path / "out"
    assert volume(exported, cohort, out, "--masks", str(cohort)) == 0
    before = rows_of(out)
    cases = out / "accuracy" / "cases"
    write_volume(cohort / "a" / "a_seg.nii.gz", (lesion_voxels() * 0).astype(np.uint8))
    (cases / "b.json").write_text("{}")
    record = json.loads((cases / "c.json").read_text())
    (cases / "c.json").write_text(json.dumps({**record, "voxel_AP": 7.0}))
    assert volume(exported, cohort, out, "--masks", str(cohort)) == 0
    assert summary_of(out)["cases_with_lesion"] == 2
    after = rows_of(out)
    assert (before["a"]["lesions"], after["a"]["lesions"]) == ("1", "0")
    for name in "bc":
        assert after[name]["voxel_AP"] == before[name]["voxel_AP"]
    # A map of another type is another result.
    assert volume(exported, cohort, out, "--masks", str(cohort), "--map_type", "uint8") == 0
    assert float(rows_of(out)["b"]["voxel_AP"]) == pytest.approx(float(before["b"]["voxel_AP"]), abs=0.02)


def test_a_new_result_removes_the_summary_that_it_contradicts(exported, cohort, tmp_path):
    out = tmp_path / "out"
    assert volume(exported, cohort / "a", out, "--masks", str(cohort)) == 0
    assert volume(exported, cohort / "b", out) == 0
    assert [path.name for path in (out / "accuracy").iterdir()] == ["cases"]


def move(path):
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 4
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


SPOILED = {
    "missing": (lambda path, _: path.unlink(), "b has no mask in"),
    "other size": (
        lambda path, _: write_volume(path, lesion_voxels()[:, :, :9].astype(np.uint8)),
        "it has 64x64x9 voxels instead of 64x64x10: resample it to that grid",
    ),
    "elsewhere": (lambda path, _: move(path), "is not on the voxel grid of"),
    "soft": (lambda path, _: write_volume(path, lesion_voxels() * np.float32(0.5)), "is no mask, it holds 0.5"),
    "of the brain": (
        lambda path, _: write_volume(path, (make_voxels() != 0).astype(np.uint8)),
        "of the foreground as lesion: is it a mask of the brain",
    ),
    "of another case": (
        lambda path, _: write_volume(path, np.roll(lesion_voxels(), 28, axis=0).astype(np.uint8)),
        "lies outside the brain of",
    ),
    "damaged": (lambda path, _: path.write_bytes(path.read_bytes()[:300]), "b_seg.nii.gz"),
    "twice": (lambda path, _: shutil.copy(path, path.with_name("b_mask.nii.gz")), "are both masks of b: choose by"),
    "own": (lambda path, out: shutil.copy(out / "b_mask.nii.gz", path), "was written by this command"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_mask_that_cannot_be_used_is_one_line_and_stops_no_other(exported, tmp_path, capsys, kind):
    spoil, message = SPOILED[kind]
    for number, name in enumerate("abc"):
        write_case(tmp_path / "in", name, seed=number)
    out = tmp_path / "out"
    if kind == "own":
        assert volume(exported, tmp_path / "in", out) == 0
    spoil(tmp_path / "in" / "b" / "b_seg.nii.gz", out)
    capsys.readouterr()
    assert volume(exported, tmp_path / "in", out, "--masks", str(tmp_path / "in")) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not measured")]
    assert len(lines) == 1
    assert lines[0].startswith("not measured b: ")
    assert message in lines[0]
    # Its heat map is there all the same, and the others are measured.
    assert (out / "b.json").is_file()
    rows = rows_of(out)
    assert message in rows["b"]["error"]
    assert all(rows[name]["voxel_AP"] for name in "ac")
    assert summary_of(out)["cases"] == 2


def test_a_case_without_a_result_is_named_and_not_counted(exported, cohort, tmp_path, capsys):
    (cohort / "c" / "c_flair.nii.gz").write_bytes(b"damaged")
    assert volume(exported, cohort, tmp_path / "out", "--masks", str(cohort)) == 1
    assert "failed c: " in capsys.readouterr().err
    assert "is no NIfTI file" in rows_of(tmp_path / "out")["c"]["error"]
    assert list(summary_of(tmp_path / "out")["not_measured"]) == ["c"]


def test_masks_of_healthy_cases_alone(exported, tmp_path, capsys):
    for number, name in enumerate("ab"):
        write_case(tmp_path / "in", name, lesion=False, seed=number)
    assert volume(exported, tmp_path / "in", tmp_path / "out", "--masks", str(tmp_path / "in")) == 0
    summary = summary_of(tmp_path / "out")
    assert summary["at_1_false_spot_per_case"] is None
    assert summary["voxel_AP"] == {"mean": None, "interval": None, "patients": 0}
    assert summary["at_threshold"]["lesions"] == 0
    assert "none has one" in summary["patients"]["undefined"]["patient_AUROC"]
    assert "voxel AP unknown, Dice unknown" in capsys.readouterr().out


PLACES = {
    "masks/{case}_lesions.nii": "{case}_lesions.nii",
    "masks/*_of_{case}.nii": "mask_of_{case}.nii",
    "masks/**/{case}/truth.nii": "some/{case}/truth.nii",
    "masks/bare": "bare/{case}.nii",
}


@pytest.mark.parametrize("source", PLACES)
def test_masks_lie_where_a_pattern_or_their_names_say(exported, tmp_path, monkeypatch, caplog, source):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("ab"):
        write_volume(tmp_path / "in" / f"{name}_flair.nii", make_voxels(seed=number))
        place = PLACES[source].replace("{case}", name)
        write_volume(tmp_path / "masks" / place, lesion_voxels().astype(np.uint8))
    write_volume(tmp_path / "masks" / "zzz_lesions.nii", lesion_voxels().astype(np.uint8))
    caplog.set_level(logging.WARNING)
    assert volume(exported, "in", "out", "--masks", source) == 0
    assert {row["lesions"] for row in rows_of(tmp_path / "out").values()} == {"1"}
    assert ("masks of no case here, left out: zzz_lesions.nii" in caplog.text) == source.endswith("{case}_lesions.nii")


def test_masks_in_bids_are_those_of_the_images(exported, tmp_path):
    root = tmp_path / "bids"
    for session in ("1", "2"):
        stem = f"sub-01_ses-{session}"
        write_volume(root / f"sub-01/ses-{session}/anat/{stem}_FLAIR.nii.gz", make_voxels(seed=int(session)))
        folder = root / f"derivatives/lesions/sub-01/ses-{session}/anat"
        write_volume(folder / f"{stem}_label-lesion_mask.nii.gz", lesion_voxels().astype(np.uint8))
        write_volume(folder / f"{stem}_label-brain_mask.nii.gz", (make_voxels() != 0).astype(np.uint8))
    assert volume(exported, root, tmp_path / "out", "--masks", str(root)) == 0
    rows = rows_of(tmp_path / "out")
    assert {name: row["patient"] for name, row in rows.items()} == {"sub-01_ses-1": "sub-01", "sub-01_ses-2": "sub-01"}
    assert all(row["mask"].endswith("_label-lesion_mask.nii.gz") for row in rows.values())
    summary = summary_of(tmp_path / "out")
    assert summary["voxel_AP"]["patients"] == summary["patients"]["patients"] == 1


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ("nowhere", "nowhere does not exist: give a mask, a folder of masks"),
        ("empty", "empty holds no mask of any case: name them after the cases, such as a_seg.nii.gz"),
        ("nowhere/{case}_seg.nii.gz", "nowhere does not exist: check the pattern"),
        ("in/*/{case}_truth.nii.gz", "holds no mask of any case"),
        ("in/*/*_seg.nii.gz", "it needs {case}"),
        ("in/{participant}/{case}_seg.nii.gz", "needs {case}, where the name of the case stands, and no other"),
        ("in/{case}_seg.png", "it must end in .nii.gz or .nii"),
        ("in/a/a_seg.nii.gz", "is one mask, and there are 4 cases"),
    ],
)
def test_masks_that_are_not_there_are_said_before_work_starts(
    exported, cohort, tmp_path, monkeypatch, capsys, masks, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert volume(exported, cohort.name, "out", "--masks", masks) in {1, 2}
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" not in line]
    assert len(said) == 1
    assert message in said[0]
    assert not (tmp_path / "out").exists()


def test_one_mask_of_another_case_by_its_name(exported, cohort, tmp_path, capsys):
    image, mask = cohort / "a" / "a_flair.nii.gz", cohort / "c" / "c_seg.nii.gz"
    assert volume(exported, image, tmp_path / "out", "--masks", str(mask)) == 2
    assert "is the mask of c by its name, and the case is a: give its own as --masks" in capsys.readouterr().err
    plain = shutil.copy(mask, tmp_path / "lesion.nii.gz")
    assert volume(exported, image, tmp_path / "out", "--masks", str(plain)) == 0
