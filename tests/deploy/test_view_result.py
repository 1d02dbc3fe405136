"""Results that say what cannot be, or what their files do not: each is refused in one line."""

import json
import re

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.deploy.viewer.page import write_page
from anomalib_patchgan.errors import DataError, PatchGanError
from tests.fakes.volume_results import change_result, write_result

PATCH = {"rank": 1, "score": 0.5, "slice": 8, "voxel": [1, 1, 1], "world_mm": [0, 0, 0]}
WRONG = {
    "truth for format": ({"format": True}, "format must be a valid integer, got True"),
    "format": ({"format": 2}, "format must be 1, got 2"),
    "type": ({"patient_score": "high"}, "patient_score must be a valid number, got 'high'"),
    "truth": ({"patient_score": True}, "patient_score must be a valid number"),
    "range": ({"patient_score": 1.5}, "patient_score must be less than or equal to 1, got 1.5"),
    "nan": ({"patient_score": float("nan")}, "patient_score must be a finite number"),
    "digits": ({"patient_score": 10**400}, "patient_score must be a valid number"),
    "contradiction": (
        {"is_anomalous": False},
        "is_anomalous must be what patient_score 0.83 and patient_threshold 0.62 say",
    ),
    "patient threshold": ({"patient_threshold": 2}, "patient_threshold is out of its range"),
    "origin": ({"patient_threshold_from": ["x"]}, "patient_threshold_from is out of its range"),
    "no object": ({"thresholds": [1]}, "thresholds must be an object"),
    "threshold": ({"thresholds": {"image": 0.5}}, "thresholds.pixel is missing"),
    "slices": ({"slices": [{"slice": 1}]}, "slices[0].score is missing"),
    "order": (
        {"slices": [{"slice": k, "score": 0, "world_mm": [0, 0, 0]} for k in (2, 1)]},
        "slices must be in order",
    ),
    "place": ({"slices": [{"slice": 1, "score": 0, "world_mm": [0, 0, 900]}]}, "is not in slice 1"),
    "other slice": ({"slices": [{"slice": 20, "score": 0, "world_mm": [0, 0, 11]}]}, "is not in slice 20"),
    "patch": ({"patches": [{"rank": 1}]}, "patches[0].slice is missing"),
    "rank": ({"patches": [PATCH | {"rank": 0}]}, "patches[0].rank must be greater than or equal to 1, got 0"),
    "voxel": ({"patches": [PATCH | {"voxel": [99, 1, 1]}]}, "patches[0].voxel must be inside the image of 40x48x24"),
    "voxel text": (
        {"patches": [PATCH | {"voxel": [1, "2", 3]}]},
        "patches[0].voxel[1] must be a valid number, got '2'",
    ),
    "patches": ({"patches": {"a": 1}}, "patches must be a valid list, got {'a': 1}"),
    "shape": ({"shape": [40, 48, 25]}, "shape is 40x48x25"),
    "many images": ({"inputs": dict.fromkeys("abcd", "x.nii")}, "inputs must have at most 3 items after validation"),
    "no image": ({"inputs": {}}, "inputs must have at least 1 item after validation, not 0"),
    "other file": ({"inputs": {"image": "/etc/passwd"}}, "inputs.image must be the path of a file that ends in .nii"),
    "path": ({"outputs": {"anomaly": "../x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "absolute": ({"outputs": {"anomaly": "/x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "backslash": ({"outputs": {"anomaly": "..\\x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "terminal": ({"outputs": {"anomaly": "\x1b[2J.nii.gz"}}, r"'\x1b[2J.nii.gz'"),
    "no map": ({"outputs": {"anomaly": "none.nii.gz"}}, "none.nii.gz does not exist"),
    "long": ({"case": "a" * 5000}, "case must be a text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_one_line(tmp_path, name):
    changes, message = WRONG[name]
    result = change_result(write_result(tmp_path), **changes)
    with pytest.raises(PatchGanError) as caught:
        write_page(result)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe{", b"[1]", b"9" * 10_000, b"\x00"])
def test_damaged_json_is_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json (is no valid JSON file|holds no JSON object): write"):
        write_page(path)


def test_missing_fields_are_named(tmp_path):
    result = write_result(tmp_path)
    content = json.loads(result.read_text())
    # The page does not need the spacing, which is in the volumes, and hashes only prove that an image is the one.
    # Records of before coronal and sagittal models have no plane.
    optional = {key for key in content if key.startswith("patient_threshold")} | {"no_verdict", "plane"}
    for key in content.keys() - {"spacing_mm", "inputs_sha256"} - optional:
        result.write_text(json.dumps({name: value for name, value in content.items() if name != key}))
        with pytest.raises(DataError, match=rf"case_1\.json: {key} is missing"):
            write_page(result)


def test_maps_that_do_not_fit_are_refused(tmp_path):
    result, path = write_result(tmp_path), tmp_path / "case_1_anomaly.nii.gz"
    stored = nib.load(path)
    for voxels, affine, message in (
        (stored.get_fdata()[:-1], stored.affine, "not on the voxel grid"),
        (stored.get_fdata(), stored.affine @ np.diag([1, 1, 1.1, 1]), "not on the voxel grid"),
        (stored.get_fdata() * 3, stored.affine, "holds values from 0 to 2.8"),
        (np.full(stored.shape, np.nan), stored.affine, "NaN"),
    ):
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), affine), path)
        with pytest.raises(DataError, match=message):
            write_page(result)
    path.write_bytes(b"no volume")
    with pytest.raises(DataError, match=re.escape(str(path))):
        write_page(result)


SIZES = {"axial": 24, "coronal": 48, "sagittal": 40}


@pytest.mark.parametrize("plane", SIZES)
def test_slices_are_of_any_plane(tmp_path, plane):
    result = write_result(tmp_path, plane=plane, axes="SRA")
    page = write_page(result).read_text()
    assert f"{plane.capitalize()} slice" in page
    assert f'"plane": "{plane}", "size": {SIZES[plane]}' in page
    other = {"axial": "sagittal", "coronal": "axial", "sagittal": "coronal"}[plane]
    change_result(result, plane=other)
    with pytest.raises(DataError, match=r"the slice at .* mm is not in slice"):
        write_page(result)
    change_result(result, plane="oblique")
    with pytest.raises(DataError, match="plane must be 'axial', 'coronal' or 'sagittal', got 'oblique'"):
        write_page(result)


def test_result_of_an_older_version_is_axial(tmp_path):
    result = write_result(tmp_path)
    content = json.loads(result.read_text())
    del content["plane"]
    result.write_text(json.dumps(content))
    assert "Axial slice" in write_page(result).read_text()
