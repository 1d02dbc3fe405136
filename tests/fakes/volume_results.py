"""Writes results of volumes that no model ever saw: a bright egg with a hot spot at a known place."""

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from anomalib_patchgan.patient import PatientThreshold

SHAPE = (40, 48, 24)
SPACING = (2.0, 1.5, 3.0)
# Voxel of the hot spot along axes to the right, front and top: off centre along each, to the patient's left.
SPOT = (12, 30, 15)


def write_result(
    folder: str | Path,
    case: str = "case_1",
    *,
    axes: str = "LPS",
    modalities: tuple[str, ...] = ("image",),
    mask: bool = True,
    tilt: float = 0.0,
    plane: str = "axial",
    **changes: Any,
) -> Path:
    """Write image, anomaly map, mask and JSON file of one case.

    Args:
        folder: Folder of the result; the images get a folder of their own in it.
        case: Name of the case.
        axes: Where the axes of the files run to.
        modalities: Names of the images.
        mask: Whether there is a mask.
        tilt: Turn of the files about the axis from left to right, in radians.
        plane: Of the slices.
        changes: Values of the JSON file to replace.

    Returns:
        The JSON file.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    affine = _affine(tilt)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij"))
    inside = (grid**2).sum(axis=0) < 0.8
    inputs = {}
    for number, name in enumerate(modalities):
        image = np.where(inside, 300 + 100 * number + 200 * grid[number % 3], 0).astype(np.int16)
        path = folder / "images" / f"{case}_{name}.nii.gz"
        _save(image, affine, axes, path)
        inputs[name] = str(path.resolve())
    indices = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    spot = np.array(SPOT)
    distance = (((indices - spot[:, None, None, None]) * np.reshape(SPACING, (3, 1, 1, 1))) ** 2).sum(axis=0)
    anomaly = np.where(inside, 0.1 + 0.85 * np.exp(-distance / 60), 0).astype(np.float32)
    outputs = {"anomaly": f"{case}_anomaly.nii.gz"}
    turned = _save(anomaly, affine, axes, folder / outputs["anomaly"])
    if mask:
        outputs["mask"] = f"{case}_mask.nii.gz"
        _save((anomaly > 0.47).astype(np.uint8), affine, axes, folder / outputs["mask"])
    world = (affine @ (*SPOT, 1))[:3]
    voxel = np.linalg.inv(turned.affine) @ (*world, 1)
    content = {
        "format": 1,
        "case": case,
        "inputs": inputs,
        "inputs_sha256": {name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for name, path in inputs.items()},
        "outputs": outputs,
        "shape": list(turned.shape),
        "spacing_mm": [float(size) for size in turned.header.get_zooms()],
        "patient_score": 0.83,
        "thresholds": {"image": 0.52, "pixel": 0.47},
        **PatientThreshold(value=0.62, source="lesion-free slices", patients=3, slices=20).as_record(),
        "is_anomalous": True,
        "no_verdict": None,
        "plane": plane,
        "slices": _slices(anomaly, affine, plane),
        "patches": [
            {"rank": 1, "score": 0.91, "slice": slice_of(SPOT, plane), "voxel": np.rint(voxel[:3]).astype(int).tolist(),
             "world_mm": world.tolist()},
            {"rank": 2, "score": 0.44, "slice": slice_of((25, 20, 8), plane), "voxel": [5, 5, 5],
             "world_mm": (affine @ (25, 20, 8, 1))[:3].tolist()},
        ],
        "model": {"name": "PatchGan", "file": "model.xml", "sha256": "0123456789abcdef" * 4},
        "versions": {"anomalib_patchgan": "1.0.0", "openvino": "2025.3.0"},
    }  # fmt: skip
    path = folder / f"{case}.json"
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


def change_result(path: Path, **values: Any) -> Path:
    """Change values of a result's JSON file, and return the file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return path


def _affine(tilt: float) -> np.ndarray:
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * SPACING
    # Not symmetrical about the origin, so that a flip cannot hide.
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) / 2) + (3, -7, 11)
    return affine


def _save(voxels: np.ndarray, affine: np.ndarray, axes: str, path: Path) -> nib.Nifti1Image:
    image = nib.Nifti1Image(voxels, affine)
    turned = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axes))))
    nib.save(turned, path)
    return turned


def slice_of(index: tuple[int, int, int], plane: str) -> int:
    """Return the slice of a voxel, of axes to the right, front and top: from the bottom, the front or the right."""
    axis, backwards = {"axial": (2, False), "coronal": (1, True), "sagittal": (0, True)}[plane]
    return SHAPE[axis] - 1 - index[axis] if backwards else index[axis]


def _slices(anomaly: np.ndarray, affine: np.ndarray, plane: str) -> list[dict[str, Any]]:
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    found = []
    # The first and the last slices were not processed.
    for number in range(3, SHAPE[axis] - 3):
        middle = [(size - 1) / 2 for size in SHAPE]
        middle[axis] = number
        score = float(anomaly.take(number, axis).max())
        index = slice_of((number,) * 3, plane)
        found.append({"slice": index, "score": score, "world_mm": (affine @ (*middle, 1))[:3].tolist()})
    return sorted(found, key=lambda one: one["slice"])
