"""The same scan gets the same answer, and one that the model does not know is said to be so."""

import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.cli import main
from anomalib_patchgan.data.prepare.nifti import parse_nifti
from anomalib_patchgan.data.prepare.scan_profile import TrainingScans
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.volume import VolumeInferencer
from anomalib_patchgan.deploy.volume_files import find_volume_cases
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.deploy.conftest import RECIPE
from tests.fakes.volumes import AFFINE, SHAPE, make_voxels, write_volume

BOX = (slice(6, 58), slice(6, 58), slice(1, 9))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    paths = [write_volume(folder / f"{seed}.nii", make_voxels(seed=seed, lesion=seed % 2 == 0)) for seed in range(6)]
    scans = [RECIPE.open({path: parse_nifti(path.read_bytes(), path)}) for path in paths]
    return TrainingScans.of(scan.profile() for scan in scans)


@pytest.fixture(scope="module")
def inferencer(exported, training):
    record = RECIPE.as_dict() | {"training": training.as_dict()}
    return VolumeInferencer(exported, recipe=VolumeRecipe.from_dict(record))


def write(path, voxels, affine=AFFINE, units="mm", codes=(1, 2)):
    image = nib.Nifti1Image(voxels, None)
    image.header.set_qform(affine, code=1)
    image.header.set_sform(affine, code=2)
    image.header.set_xyzt_units(units)
    image.header["qform_code"], image.header["sform_code"] = codes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nib.Nifti1Image(voxels, None, image.header).to_bytes())
    return path


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def moved(before):
    """The affine after so many voxels were put before the first ones."""
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [*(-side for side in before), 1])[:3]
    return affine


def test_margins_change_nothing(inferencer, tmp_path):
    voxels = make_voxels()
    whole = inferencer.predict(write(tmp_path / "whole_flair.nii", voxels))
    corner = [side.start for side in BOX]
    cropped = inferencer.predict(write(tmp_path / "cropped_flair.nii", voxels[BOX], moved([-one for one in corner])))
    wide = np.pad(voxels, ((30, 5), (11, 40), (2, 3)))
    padded = inferencer.predict(write(tmp_path / "padded_flair.nii", wide, moved((30, 11, 2))))
    assert whole.mask.any()
    assert cropped.patient_score == pytest.approx(whole.patient_score, abs=1e-4)
    assert padded.patient_score == pytest.approx(whole.patient_score, abs=1e-4)
    assert dice(whole.mask[BOX], cropped.mask) > 0.99
    assert dice(whole.mask, padded.mask[30:94, 11:75, 2:12]) > 0.99
    assert padded.mask.sum() == padded.mask[30:94, 11:75, 2:12].sum()
    for other in (cropped, padded):
        assert [spot.world_mm for spot in other.hot_spots] == [
            pytest.approx(spot.world_mm, abs=1e-3) for spot in whole.hot_spots
        ]
        assert other.training_data["note"] is None


@pytest.fixture(scope="module")
def ranged(exported, tmp_path_factory):
    """A model of the slices 3 to 5 of whole scans."""
    recipe = replace(RECIPE, slice_range=(3, 5))
    folder = tmp_path_factory.mktemp("ranged")
    paths = [write_volume(folder / f"{seed}.nii", make_voxels(seed=seed)) for seed in range(3)]
    profiles = [recipe.open({path: parse_nifti(path.read_bytes(), path)}).profile() for path in paths]
    return VolumeInferencer(exported, recipe=replace(recipe, training=TrainingScans.of(profiles)))


@pytest.mark.parametrize(("below", "above"), [(0, 0), (-1, 0), (-1, -1), (4, 0), (30, 7)])
def test_a_range_of_slices_is_that_of_the_anatomy(ranged, tmp_path, below, above):
    voxels = np.pad(make_voxels(), ((0, 0), (0, 0), (max(below, 0), max(above, 0))))
    voxels = voxels[:, :, max(-below, 0) : voxels.shape[2] - max(-above, 0)]
    whole = ranged.predict(write(tmp_path / "whole_flair.nii", make_voxels()))
    other = ranged.predict(write(tmp_path / "other_flair.nii", voxels, moved((0, 0, below))))
    assert list(whole.slice_scores) == [3, 4, 5]
    assert list(other.slice_scores) == [3 + below, 4 + below, 5 + below]
    assert other.patient_score == pytest.approx(whole.patient_score, abs=1e-4)
    assert other.remarks == []


