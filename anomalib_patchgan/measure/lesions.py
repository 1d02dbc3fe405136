"""Finding the lesions of volumes one by one, and how many false spots that costs (free-response analysis).

A spot is a connected component of the voxels at or above a threshold, a lesion one of the segmentation; 26 neighbours,
and only from a smallest size on. That is how the BraTS challenges count since 2023, from 50 mm3 on (Saluja et al.,
https://github.com/rachitsaluja/BraTS-2023-Metrics); unlike theirs, lesions that nearly touch are not joined here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure.curves import require_finite

SMALLEST_MM3 = 50.0
# With less of it in lesions a spot is false: otherwise the whole brain as one spot would hit all of them.
SHARE_IN_LESION = 0.1
NEIGHBOURS = np.ones((3, 3, 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class SpotCounts:
    """The spots of one case at K falling thresholds.

    Args:
        lesions: Number of lesions.
        hits: How many of them a spot hits, `(K,)`.
        false_spots: Spots that hit none, `(K,)`; infinite where they were not counted any more.
    """

    lesions: int
    hits: NDArray[np.int64]
    false_spots: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatingPoint:
    """What P cases are at one threshold.

    Args:
        threshold: For `value >= threshold`; `None` where all have too many false spots, so that nothing is found.
        sensitivity: Share of the lesions of each case that is hit, `(P,)`, 0 to 1; NaN without a lesion.
        false_spots: False spots of each case, `(P,)`.
    """

    threshold: float | None
    sensitivity: NDArray[np.float64]
    false_spots: NDArray[np.float64]


def count_spots(
    values: NDArray,
    lesion: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    *,
    smallest: int,
    most_false: float = np.inf,
) -> SpotCounts:
    """Count hit lesions and false spots of a case at many thresholds.

    A spot hits every lesion that it shares a voxel with, if at least 10 % of the spot lies in lesions; with less it is
    a false one. A spot in a lesion below the smallest size is neither.

    Args:
        values: Map, higher is more anomalous, `(X, Y, Z)`.
        lesion: Voxels of lesions, `(X, Y, Z)`.
        thresholds: Falling thresholds, `(K,)`.
        smallest: Smallest number of voxels of a lesion or spot that counts.
        most_false: Above so many false spots, lower thresholds are not looked at.

    Raises:
        DataError: A value is not finite, the shapes differ, or the thresholds do not fall.

    Example:
        >>> values, lesion = np.zeros((9, 9, 9)), np.zeros((9, 9, 9), bool)
        >>> values[1:3, 1:3, 1:3], values[6:8, 6:8, 6:8], lesion[1:4, 1:4, 1:4] = 0.5, 0.75, True
        >>> found = count_spots(values, lesion, np.array([0.9, 0.7, 0.5]), smallest=8)
        >>> found.lesions, found.hits.tolist(), found.false_spots.tolist()
        (1, [0, 0, 1], [0.0, 1.0, 1.0])
    """
    require_finite(values, "values of the map")
    if values.shape != lesion.shape or values.ndim != NEIGHBOURS.ndim:
        msg = f"The map {values.shape} and the lesions {lesion.shape} are no volumes of one size: resample one of them."
        raise DataError(msg)
    if not (np.diff(thresholds) < 0).all():
        msg = "The thresholds must fall: sort them from the highest to the lowest."
        raise DataError(msg)
    numbered = _components(lesion, smallest)
    hits = np.zeros(len(thresholds), np.int64)
    false_spots = np.full(len(thresholds), np.inf)
    for index, threshold in enumerate(thresholds):
        hits[index], false_spots[index] = _count(values >= threshold, lesion, numbered, smallest)
        if false_spots[index] > most_false:
            break
    return SpotCounts(lesions=np.unique(numbered[numbered > 0]).size, hits=hits, false_spots=false_spots)


def operating_point(
    cases: Sequence[SpotCounts], thresholds: NDArray[np.float64], false_per_case: float = 1.0
) -> OperatingPoint:
    """Choose the threshold at which most lesions are hit with few false spots, the same for all cases.

    The mean number of false spots over cases must not be exceeded at this threshold nor at any higher one: far down,
    spots grow together until they are few again. Of equal sensitivities, mean over the cases with a lesion, the highest
    threshold counts.

    Args:
        cases: What `count_spots` found in P cases.
        thresholds: The thresholds that it was given, `(K,)`.
        false_per_case: The most false spots per case.

    Raises:
        DataError: No case has a lesion that counts.

    Example:
        >>> a = SpotCounts(lesions=2, hits=np.array([0, 1, 2]), false_spots=np.array([0.0, 1.0, 4.0]))
        >>> b = SpotCounts(lesions=1, hits=np.array([1, 1, 1]), false_spots=np.array([0.0, 1.0, 1.0]))
        >>> point = operating_point([a, b], np.array([0.9, 0.5, 0.1]))
        >>> point.threshold, point.sensitivity.tolist(), point.false_spots.tolist()
        (0.5, [0.5, 1.0], [1.0, 1.0])
    """
    lesions = np.array([case.lesions for case in cases], np.float64)
    if not lesions.any():
        msg = "No case has a lesion of a size that counts: give cases with a segmentation."
        raise DataError(msg)
    hits, false_spots = (np.stack([getattr(case, name) for case in cases]) for name in ("hits", "false_spots"))
    sensitivity = np.full(hits.shape, np.nan)
    np.divide(hits, lesions[:, None], out=sensitivity, where=lesions[:, None] > 0)
    allowed = np.logical_and.accumulate(false_spots.mean(0) <= false_per_case)
    if not allowed.any():
        return OperatingPoint(
            threshold=None, sensitivity=np.where(lesions > 0, 0.0, np.nan), false_spots=np.zeros(len(cases))
        )
    best = int(np.argmax(np.nanmean(sensitivity, axis=0)[allowed]))
    return OperatingPoint(
        threshold=float(thresholds[best]), sensitivity=sensitivity[:, best], false_spots=false_spots[:, best]
    )


def _components(voxels: NDArray[np.bool_], smallest: int) -> NDArray[np.int32]:
    """Number the connected components from a size on; 0 elsewhere."""
    numbered, _ = ndimage.label(voxels, structure=NEIGHBOURS)
    kept = np.bincount(numbered.ravel()) >= smallest
    kept[0] = False
    return np.where(kept[numbered], numbered, 0)


def _count(
    found: NDArray[np.bool_], lesion: NDArray[np.bool_], numbered: NDArray[np.int32], smallest: int
) -> tuple[int, int]:
    """Count the lesions that are hit and the false spots, of `numbered` lesions that count."""
    # Nothing but the box around what was found has to be searched, which is small at high thresholds.
    boxes = ndimage.find_objects(found.astype(np.uint8))
    if not boxes:
        return 0, 0
    found, lesion, numbered = found[boxes[0]], lesion[boxes[0]], numbered[boxes[0]]
    spots = _components(found, smallest)
    sizes = np.bincount(spots.ravel())
    inside = np.bincount(spots[lesion], minlength=sizes.size)
    is_spot = sizes > 0
    is_spot[0] = False
    true = is_spot & (inside >= SHARE_IN_LESION * sizes)
    hit = np.unique(numbered[true[spots]])
    return int((hit > 0).sum()), int((is_spot & ~true).sum())
