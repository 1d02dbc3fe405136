"""The voxels and the lesions of one volume, found by a map: what every measurement of whole cases does alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.measure.lesions import SMALLEST_MM3, SpotCounts, count_spots
from anomalib_patchgan.measure.localisation import pixel_metrics

# Of a cohort's mean, at which its lesion-wise sensitivity is taken.
FALSE_PER_CASE = 1.0
# Maps lie in [0, 1].
MAP_THRESHOLDS = np.arange(128, 0, -1) / 128


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledVolume:
    """What is known of a scan, `(X, Y, Z)` each.

    Args:
        brain: Voxels that are not background.
        lesion: Voxels with any label.
        spacing_mm: Sides of a voxel.
    """

    brain: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]

    @property
    def lesion_share(self) -> float:
        """Share of the brain that is lesion."""
        return float(self.lesion[self.brain].mean())

    @property
    def outside_share(self) -> float:
        """Share of the lesion that lies outside the brain; 0 without a lesion."""
        return float((~self.brain[self.lesion]).mean()) if self.lesion.any() else 0.0


def voxel_metrics(values: NDArray, volume: LabelledVolume, threshold: float | None) -> dict[str, float | None]:
    """Measure a map on the voxels of the brain.

    Args:
        values: The map, higher is more anomalous, `(X, Y, Z)`.
        volume: The scan.
        threshold: For `value >= threshold`; `None` for a map without one.

    Returns:
        `voxel_AP`, `best_dice` (the highest over all thresholds) and `dice_at_threshold`: each 0 to 1, or `None`
        without a lesion.

    Raises:
        DataError: A value is not finite.

    Example:
        >>> values, brain = np.array([[[0.9, 0.2, 0.6, 0.8]]]), np.array([[[True, True, True, False]]])
        >>> lesion = np.array([[[True, False, False, False]]])
        >>> voxel_metrics(values, LabelledVolume(brain=brain, lesion=lesion, spacing_mm=(1, 1, 1)), 0.5)
        {'voxel_AP': 1.0, 'best_dice': 1.0, 'dice_at_threshold': 0.6666666666666666}
    """
    inside = volume.brain
    one = np.array(["case"])
    found = pixel_metrics(values[inside][None, None], volume.lesion[inside][None, None], one, threshold)
    return {
        "voxel_AP": found["pixel_AP"],
        "best_dice": found["pixel_best_dice"],
        "dice_at_threshold": found["pixel_dice"],
    }


def volume_spots(
    values: NDArray, volume: LabelledVolume, thresholds: NDArray[np.float64], *, most_false: float = np.inf
) -> SpotCounts:
    """Count hit lesions and false spots inside the brain; those below 50 mm3 do not count.

    Args:
        values: The map, higher is more anomalous, `(X, Y, Z)`.
        volume: The scan.
        thresholds: Falling thresholds, `(K,)`.
        most_false: Above so many false spots, lower thresholds are not looked at.

    Raises:
        DataError: See `count_spots`.

    Example:
        >>> values, lesion = np.zeros((9, 9, 9)), np.zeros((9, 9, 9), bool)
        >>> values[1:5, 1:5, 1:5], lesion[1:5, 1:5, 1:5] = 0.75, True
        >>> volume = LabelledVolume(brain=np.ones_like(lesion), lesion=lesion, spacing_mm=(1, 1, 1))
        >>> volume_spots(values, volume, np.array([0.9, 0.5])).hits.tolist()
        [0, 1]
    """
    smallest = max(1, round(SMALLEST_MM3 / float(np.prod(volume.spacing_mm))))
    inside, lesion = np.where(volume.brain, values, 0), volume.lesion & volume.brain
    return count_spots(inside, lesion, thresholds, smallest=smallest, most_false=most_false)
