"""Finds lesions in whole volumes: slices through the model, and its maps back onto the volume's own grid."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.field_of_view import FieldOfView
from anomalib_patchgan.data.prepare.planes import turn_back
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.cohort_accuracy import remove_accuracy
from anomalib_patchgan.deploy.hot_spots import find_hot_spots
from anomalib_patchgan.deploy.predictor import SlicePredictor
from anomalib_patchgan.deploy.scan_checks import check_volume, compare_with_training, describe_scan
from anomalib_patchgan.deploy.volume_files import CaseContent, VolumeCase, case_name, load_volumes, one_of
from anomalib_patchgan.deploy.volume_result import Grid, MapType, VolumeResult, verdict_basis
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits, read_bytes, read_json
from anomalib_patchgan.patient import PatientThreshold

logger = logging.getLogger(__name__)


class VolumeInferencer:
    """Runs a model on volumes.

    Args:
        model: `model.xml` or bundle (`.zip`) that `anomalib-patchgan edge` made, or checkpoint of `PatchGan` (`.ckpt`).
        batch_size: Slices per call of the model.
        recipe: How volumes become images; `None` takes what the model was trained with. A model that does not know is
            given single-channel axial slices as `BraTS2019` makes them, with a warning.
        limits: Bounds of what is read from a file.
        public_key: PEM file of the Ed25519 key that must have signed the bundle; `None` checks no signature.

    Raises:
        ConfigurationError: A key is given without a bundle, or `cryptography` is not installed.
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
        public_key: str | Path | None = None,
    ) -> None:
        self.predictor = SlicePredictor.load(model, batch_size, public_key)
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

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that a case needs, in their order."""
        return self.recipe.modalities

    @property
    def patient_threshold(self) -> PatientThreshold | None:
        """Threshold of patients; none is of use without those of slices, which make the scores comparable."""
        return self.predictor.card.patient if self.predictor.has_thresholds else None

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
        content = load_volumes(case, self.modalities, self.limits)
        for path, volume in content.volumes.items():
            check_volume(path, volume, self.recipe)
        return self._predict(case, content)

    def _case_of(self, source: str | Path | Mapping[str, str | Path]) -> VolumeCase:
        if not isinstance(source, Mapping):
            if len(self.modalities) > 1:
                msg = f"the model takes {', '.join(self.modalities)}: give a file for each, such as {{'flair': PATH}}"
                raise ConfigurationError(msg)
            source = {self.modalities[0]: source}
        paths = {one_of(self.modalities, name): Path(path).expanduser() for name, path in source.items()}
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
        profile = scan.profile()
        remarks = describe_scan(content.volumes, scan, profile, self.recipe)
        for remark in remarks:
            logger.warning("%s: %s", case.name, remark)
        card, grid = self.predictor.card, Grid(content.header)
        height, width = scan.field.shape
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        return VolumeResult(
            case=case.name,
            inputs=case.paths,
            inputs_sha256=content.sha256,
            grid=grid,
            anomaly=grid.turn(turn_back(axial.T, self.recipe.plane)),
            slice_scores=scores,
            slice_centres={number: (first.affine @ [*centre, number, 1.0])[:3] for number in scores},
            hot_spots=find_hot_spots(maps, _map_affine(first.affine, scan.field, size), card.patch_side, scan.numbers),
            model=self.predictor.identity,
            versions=card.versions,
            has_thresholds=self.predictor.has_thresholds,
            patient_threshold=self.patient_threshold,
            no_verdict=card.no_verdict or (card.patient.misfit(len(scores)) if card.patient else ""),
            training_data=compare_with_training(profile, self.recipe.training),
            remarks=remarks,
            plane=self.recipe.plane,
        )


def _map_affine(affine: NDArray[np.float64], field: FieldOfView, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the affine from (column, row, slice) of maps of this size to millimetres, given that of the scan.

    Example:
        >>> _map_affine(np.eye(4), FieldOfView.whole((4, 8), None), (2, 4))[:2].tolist()
        [[2.0, 0.0, 0.0, 0.5], [0.0, 2.0, 0.0, 0.5]]
    """
    origin, step = field.pixel(size)
    to_scan = np.diag([step[1], step[0], 1.0, 1.0])
    to_scan[:2, 3] = origin[::-1]
    return affine @ to_scan


def run_case(
    case: VolumeCase,
    folder: Path,
    inferencer: VolumeInferencer,
    map_type: MapType,
    *,
    force: bool = False,
    check: Callable[[], None] | None = None,
) -> str:
    """Write the result of a case, unless it is there.

    Args:
        case: The case.
        folder: Folder of the results.
        inferencer: The model.
        map_type: Voxels of the heat map.
        force: Do it even if it is there.
        check: Called before the result is written, which an error of it prevents.

    Returns:
        What came out, in words; empty where it was there before.

    Raises:
        PatchGanError: The case cannot be used, or the result not be written.
    """
    case.write_images(inferencer.limits)
    if not force and is_done(case, folder, inferencer, map_type):
        return ""
    remove_accuracy(folder)
    result = inferencer.predict(case)
    if check is not None:
        check()
    path = case.save(result, folder, map_type)
    verdict = {None: f"no verdict: {result.no_verdict}", True: "anomalous", False: "normal"}[result.is_anomalous]
    note = result.training_data.get("note")
    return f"{path}: patient score {result.patient_score:.3f}, {verdict}" + (f"; {note}" if note else "")


def describe_basis(inferencer: VolumeInferencer) -> str:
    """Say by which threshold patients are judged and where it is from, or why they are not."""
    threshold, predictor = inferencer.patient_threshold, inferencer.predictor
    if threshold is None:
        mask = "" if predictor.has_thresholds else " and no mask"
        return f"no verdict{mask}, only scores and heat maps: {predictor.card.no_verdict}"
    return f"a patient score above {threshold.value:.3f} is called anomalous: {threshold.origin}"


def is_done(case: VolumeCase, folder: Path, inferencer: VolumeInferencer, map_type: str) -> bool:
    """Tell whether the results of a case are there, of this model and of these files."""
    record: Any = read_json(folder / f"{case.name}.json") or {}
    has_thresholds = inferencer.predictor.has_thresholds
    basis = verdict_basis(inferencer.patient_threshold, has_thresholds=has_thresholds)
    return (
        record.get("model") == inferencer.predictor.identity
        and record.get("map_type") == map_type
        # A record of an older version does not say it, and cannot be shown unless it is axial.
        and record.get("plane", "axial") == inferencer.recipe.plane
        and case.is_complete(record, folder, has_mask=has_thresholds)
        # A record of an older version may hold a verdict by the threshold of slices.
        and all(name in record and record[name] == value for name, value in basis.items())
        and record.get("inputs_sha256")
        == {name: hashlib.sha256(read_bytes(path, inferencer.limits)).hexdigest() for name, path in case.paths.items()}
    )
