"""What a model says about one case, and how it is written."""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti_header import affine_mm
from anomalib_patchgan.data.prepare.planes import Plane
from anomalib_patchgan.deploy.hot_spots import HotSpot
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.viewer.result import FORMAT
from anomalib_patchgan.deploy.volume_files import output_names
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.outputs import write_results
from anomalib_patchgan.patient import PatientThreshold, patient_score

MapType = Literal["float32", "uint8"]
# Of a voxel, what rounding may move a place by.
_TIE = 1e-3


class Grid:
    """The voxel grid of a file.

    Args:
        header: Its header, checked.

    Attributes:
        affine: `(4, 4)`, from the file's indices to millimetres right, anterior and superior, as the reader has it.
    """

    def __init__(self, header: nib.Nifti1Header) -> None:
        self.header = header
        self.affine = affine_mm(header)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along the axes of the file."""
        return tuple(int(side) for side in self.header.get_data_shape())

    def turn(self, voxels: np.ndarray) -> np.ndarray:
        """Turn `(X, Y, Z)` voxels from the axes left, back and top to the axes of the file."""
        return apply_orientation(voxels, ornt_transform(axcodes2ornt(("L", "P", "S")), io_orientation(self.affine)))

    def voxel_at(self, world_mm: np.ndarray) -> list[int]:
        """Return the voxel, in indices of the file, at a place in millimetres right, anterior and superior."""
        found = np.linalg.inv(self.affine) @ np.append(world_mm, 1.0)
        # Of a place between two voxels the first one, however its millimetres were rounded; none beyond the border.
        nearest = np.ceil(found[:3] - 0.5 - _TIE)
        return [int(index) for index in np.clip(nearest, 0, np.subtract(self.shape[:3], 1))]

    def to_nifti(self, voxels: np.ndarray, description: str) -> bytes:
        """Make a gzipped NIfTI file with the grid, orientation and codes of this one.

        Args:
            voxels: `(X, Y, Z)` along the axes of the file: float32 in [0, 1], bool, or uint8, of which 255 is 1.
            description: At most 79 characters.
        """
        header = self.header.copy()
        mask = voxels.dtype == bool
        stored = voxels.astype(np.uint8) if mask else voxels
        header.set_data_dtype(stored.dtype)
        header["cal_min"], header["cal_max"], header["vox_offset"] = 0, 1, 0
        header["descrip"] = description.encode()[:79]
        kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = kind(stored.reshape(self.shape), None, header)
        image.header.set_slope_inter(1 / 255 if stored.dtype == np.uint8 and not mask else 1, 0)
        return compress(image.to_bytes())


def compress(content: bytes) -> bytes:
    """Compress a NIfTI file, without the time, so that equal volumes are equal files."""
    # Higher levels take longer for heat maps of nearly the same size.
    return gzip.compress(content, compresslevel=1, mtime=0)


@dataclass(frozen=True, kw_only=True)
class VolumeResult:
    """What a model says about one case.

    Args:
        case: Name of the case.
        inputs: File of each modality.
        inputs_sha256: Its hash.
        grid: Voxel grid of the first file.
        anomaly: Map along the axes of that file, `(X, Y, Z)` float32 in [0, 1]; 0.5 is the threshold if the model has
            one, and 0 stands where nothing was processed.
        slice_scores: Score in [0, 1] of each processed slice, by its number, see `turn_to_plane`.
        slice_centres: Its centre in millimetres right, anterior and superior, `(3,)`.
        hot_spots: The most anomalous patches, most anomalous first.
        model: Name, file and SHA-256 of the model.
        versions: Of the packages.
        has_thresholds: Whether the model has thresholds of slices and voxels; without them there is no mask.
        patient_threshold: Threshold of the patient's score; `None` if the model has none.
        no_verdict: Why the patient is called neither normal nor anomalous; empty where it is.
        training_data: Whether the scan is like those of the training, see `compare_with_training`.
        dicom: What the record says of the DICOM series that the files were made of, if they were.
        remarks: What else is to be known, such as that the background is not 0.
        plane: Of the slices.

    Example:
        >>> from nibabel import Nifti1Header
        >>> header = Nifti1Header()
        >>> header.set_data_shape((2, 2, 2))
        >>> result = VolumeResult(
        ...     case="a", inputs={}, inputs_sha256={}, grid=Grid(header), anomaly=np.zeros((2, 2, 2), np.float32),
        ...     slice_scores={0: 0.25, 1: 0.75}, slice_centres={}, hot_spots=[], model={}, versions={},
        ... )
        >>> result.patient_score, bool(result.mask.any()), result.is_anomalous
        (0.5, False, None)
    """

    case: str
    inputs: Mapping[str, Path]
    inputs_sha256: Mapping[str, str]
    grid: Grid
    anomaly: NDArray[np.float32]
    slice_scores: Mapping[int, float]
    slice_centres: Mapping[int, NDArray[np.float64]]
    hot_spots: Sequence[HotSpot]
    model: Mapping[str, str]
    versions: Mapping[str, str]
    has_thresholds: bool = True
    patient_threshold: PatientThreshold | None = None
    no_verdict: str = ""
    training_data: Mapping[str, Any] = field(default_factory=dict)
    dicom: Mapping[str, Any] | None = None
    remarks: Sequence[str] = ()
    plane: Plane = "axial"

    @property
    def patient_score(self) -> float:
        """Mean of the three most anomalous slices, in [0, 1]."""
        return patient_score(self.slice_scores.values())

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the patient's score is above the threshold of patients; `None` where nothing can be said."""
        if self.patient_threshold is None or self.no_verdict:
            return None
        return self.patient_score > self.patient_threshold.value

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Voxels above the threshold, `(X, Y, Z)`; `None` if the model has none."""
        return self.anomaly > THRESHOLD if self.has_thresholds else None

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to `<case>.json`."""
        return {
            "format": FORMAT,
            "case": self.case,
            "inputs": {name: str(path.absolute()) for name, path in self.inputs.items()},
            "inputs_sha256": dict(self.inputs_sha256),
            "outputs": output_names(self.case, has_mask=self.has_thresholds),
            "shape": list(self.grid.shape[:3]),
            "spacing_mm": [round(float(side), 6) for side in np.linalg.norm(self.grid.affine[:3, :3], axis=0)],
            "patient_score": round(self.patient_score, 6),
            **verdict_basis(self.patient_threshold, has_thresholds=self.has_thresholds),
            "is_anomalous": self.is_anomalous,
            "no_verdict": self.no_verdict or None,
            "training_data": dict(self.training_data),
            "remarks": list(self.remarks),
            "plane": self.plane,
            "slices": [
                {"slice": index, "score": round(score, 6), "world_mm": _rounded(self.slice_centres[index])}
                for index, score in self.slice_scores.items()
            ],
            "patches": [
                {
                    "rank": rank,
                    "score": round(spot.score, 6),
                    "slice": spot.slice_index,
                    "voxel": self.grid.voxel_at(spot.world_mm),
                    "world_mm": _rounded(spot.world_mm),
                }
                for rank, spot in enumerate(self.hot_spots, 1)
            ],
            "model": dict(self.model),
            "versions": dict(self.versions),
            **({} if self.dicom is None else {"dicom": dict(self.dicom)}),
        }

    def save(
        self, folder: str | Path, map_type: MapType = "float32", further: Mapping[str, bytes | None] | None = None
    ) -> Path:
        """Write `<case>_anomaly.nii.gz`, `<case>_mask.nii.gz`, further files and, last, `<case>.json`.

        Args:
            folder: Where to; made if missing.
            map_type: `float32`, or `uint8`, of which 255 is 1 and the header says so.
            further: Content of other files of the case by name; `None` removes that of a former result.

        Returns:
            The JSON file.

        Raises:
            ConfigurationError: There is no such type.
            DataError: A file cannot be written; none is left half-written.
        """
        if map_type not in {"float32", "uint8"}:
            msg = f"map_type must be float32 or uint8, got {map_type!r}"
            raise ConfigurationError(msg)
        folder = Path(folder)
        stored = self.anomaly if map_type == "float32" else np.rint(self.anomaly * 255).astype(np.uint8)
        names = output_names(self.case)
        # Without a mask, that of a former model would be taken for one of this map.
        files = {
            names[kind]: None if voxels is None else self.grid.to_nifti(voxels, f"PatchGan {kind}, {self.case}")
            for kind, voxels in {"anomaly": stored, "mask": self.mask}.items()
        }
        record = {**self.as_dict(), "map_type": map_type}
        path = folder / f"{self.case}.json"
        write_results(folder, {**files, **(further or {})}, path, record, self.case)
        return path


def verdict_basis(patient: PatientThreshold | None, *, has_thresholds: bool) -> dict[str, Any]:
    """Return the entries of a record that say by which thresholds a case is judged."""
    return {
        "thresholds": {"image": THRESHOLD, "pixel": THRESHOLD} if has_thresholds else {},
        **({"patient_threshold": None} if patient is None else patient.as_record()),
    }


def _rounded(place: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 3) for value in place]
