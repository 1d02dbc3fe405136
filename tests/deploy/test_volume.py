"""Volumes in, maps out: on the same grid, at the same place, the same with torch and OpenVINO."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.export import export_model
from anomalib_patchgan.deploy.predictor import load_checkpoint
from anomalib_patchgan.deploy.volume import VolumeInferencer
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.patient import PatientThreshold
from tests.fakes.volumes import LESION, SHAPE, lesion_mm, make_voxels, write_volume


@pytest.fixture(scope="module")
def inferencer(exported):
    return VolumeInferencer(exported)


def predict(inferencer, folder, axes="LPS", name="case_flair.nii.gz", **settings):
    return inferencer.predict(write_volume(folder / name, make_voxels(**settings), axes))


def test_lesion_is_the_hot_spot(inferencer, tmp_path):
    result = predict(inferencer, tmp_path)
    assert np.linalg.norm(result.hot_spots[0].world_mm - lesion_mm()) < 12
    assert abs(result.hot_spots[0].slice_index - LESION[2]) <= 1
    assert result.case == "case"
    worst = max(result.slice_scores, key=result.slice_scores.__getitem__)
    assert abs(worst - LESION[2]) <= 1
    scores = sorted(result.slice_scores.values())
    assert result.patient_score == pytest.approx(np.mean(scores[-3:]))
    assert result.mask.any()


def test_slices_without_enough_brain_are_0(inferencer, tmp_path):
    result = predict(inferencer, tmp_path)
    assert sorted(result.slice_scores) == list(range(1, SHAPE[2] - 1))
    assert not result.anomaly[:, :, [0, -1]].any()


@pytest.mark.parametrize("axes", ["RAS", "PIR", "SLA"])
def test_other_orientation_shows_the_same_at_the_same_place(inferencer, tmp_path, axes):
    first = predict(inferencer, tmp_path / "lps")
    other = predict(inferencer, tmp_path / axes, axes)
    assert other.hot_spots[0].world_mm == pytest.approx(first.hot_spots[0].world_mm, abs=1e-6)
    assert list(other.slice_scores.values()) == pytest.approx(list(first.slice_scores.values()), abs=1e-6)
    for index, centre in first.slice_centres.items():
        assert other.slice_centres[index] == pytest.approx(centre, abs=1e-6)
    path = other.save(tmp_path)
    record = json.loads(path.read_text())
    stored = nib.load(tmp_path / record["outputs"]["anomaly"])
    # The voxel of the record, looked up in the file, lies at its millimetres and is hot.
    voxel = record["patches"][0]["voxel"]
    assert (stored.affine @ [*voxel, 1])[:3] == pytest.approx(record["patches"][0]["world_mm"], abs=1e-3)
    assert stored.get_fdata()[tuple(voxel)] == pytest.approx(stored.get_fdata()[..., :].max(), abs=0.2)
    assert stored.get_fdata()[tuple(voxel)] > 0.5


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_slices_of_another_plane_come_back_to_their_place(exported, tmp_path, plane):
    recipe = VolumeRecipe(modalities=("flair",), field_mm=256.0, image_size=64, plane=plane)
    voxels = np.repeat(make_voxels(), 4, axis=2)
    results = {}
    for axes in ("LPS", "SAR"):
        path = write_volume(tmp_path / axes / "case_flair.nii.gz", voxels, axes)
        results[axes] = VolumeInferencer(exported, recipe=recipe).predict(path)
        record = json.loads(results[axes].save(tmp_path / axes).read_text())
        stored = nib.load(tmp_path / axes / record["outputs"]["anomaly"])
        place = tuple(record["patches"][0]["voxel"])
        assert stored.get_fdata()[place] == pytest.approx(stored.get_fdata().max(), abs=0.2)
        assert (stored.affine @ [*place, 1])[:3] == pytest.approx(record["patches"][0]["world_mm"], abs=3)
    first, other = results.values()
    assert first.hot_spots[0].world_mm == pytest.approx(other.hot_spots[0].world_mm, abs=1e-6)
    axis = {"sagittal": 0, "coronal": 1}[plane]
    scored = sorted(first.slice_scores)
    assert set(np.flatnonzero(first.anomaly.any(axis=tuple({0, 1, 2} - {axis})))) <= set(scored)
    centre = np.array([31.5, 31.5, 19.5, 1.0])
    centre[axis] = scored[0]
    assert first.slice_centres[scored[0]] == pytest.approx(
        (nib.load(tmp_path / "LPS/case_flair.nii.gz").affine @ centre)[:3]
    )


@pytest.mark.parametrize("map_type", ["float32", "uint8"])
def test_files_keep_grid_and_codes_of_the_input(inferencer, tmp_path, map_type):
    source = nib.load(write_volume(tmp_path / "a.nii", make_voxels(), "RAS"))
    result = inferencer.predict(tmp_path / "a.nii")
    record = json.loads(result.save(tmp_path / "out", map_type).read_text())
    for kind, dtype in (("anomaly", map_type), ("mask", "uint8")):
        stored = nib.load(tmp_path / "out" / record["outputs"][kind])
        assert stored.shape == source.shape
        assert stored.get_data_dtype() == np.dtype(dtype)
        np.testing.assert_array_equal(stored.affine, source.affine)
        for field in ("sform_code", "qform_code", "xyzt_units", "pixdim", "quatern_b", "qoffset_x", "srow_x"):
            np.testing.assert_array_equal(stored.header[field], source.header[field])
    values = nib.load(tmp_path / "out" / "a_anomaly.nii.gz").get_fdata()
    assert np.abs(values - result.anomaly).max() < (1e-6 if map_type == "float32" else 0.5 / 255 + 1e-6)
    mask = np.asarray(nib.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(mask, result.anomaly > 0.5)


def test_unknown_map_type(inferencer, tmp_path):
    with pytest.raises(ConfigurationError, match="map_type must be"):
        predict(inferencer, tmp_path).save(tmp_path, "float64")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_checkpoint_and_export_agree_in_batches_of_any_size(checkpoint, inferencer, tmp_path, batch_size):
    by_torch = predict(VolumeInferencer(checkpoint, batch_size=batch_size), tmp_path)
    by_openvino = predict(inferencer, tmp_path)
    assert np.abs(by_torch.anomaly - by_openvino.anomaly).max() < 1e-4
    assert by_torch.patient_score == pytest.approx(by_openvino.patient_score, abs=1e-4)
    assert len(by_torch.model["sha256"]) == 64


def test_three_modalities_are_red_green_and_blue(exported, tmp_path):
    paths = {name: tmp_path / f"p_{name}.nii" for name in ("t2", "flair", "t1ce")}
    for number, path in enumerate(paths.values()):
        write_volume(path, make_voxels(seed=number))
    recipe = VolumeRecipe(modalities=("flair", "t1ce", "t2"))
    inferencer = VolumeInferencer(exported, recipe=recipe)
    result = inferencer.predict(paths)
    assert result.case == "p"
    # One modality three times is another image.
    same = inferencer.predict(dict.fromkeys(recipe.modalities, paths["flair"]))
    assert np.abs(result.anomaly - same.anomaly).max() > 1e-3
    with pytest.raises(DatasetNotFoundError, match="p has no t2, which the model needs"):
        inferencer.predict({name: path for name, path in paths.items() if name != "t2"})
    with pytest.raises(ConfigurationError, match="give a file for each"):
        inferencer.predict(paths["t2"])
    with pytest.raises(ConfigurationError, match="the model takes flair, t1ce, t2, got pet"):
        inferencer.predict({"pet": paths["t2"]})
    moved = write_volume(tmp_path / "moved" / "p_t2.nii", make_voxels()[:, :, :9])
    with pytest.raises(DataError, match="is not on the voxel grid"):
        inferencer.predict({**paths, "t2": moved})


def test_bad_volumes_are_refused_in_one_line(inferencer, tmp_path):
    def refused(name, content, match, error=DataError):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            write_volume(path, content)
        with pytest.raises(error, match=match) as caught:
            inferencer.predict(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    whole = write_volume(tmp_path / "whole.nii", make_voxels()).read_bytes()
    refused("missing.nii", None, "does not exist", DatasetNotFoundError)
    refused("empty.nii", b"", "is no NIfTI file")
    refused("cut.nii", whole[:5000], "ends before")
    refused("noise.nii.gz", b"\x1f\x8b" + bytes(range(200)), "gzip")
    refused("zeros.nii", np.zeros(SHAPE, np.int16), "no voxel other than 0")
    refused("nothing.nii", np.full(SHAPE, np.nan, np.float32), "every voxel is NaN or infinite")
    refused("series.nii", np.zeros((*SHAPE, 2), np.int16)[..., :], "no single three-dimensional volume")
    refused("tiny.nii", make_voxels()[:8, :8], "fewer than 32")
    refused("long.nii", np.ones((1025, 33, 1), np.int16), "max_dimension=1024")


def test_nan_is_background_and_said(inferencer, tmp_path, caplog):
    voxels = make_voxels().astype(np.float32)
    voxels[32, 32, 5] = np.nan
    result = inferencer.predict(write_volume(tmp_path / "a.nii", voxels))
    assert np.isfinite(result.anomaly).all()
    assert "1 NaN or infinite voxels" in caplog.text


def test_full_disk_leaves_nothing_half_written(inferencer, tmp_path, monkeypatch):
    result = predict(inferencer, tmp_path)
    out = tmp_path / "out"
    result.save(out)
    (tmp_path / "full").mkdir()
    write = type(tmp_path).write_bytes
    calls = []

    def full(path, content):
        calls.append(path)
        if len(calls) == 2:
            write(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(DataError, match="No space left on device"):
        result.save(tmp_path / "full")
    # The first map is whole, and no record says that there is a result.
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["case_anomaly.nii.gz"]
    assert nib.load(tmp_path / "full" / "case_anomaly.nii.gz").get_fdata().shape == SHAPE


def test_model_that_does_not_know_its_volumes_says_so(trained, tmp_path, caplog):
    inferencer = VolumeInferencer(trained.checkpoint)
    assert inferencer.modalities == ("image",)
    assert "does not say how its images were made" in caplog.text
    assert predict(inferencer, tmp_path, name="scan.nii.gz").case == "scan"


def test_verdict_is_by_the_threshold_of_patients(inferencer, tmp_path):
    threshold = inferencer.patient_threshold
    assert threshold.source == "lesion-free slices"
    sick = predict(inferencer, tmp_path / "sick")
    healthy = predict(inferencer, tmp_path / "healthy", lesion=False, seed=3)
    for result in (sick, healthy):
        assert result.is_anomalous is (result.patient_score > threshold.value)
    assert sick.is_anomalous
    record = json.loads(sick.save(tmp_path).read_text())
    assert record["is_anomalous"] is True
    assert record["patient_threshold"] == threshold.value
    assert record["patient_threshold_from"] == "lesion-free slices"
    assert record["no_verdict"] is None


def changed(checkpoint, tmp_path, change):
    """An inferencer of the checkpoint after a change of its content."""
    content = torch.load(checkpoint, weights_only=True, map_location="cpu")
    change(content)
    torch.save(content, tmp_path / "changed.ckpt")
    return VolumeInferencer(tmp_path / "changed.ckpt")


def test_checkpoint_without_a_threshold_of_patients_gives_scores_and_mask_only(checkpoint, tmp_path):
    old = changed(checkpoint, tmp_path, lambda content: content.pop("patient_threshold"))
    result = predict(old, tmp_path)
    record = json.loads(result.save(tmp_path / "out").read_text())
    assert record["is_anomalous"] is None
    assert record["patient_threshold"] is None
    assert record["no_verdict"].startswith("the model has no threshold of patients, train it again")
    assert set(record["outputs"]) == {"anomaly", "mask"}


def test_model_without_thresholds_gives_neither_mask_nor_verdict(checkpoint, inferencer, tmp_path):
    def forget(content):
        for name in ("_image_threshold", "_pixel_threshold"):
            content["state_dict"][f"post_processor.{name}"].fill_(float("nan"))

    predict(inferencer, tmp_path).save(tmp_path / "out")
    assert (tmp_path / "out" / "case_mask.nii.gz").is_file()
    result = predict(changed(checkpoint, tmp_path, forget), tmp_path)
    assert result.mask is None
    assert result.is_anomalous is None
    record = json.loads(result.save(tmp_path / "out").read_text())
    assert record["thresholds"] == {}
    assert record["outputs"] == {"anomaly": "case_anomaly.nii.gz"}
    assert "no thresholds" in record["no_verdict"]
    # The former mask does not lie beside another model's map.
    assert not (tmp_path / "out" / "case_mask.nii.gz").exists()


def test_scan_of_many_more_slices_gets_no_verdict(checkpoint, tmp_path):
    few = changed(checkpoint, tmp_path, lambda content: content.update(patient_threshold_slices=3))
    result = predict(few, tmp_path)
    assert result.is_anomalous is None
    assert result.no_verdict.startswith("the scan has 8 slices")


def test_export_carries_the_threshold_of_patients(checkpoint, tmp_path):
    module = load_checkpoint(checkpoint)
    module.patient_threshold = PatientThreshold(value=0.625, source="healthy patients", patients=4, slices=8)
    export_model(module, tmp_path)
    card = json.loads((tmp_path / "model_card.json").read_text())
    assert (card["patient_threshold"], card["patient_threshold_from"]) == (0.625, "healthy patients")
    assert card["patient_threshold_expected_fpr"] == 0.2
    assert VolumeInferencer(tmp_path / "model.xml").patient_threshold == module.patient_threshold