def test_a_range_of_slices_is_one_of_millimetres(ranged, tmp_path):
    affine = AFFINE @ np.diag([1, 1, 0.5, 1])
    thin = ranged.predict(write(tmp_path / "a_flair.nii", np.repeat(make_voxels(), 2, axis=2), affine))
    assert list(thin.slice_scores) == [6, 7, 8, 9, 10, 11]


def test_a_range_of_slices_whose_place_is_not_known_is_said(exported, tmp_path):
    old = VolumeInferencer(exported, recipe=replace(RECIPE, slice_range=(3, 5)))
    [remark] = old.predict(write(tmp_path / "a_flair.nii", make_voxels())).remarks
    assert remark == "the model takes slices 3 to 5, counted from the first one of a whole scan"


def test_other_voxels_change_little(inferencer, tmp_path):
    voxels = make_voxels()
    whole = inferencer.predict(write(tmp_path / "whole_flair.nii", voxels))
    fine = np.repeat(np.repeat(voxels, 2, axis=0), 2, axis=1)
    affine = AFFINE.copy()
    affine[:, :2] /= 2
    affine[:3, 3] = (AFFINE @ [-0.25, -0.25, 0, 1])[:3]
    other = inferencer.predict(write(tmp_path / "fine_flair.nii", fine, affine))
    assert other.patient_score == pytest.approx(whole.patient_score, abs=0.02)
    assert dice(np.repeat(np.repeat(whole.mask, 2, axis=0), 2, axis=1), other.mask) > 0.95
    assert other.training_data["like"] is False
    assert "voxels of 1 x 1 x 5 mm, in training 2 x 2 x 5 mm (2 times)" in other.training_data["note"]


def test_a_model_of_the_old_recipe_says_so_and_runs_as_before(exported, tmp_path, caplog):
    old = VolumeInferencer(exported, recipe=VolumeRecipe(modalities=("flair",)))
    assert "does not say" not in caplog.text
    voxels = make_voxels()
    whole = old.predict(write(tmp_path / "whole_flair.nii", voxels))
    cropped = old.predict(write(tmp_path / "cropped_flair.nii", voxels[BOX]))
    assert cropped.patient_score != pytest.approx(whole.patient_score, abs=1e-3)
    assert whole.training_data == {"like": None, "differences": {}, "note": None}


