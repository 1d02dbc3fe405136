"""How well the result of one case agrees with its reference mask: measured on the files, and kept beside them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.lesion_masks import check_extent, read_lesion
from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti
from anomalib_patchgan.data.prepare.nifti_header import read_header
from anomalib_patchgan.data.prepare.planes import Plane, turn_to_plane
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.model_card import THRESHOLD
from anomalib_patchgan.deploy.reference_masks import OPTION
from anomalib_patchgan.deploy.viewer.result import CaseResult, read_case_result
from anomalib_patchgan.deploy.volume_files import VolumeCase, output_names
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import read_bytes, read_json, write_json
from anomalib_patchgan.measure.lesions import SpotCounts
from anomalib_patchgan.measure.volumes import MAP_THRESHOLDS, LabelledVolume, volume_spots, voxel_metrics
from anomalib_patchgan.outputs import writing

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume import VolumeInferencer

FORMAT = 1
# In the folder of the results; apart from them, since every JSON file there is one.
FOLDER = "accuracy"
CASES = "cases"
# As the mask of a result is made, with a strict inequality.
ABOVE_THRESHOLD = float(np.nextafter(np.float32(THRESHOLD), np.float32(1)))
# Of a lesion outside the brain; the mask of another case, or of a scan before it was registered, lies anywhere.
_OUTSIDE = 0.5
# Words of the description in the masks that are written here.
_OWN_MASK = b"PatchGan mask"


@dataclass(frozen=True, kw_only=True)
class CaseAccuracy:
    """What a case's map is worth beside its reference mask.

    Args:
        key: What was measured: hashes of the files, the model, and up to how many false spots were counted.
        mask: File of the reference mask.
        voxel_AP: 0 to 1, or `None` without a lesion, as are the next two.
        best_dice: Highest Dice over all thresholds.
        dice: Dice of the mask that was written; `None` as well for a model without thresholds, as are the next two.
        lesions_found: Lesions that the spots of that mask hit.
        false_spots: Spots of that mask that hit none.
        lesions: Lesions of a size that counts.
        lesion_ml: Volume of all voxels of the mask.
        lesion_slices: Slices with a lesion, counted as the result counts them.
        hits: Lesions hit at each of the `MAP_THRESHOLDS`.
        false: False spots at each of them, as far as they were counted.
    """

    key: Mapping[str, Any]
    mask: str
    voxel_AP: float | None  # noqa: N815 - the field's name of it
    best_dice: float | None
    dice: float | None
    lesions_found: int | None
    false_spots: int | None
    lesions: int
    lesion_ml: float
    lesion_slices: tuple[int, ...]
    hits: tuple[int, ...]
    false: tuple[int, ...]

    @property
    def spots(self) -> SpotCounts:
        """The spots at all `MAP_THRESHOLDS`."""
        beyond = np.full(len(MAP_THRESHOLDS) - len(self.false), np.inf)
        return SpotCounts(
            lesions=self.lesions,
            hits=np.array([*self.hits, *[0] * beyond.size], np.int64),
            false_spots=np.array([*self.false, *beyond], np.float64),
        )

    def describe(self) -> str:
        """Say what the map is worth."""
        if not self.lesion_slices:
            shown = f"no lesion in {Path(self.mask).name}, counted as healthy"
        else:
            dice = "" if self.dice is None else f", Dice {self.dice:.3f}"
            shown = f"voxel AP {self.voxel_AP or 0:.3f}{dice}"
        if self.lesions_found is None:
            return shown
        found = f", {self.lesions_found} of {self.lesions} lesions" if self.lesion_slices else ""
        return f"{shown}{found}, {self.false_spots} false spot{'' if self.false_spots == 1 else 's'}"


def measure_case(
    case: VolumeCase, mask: Path, folder: Path, inferencer: "VolumeInferencer", map_type: str, most_false: int
) -> tuple[CaseResult, CaseAccuracy]:
    """Measure the map that was written for a case, unless that was done with the same files before.

    Args:
        case: The case, whose result is there.
        mask: File of its reference mask.
        folder: Folder of the results.
        inferencer: The model.
        map_type: Type of the maps.
        most_false: Above so many false spots of a case, lower thresholds are not looked at.

    Returns:
        The result and the numbers, which are kept in a file for the next time.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: The mask cannot be used: it is damaged, lies on another grid, is none of lesions or of another case,
            or was written by `volume` itself.
    """
    limits, recipe = inferencer.limits, inferencer.recipe
    result = read_case_result(folder / f"{case.name}.json")
    content = read_bytes(mask, limits)
    kept = folder / FOLDER / CASES / f"{case.name}.json"
    key = {
        "format": FORMAT,
        "mask_sha256": hashlib.sha256(content).hexdigest(),
        "inputs_sha256": dict(result.images_sha256),
        "model": dict(result.model),
        "map_type": map_type,
        "counted_to": most_false,
    }
    if (known := _read(kept, key)) is not None:
        return result, known
    if bytes(read_header(content, mask, limits)["descrip"]).startswith(_OWN_MASK):
        msg = f"{mask} was written by this command: give masks that a person has drawn."
        raise DataError(msg)
    image = next(iter(case.paths.values()))
    scan = parse_nifti(read_bytes(image, limits), image, limits)
    lesion = read_lesion(mask, scan, image, limits)
    volume = label_volume(scan, image, lesion, recipe)
    check_extent(lesion, volume.brain, mask, OPTION)
    if volume.outside_share > _OUTSIDE:
        msg = f"{volume.outside_share:.0%} of {mask} lies outside the brain of {image}: give the mask of this case."
        raise DataError(msg)
    path = folder / output_names(case.name)["anomaly"]
    found = parse_nifti(read_bytes(path, limits), path, limits)
    check_same_grid(scan, found, image, path)
    threshold = None if result.pixel_threshold is None else ABOVE_THRESHOLD
    metrics = voxel_metrics(found.voxels, volume, threshold)
    spots = volume_spots(found.voxels, volume, MAP_THRESHOLDS, most_false=most_false)
    counted = np.isfinite(spots.false_spots)
    at = None if threshold is None else volume_spots(found.voxels, volume, np.array([threshold]))
    accuracy = CaseAccuracy(
        key=key,
        mask=str(mask.absolute()),
        voxel_AP=metrics["voxel_AP"],
        best_dice=metrics["best_dice"],
        dice=metrics["dice_at_threshold"],
        lesions_found=None if at is None else int(at.hits[0]),
        false_spots=None if at is None else int(at.false_spots[0]),
        lesions=spots.lesions,
        lesion_ml=float(lesion.sum() * np.prod(volume.spacing_mm) / 1000),
        lesion_slices=tuple(lesion_slices(lesion, recipe.plane)),
        hits=tuple(spots.hits[counted].tolist()),
        false=tuple(spots.false_spots[counted].astype(int).tolist()),
    )
    with writing(kept):
        write_json(kept, asdict(accuracy))
    return result, accuracy


def label_volume(scan: Volume, path: Path, lesion: NDArray[np.bool_], recipe: VolumeRecipe) -> LabelledVolume:
    """Tell brain from background in a scan whose lesion is known.

    Args:
        scan: The scan.
        path: Its file, for messages.
        lesion: Voxels of the lesion, on the same grid.
        recipe: How the model sees volumes.

    Raises:
        DataError: No brain is found.
    """
    brain = recipe.foreground(scan, path)
    if not brain.any():
        msg = f"{path} holds no voxel that is not background: replace the file."
        raise DataError(msg)
    return LabelledVolume(brain=brain, lesion=lesion, spacing_mm=scan.spacing_mm)


def lesion_slices(lesion: NDArray[np.bool_], plane: Plane) -> list[int]:
    """Return the numbers of the slices of a plane that show a lesion.

    Example:
        >>> lesion = np.zeros((4, 4, 4), bool)
        >>> lesion[0, 1, 2] = True
        >>> lesion_slices(lesion, "axial"), lesion_slices(lesion, "coronal")
        ([2], [1])
    """
    turned = turn_to_plane(Volume(lesion, np.eye(4), 0), plane).voxels
    return [int(number) for number in np.flatnonzero(turned.any(axis=(0, 1)))]


def _read(path: Path, key: Mapping[str, Any]) -> CaseAccuracy | None:
    """Read what was measured before; `None` if it is not there, of other files, or not valid."""
    record = read_json(path)
    if record is None or record.get("key") != key:
        return None
    try:
        lists = {name: tuple(int(value) for value in record[name]) for name in ("lesion_slices", "hits", "false")}
        accuracy = CaseAccuracy(**{**record, **lists})
    except (TypeError, KeyError, ValueError):
        return None
    numbers = (accuracy.voxel_AP, accuracy.best_dice, accuracy.dice)
    valid = all(one is None or (isinstance(one, float | int) and 0 <= one <= 1) for one in numbers)
    counts = [accuracy.lesions, *(one for one in (accuracy.lesions_found, accuracy.false_spots) if one is not None)]
    valid &= all(type(one) is int and one >= 0 for one in counts) and isinstance(accuracy.mask, str)
    whole = 0 < len(accuracy.hits) == len(accuracy.false) <= len(MAP_THRESHOLDS)
    return accuracy if valid and whole else None
