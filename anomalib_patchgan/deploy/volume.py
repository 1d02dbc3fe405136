"""Finds lesions in whole volumes: slices through the model, and its maps back onto the volume's own grid."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.field_of_view import FieldOfView
from anomalib_patchgan.data.prepare.planes import turn_back
from anomalib_patchgan.data.prepare.reading import DEFAULT_LIMITS, ReadLimits
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.data.prepare.writing import write_atomically, write_json
from anomalib_patchgan.deploy.hot_spots import HotSpot, find_hot_spots
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.predictor import SlicePredictor, load_predictor
from anomalib_patchgan.deploy.viewer.result import FORMAT
from anomalib_patchgan.deploy.volume_files import CaseContent, Grid, VolumeCase, case_name, read_case
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.patient import PatientThreshold, patient_score

# Slices with fewer pixels along a side show no anatomy.
MIN_SIDE = 32
MapType = Literal["float32", "uint8"]

logger = logging.getLogger(__name__)


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
        slice_scores: Score in [0, 1] of each processed axial slice, by its number from the bottom.
        slice_centres: Its centre in millimetres right, anterior and superior, `(3,)`.
        hot_spots: The most anomalous patches, most anomalous first.
        model: Name, file and SHA-256 of the model.
        versions: Of the packages.
        has_thresholds: Whether the model has thresholds of slices and voxels; without them there is no mask.
        patient_threshold: Threshold of the patient's score; `None` if the model has none.
        no_verdict: Why the patient is called neither normal nor anomalous; empty where it is.
        dicom: What the record says of the DICOM series that the files were made of, if they were.

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
    dicom: Mapping[str, Any] | None = None

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

    @property
    def outputs(self) -> dict[str, str]:
        """Names of the files of the map and, if there is one, of the mask."""
        return output_names(self.case, has_mask=self.has_thresholds)

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to `<case>.json`."""
        return {
            "format": FORMAT,
            "case": self.case,
            "inputs": {name: str(path.absolute()) for name, path in self.inputs.items()},
            "inputs_sha256": dict(self.inputs_sha256),
            "outputs": self.outputs,
            "shape": list(self.grid.shape[:3]),
            "spacing_mm": [round(float(side), 6) for side in np.linalg.norm(self.grid.affine[:3, :3], axis=0)],
            "patient_score": round(self.patient_score, 6),
            **verdict_basis(self.patient_threshold, has_thresholds=self.has_thresholds),
            "is_anomalous": self.is_anomalous,
            "no_verdict": self.no_verdict or None,
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

    def save(self, folder: str | Path, map_type: MapType = "float32") -> Path:
        """Write `<case>_anomaly.nii.gz`, `<case>_mask.nii.gz` and, last, `<case>.json`.

        Args:
            folder: Where to; made if missing.
            map_type: `float32`, or `uint8`, of which 255 is 1 and the header says so.

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
        record = {**self.as_dict(), "map_type": map_type}
        path = folder / f"{self.case}.json"
        try:
            # While the files are replaced, no record says that they belong together.
            path.unlink(missing_ok=True)
            mask = self.mask
            for kind, voxels in {"anomaly": stored, **({} if mask is None else {"mask": mask})}.items():
                content = self.grid.to_nifti(voxels, f"PatchGan {kind}, {self.case}")
                write_atomically(folder / self.outputs[kind], content)
            if mask is None:
                # That of a former model would be taken for one of this map.
                (folder / output_names(self.case)["mask"]).unlink(missing_ok=True)
            write_json(path, record)
        except OSError as error:
            msg = f"{self.case} cannot be written to {folder} ({error.strerror}): check space and permissions."
            raise DataError(msg) from error
        return path


def output_names(case: str, *, has_mask: bool = True) -> dict[str, str]:
    """Return the names of the files of a case by kind."""
    return {kind: f"{case}_{kind}.nii.gz" for kind in ("anomaly", *(("mask",) if has_mask else ()))}


def verdict_basis(patient: PatientThreshold | None, *, has_thresholds: bool) -> dict[str, Any]:
    """Return the entries of a record that say by which thresholds a case is judged."""
    return {
        "thresholds": {"image": THRESHOLD, "pixel": THRESHOLD} if has_thresholds else {},
        **({"patient_threshold": None} if patient is None else patient.as_record()),
    }


class VolumeInferencer:
    """Runs a model on volumes.

    Args:
        model: `model.xml` that `anomalib-patchgan edge` exported, or a checkpoint of `PatchGan` (`.ckpt`).
        batch_size: Slices per call of the model.
        recipe: How volumes become images; `None` takes what the model was trained with. A model that does not know is
            given single-channel axial slices as `BraTS2019` makes them, with a warning.
        limits: Bounds of what is read from a file.

    Raises:
        DatasetNotFoundError: There is no such model.
        DataError: It cannot be used.

    Example:
        >>> inferencer = VolumeInferencer("export/model.xml")  # doctest: +SKIP
        >>> inferencer.predict("case_flair.nii.gz").save("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path,
        *,
        batch_size: int = 4,
        recipe: VolumeRecipe | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        self.predictor: SlicePredictor = load_predictor(model, batch_size)
        card = self.predictor.card
        self.limits = limits
        self.recipe = recipe or card.recipe or VolumeRecipe()
        if recipe is None and card.recipe is None:
            logger.warning(
                "%s does not say how its images were made of volumes: axial slices of one modality are made as by "
                "BraTS2019, the background must be 0",
                model,
            )
        elif self.recipe.field_mm is None:
            logger.warning(
                "%s is of an older recipe: whole slices are stretched to its images, so the same scan gets another "
                "score when it is cropped, padded or of other voxels; prepare the data and train again",
                model,
            )
        self._model = {"name": card.model, "file": Path(model).name, "sha256": card.hash}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that a case needs, in their order."""
        return self.recipe.modalities

    @property
    def model(self) -> dict[str, str]:
        """Name, file and SHA-256 of the model."""
        return dict(self._model)

    @property
    def has_thresholds(self) -> bool:
        """Whether the model has thresholds of slices and voxels."""
        return self.predictor.card.raw_thresholds is not None

    @property
    def patient_threshold(self) -> PatientThreshold | None:
        """Threshold of patients; none is of use without those of slices, which make the scores comparable."""
        return self.predictor.card.patient if self.has_thresholds else None

    @property
    def no_verdict(self) -> str:
        """Why the model calls no patient normal or anomalous; empty where it does."""
        return self.predictor.card.no_verdict

    def predict(self, source: str | Path | Mapping[str, str | Path] | VolumeCase) -> VolumeResult:
        """Find lesions in one case.

        Args:
            source: A NIfTI file, or the file of each modality.

        Returns:
            The result, not written yet.

        Raises:
            DatasetNotFoundError: A file or modality is missing.
            DataError: A file cannot be used.
            ConfigurationError: A single file was given for several modalities.
        """
        case = source if isinstance(source, VolumeCase) else self._case_of(source)
        content = read_case(case, self.modalities, self.limits)
        for path, volume in content.volumes.items():
            if volume.nonfinite:
                logger.warning("%s: %d NaN or infinite voxels taken for background", path, volume.nonfinite)
            sides = self.recipe.turn(volume).voxels.shape[:2]
            if min(sides) < MIN_SIDE:
                shape = "x".join(map(str, sides))
                plane = self.recipe.plane
                msg = f"{path} has {plane} slices of {shape} voxels, fewer than {MIN_SIDE}: give a whole scan."
                raise DataError(msg)
        return self._predict(case, content)

    def _case_of(self, source: str | Path | Mapping[str, str | Path]) -> VolumeCase:
        if not isinstance(source, Mapping):
            if len(self.modalities) > 1:
                msg = f"the model takes {', '.join(self.modalities)}: give a file for each, such as {{'flair': PATH}}"
                raise ConfigurationError(msg)
            source = {self.modalities[0]: source}
        paths = {name: Path(path).expanduser() for name, path in source.items()}
        first = next(iter(paths.values()), None)
        if first is None or not paths.keys() <= set(self.modalities):
            msg = f"the model takes {', '.join(self.modalities)}, got {', '.join(paths) or 'nothing'}"
            raise ConfigurationError(msg)
        return VolumeCase(name=case_name(first, self.modalities), paths=paths)

    def _predict(self, case: VolumeCase, content: CaseContent) -> VolumeResult:
        first = self.recipe.turn(next(iter(content.volumes.values())))
        scan = self.recipe.open(content.volumes)
        if not scan.numbers:
            msg = f"{case.name} has no slice that the model takes (slice_range {self.recipe.slice_range}): check it."
            raise DataError(msg)
        size = self.predictor.card.image_size
        maps = np.zeros((len(scan.slices.brain), *size), np.float32)
        axial = np.zeros(scan.slices.brain.shape, np.float32)
        scores: dict[int, float] = {}
        rows, columns = scan.field.visible(size)
        predictions = self.predictor.predict(map(scan.image, scan.numbers))
        for number, (score, found) in zip(scan.numbers, predictions, strict=True):
            scores[number] = float(score)
            # Nothing is found beyond the scan.
            maps[number, rows, columns] = found[rows, columns]
            axial[number] = scan.field.restore(maps[number])
        card = self.predictor.card
        height, width = scan.field.shape
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        return VolumeResult(
            case=case.name,
            inputs=case.paths,
            inputs_sha256=content.sha256,
            grid=content.grid,
            anomaly=np.ascontiguousarray(content.grid.turn(turn_back(axial.T, self.recipe.plane))),
            slice_scores=scores,
            slice_centres={number: (first.affine @ [*centre, number, 1.0])[:3] for number in scores},
            hot_spots=find_hot_spots(
                maps, _map_affine(first.affine, scan.field, size), (card.patch_side, card.patch_side), scan.numbers
            ),
            model=self._model,
            versions=dict(card.versions),
            has_thresholds=self.has_thresholds,
            patient_threshold=self.patient_threshold,
            no_verdict=self.no_verdict or (card.patient.misfit(len(scores)) if card.patient else ""),
        )


def _map_affine(affine: NDArray[np.float64], field: FieldOfView, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the affine from (column, row, slice) of maps of this size to millimetres, given that of the scan."""
    origin, step = field.pixel(size)
    to_scan = np.diag([step[1], step[0], 1.0, 1.0])
    to_scan[:2, 3] = origin[::-1]
    return affine @ to_scan


def _rounded(place: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 3) for value in place]