@pytest.mark.parametrize(("units", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_units_are_those_of_the_header(inferencer, tmp_path, units, factor):
    scale = np.diag([factor] * 3 + [1])
    records = []
    for name, affine, unit in (("mm", AFFINE, "mm"), ("other", scale @ AFFINE, units)):
        result = inferencer.predict(write(tmp_path / f"{name}_flair.nii", make_voxels(), affine, unit))
        records.append(json.loads(result.save(tmp_path / "out").read_text()))
    for key in ("spacing_mm", "patient_score", "shape"):
        assert records[1][key] == pytest.approx(records[0][key], abs=1e-5)
    assert records[0]["spacing_mm"] == [2, 2, 5]
    assert [patch["voxel"] for patch in records[1]["patches"]] == [patch["voxel"] for patch in records[0]["patches"]]
    stored = nib.load(tmp_path / "out" / "other_anomaly.nii.gz")
    assert stored.header.get_xyzt_units()[0] == units
    assert stored.affine == pytest.approx(scale @ AFFINE, rel=1e-5)
    assert main(["view", str(tmp_path / "out"), "--images", str(tmp_path)]) == 0
    assert (tmp_path / "out" / "other.html").is_file()


def test_units_that_cannot_be_are_refused(inferencer, tmp_path):
    path = write(tmp_path / "a_flair.nii", make_voxels(), AFFINE, "micron")
    with pytest.raises(DataError, match=r"a_flair.nii has pixels of 0.002 x 0.002 mm .*: check the units"):
        inferencer.predict(path)


def test_unknown_orientation_is_said(inferencer, tmp_path, caplog):
    path = write(tmp_path / "a_flair.nii", make_voxels(), codes=(0, 0))
    record = json.loads(inferencer.predict(path).save(tmp_path / "out").read_text())
    expected = (
        "a_flair.nii does not say its orientation (the codes of qform and sform are 0), so its axes are taken to run "
        "as is usual, the first to the patient's left, the second to the front, the third to the top"
    )
    assert expected in caplog.text
    assert any(remark.startswith(expected) for remark in record["remarks"])


def test_background_that_is_not_0_is_said_and_changes_nothing(inferencer, tmp_path):
    voxels = make_voxels().astype(np.float32)
    usual = inferencer.predict(write(tmp_path / "a_flair.nii", voxels))
    assert usual.remarks == []
    lower = inferencer.predict(write(tmp_path / "b_flair.nii", voxels / 50 - 3))
    assert lower.patient_score == pytest.approx(usual.patient_score, abs=0.01)
    assert re.search(r"b_flair.nii: the background is -3, and \d+.\d% of the voxels count as brain", lower.remarks[0])


@pytest.mark.parametrize("noise", [0, 5])
def test_a_whole_head_is_said_to_be_one(inferencer, tmp_path, noise):
    x, y = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ring = (np.hypot(x - 31.5, y - 31.5) > 27) & (np.hypot(x - 31.5, y - 31.5) < 31)
    head = np.where(ring[..., None], 900, make_voxels()) + np.random.default_rng(0).normal(0, noise, SHAPE)
    result = inferencer.predict(write(tmp_path / "a_flair.nii", np.abs(head).astype(np.float32)))
    doubt = next(remark for remark in result.remarks if "strip the skull first" in remark)
    assert re.match(r"\d+% of the voxels are taken for brain, \d+ cm2 in the largest slice", doubt)
    # In noise, skull and scalp hang on the brain by nothing here.
    assert noise or "field of view" in result.training_data["differences"]


def test_unlike_the_training_data_is_in_record_line_and_page(inferencer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("anomalib_patchgan.deploy.volume.VolumeInferencer", lambda *_args, **_settings: inferencer)
    affine = AFFINE @ np.diag([0.5, 0.5, 1, 1])
    path = write(tmp_path / "small_flair.nii", make_voxels(), affine)
    out = tmp_path / "out"
    assert main(["volume", "--model", "model.xml", "--input", str(path), "--out", str(out)]) == 0
    record = json.loads((out / "small.json").read_text())
    assert record["training_data"]["like"] is False
    assert set(record["training_data"]["differences"]) >= {"spacing", "field of view"}
    note = record["training_data"]["note"]
    assert note.startswith("unlike the training data in ")
    assert "spacing (voxels of 1 x 1 x 5 mm, in training 2 x 2 x 5 mm (2 times))" in note
    assert note in capsys.readouterr().out
    assert main(["view", str(out), "--images", str(tmp_path)]) == 0
    page = (out / "small.html").read_text()
    assert f"this scan is {note}" in page


@pytest.mark.parametrize("name", ["UP_FLAIR.NII.GZ", "up-T2F.nii", "Up_Flair.Nii.gz"])
def test_what_volume_takes_view_shows(exported, tmp_path, name):
    write_volume(tmp_path / "in" / name.replace("NII.GZ", "nii"), make_voxels())
    (tmp_path / "in" / name.replace("NII.GZ", "nii")).rename(tmp_path / "in" / name)
    for source in (tmp_path / "in" / name, tmp_path / "in"):
        out = tmp_path / f"out-{source.name}"
        assert main(["volume", "--model", str(exported), "--input", str(source), "--out", str(out)]) == 0
        assert main(["view", str(out), "--images", str(tmp_path / "in")]) == 0
        assert [path.stem.lower() for path in out.glob("*.html")] == ["up"]


def test_a_name_that_view_refuses_volume_refuses(inferencer, tmp_path):
    path = write_volume(tmp_path / "a_flair.img", make_voxels())
    with pytest.raises(DataError, match="is no NIfTI file by its name"):
        inferencer.predict(path)


@pytest.fixture
def brats(tmp_path):
    for word in ("t1c", "t1n", "t2f", "t2w", "seg"):
        write_volume(tmp_path / "A-000" / f"A-000-{word}.nii.gz", make_voxels())
    return tmp_path


def test_other_words_mean_the_modality_and_what_is_left_out_is_named(brats, caplog):
    (case,) = find_volume_cases(brats, ("flair",))
    assert case.name == "A-000"
    assert [path.name for path in case.paths.values()] == ["A-000-t2f.nii.gz"]
    for word in ("t1c", "t1n", "t2w", "seg"):
        assert f"A-000-{word}.nii.gz" in caplog.text
    (case,) = find_volume_cases(brats, ("flair", "t1ce", "t2"))
    assert [path.name for path in case.paths.values()] == ["A-000-t1c.nii.gz", "A-000-t2f.nii.gz", "A-000-t2w.nii.gz"]


def test_a_folder_without_the_modality_is_refused(brats):
    (brats / "A-000" / "A-000-t2f.nii.gz").unlink()
    expected = r"holds no <case>_flair.nii.gz or <case>_t2f.nii.gz, only A-000/A-000-seg.nii.gz, A-000/A-000-t1c.nii.gz"
    with pytest.raises(DatasetNotFoundError, match=expected):
        find_volume_cases(brats, ("flair",))


def test_a_model_without_names_takes_every_image_and_no_segmentation(brats):
    assert len(find_volume_cases(brats, ("image",))) == 4


@pytest.mark.parametrize(("word", "what"), [("seg", "no image but a segmentation"), ("t1n", "a t1 by its name")])
def test_a_single_file_of_something_else_is_refused(brats, word, what):
    with pytest.raises(ConfigurationError, match=what):
        find_volume_cases(brats / "A-000" / f"A-000-{word}.nii.gz", ("flair",))


def test_a_segmentation_is_known_by_its_values(inferencer, tmp_path):
    labels = np.zeros(SHAPE, np.float32)
    labels[20:40, 20:40, 3:6], labels[25:30, 25:30, 4] = 1, 4
    with pytest.raises(DataError, match="a_flair.nii holds only the values 0, 1, 4, as a segmentation does"):
        inferencer.predict(write(tmp_path / "a_flair.nii", labels))


def test_the_modality_may_be_given_by_any_of_its_words(inferencer, tmp_path):
    path = write(tmp_path / "scan.nii", make_voxels())
    assert inferencer.predict({"t2f": path}).inputs == {"flair": path}


COARSE = "its voxels measure 6 x 2 x 2 mm there, so resample it to cubes"


@pytest.mark.parametrize(
    ("shape", "spacing", "remedy"), [((24, 64, 64), (6, 2, 2), COARSE), ((8, 64, 10), (2, 2, 5), "give a whole scan")]
)
def test_what_to_do_with_few_voxels(inferencer, tmp_path, shape, spacing, remedy):
    voxels = np.random.default_rng(0).normal(400, 50, shape).astype(np.float32)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    with pytest.raises(DataError, match=remedy):
        inferencer.predict(write(tmp_path / "a_flair.nii", voxels, affine))


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_few_rows_are_enough_for_a_model_of_such_scans(exported, tmp_path, plane):
    # Slices of 5 mm, 26 of them: whole heads that were taken in axial slices.
    voxels = np.repeat(make_voxels(), 3, axis=2)[:, :, 2:28]
    path = write(tmp_path / "a_flair.nii", voxels)
    recipe = replace(RECIPE, plane=plane)
    profile = recipe.open({path: parse_nifti(path.read_bytes(), path)}).profile()
    coarse = replace(recipe, training=TrainingScans.of([profile]))
    result = VolumeInferencer(exported, recipe=coarse).predict(path)
    record = json.loads(result.save(tmp_path / "out").read_text())
    assert record["plane"] == plane
    assert len(record["slices"]) > 20
    assert main(["view", str(tmp_path / "out"), "--images", str(tmp_path)]) == 0
    fine = replace(profile, spacing_mm=(2.0, 2.0, 2.0))
    for training in (None, TrainingScans.of([fine])):
        model = VolumeInferencer(exported, recipe=replace(recipe, training=training))
        with pytest.raises(DataError, match=rf"{plane} slices of 64x26 voxels, fewer than 32: its voxels measure"):
            model.predict(path)
