"""Metrics of finding the pixels of a lesion, on raw maps, in seconds for tens of millions of pixels.

Every metric changes only where the threshold crosses the value of a lesion's pixel, and those are few: it is enough to
sort the other pixels by themselves and to look up each lesion pixel's rank among them. Maps are compared in single
precision, which is what the models compute in. A pixel counts as found when its value is at or above the threshold. A
metric that is undefined, for want of lesion pixels or of others, is `None`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, ndimage

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure import curves

FPR_LIMIT = 0.3
# Regions touch within an image, also at corners, and never across images.
NEIGHBOURS = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


@dataclass(frozen=True, kw_only=True)
class _Ranks:
    """What lies at or above each distinct value of a lesion's pixels, highest value first, `(D,)` each."""

    values: NDArray[np.float32]
    true_positives: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    # Other pixels strictly above the value: where the curve was before its step.
    false_positives_before: NDArray[np.float64]
    # Mean over regions of the part of the region that is found.
    overlap: NDArray[np.float64]
    others: int


def pixel_threshold(maps: NDArray, masks: NDArray[np.bool_]) -> float:
    """Find the threshold of the highest Dice of all pixels together, to be chosen on validation data.

    Args:
        maps: Raw maps, higher is more anomalous, `(N, H, W)`.
        masks: Pixels of lesions, `(N, H, W)`.

    Returns:
        The lowest of the best thresholds, for `value >= threshold`; without a lesion pixel the smallest
        single-precision number above all values, which finds none of these pixels.

    Raises:
        DataError: There is no pixel, a value is not finite or the shapes differ.

    Example:
        >>> pixel_threshold(np.array([[[0.0, 0.25, 0.5, 1.0]]]), np.array([[[False, False, True, True]]]))
        0.5
    """
    maps, masks = _checked(maps, masks)
    if not maps.size:
        msg = "There is no validation map to choose a threshold on: give the data module a validation split."
        raise DataError(msg)
    if not masks.any():
        return float(np.nextafter(maps.max(), np.float32(np.inf)))
    ranks = _ranks(maps, masks)
    lesions = ranks.true_positives[-1]
    dice = 2 * ranks.true_positives / (ranks.true_positives + ranks.false_positives + lesions)
    return float(ranks.values[np.flatnonzero(dice == dice.max())[-1]])


def pixel_metrics(
    maps: NDArray, masks: NDArray[np.bool_], cases: NDArray[np.str_], threshold: float | None
) -> dict[str, float | None]:
    """Compute the metrics of the pixels.

    AUPRO is that of Bergmann et al. 2021 (https://doi.org/10.1007/s11263-020-01400-4): the area under the mean overlap
    with each connected region (8 neighbours) against the false-positive rate of all images together, up to a rate of
    0.3, divided by 0.3.

    Args:
        maps: Raw maps, higher is more anomalous, `(N, H, W)`.
        masks: Pixels of lesions, `(N, H, W)`; all False for an image without a mask.
        cases: What the image belongs to, such as the patient of a slice, `(N,)`.
        threshold: Threshold chosen on validation data.

    Returns:
        `pixel_AUROC`, `pixel_AP`, `pixel_AUPRO`, `pixel_best_dice` (the highest over all thresholds) and, at the
        threshold, `pixel_dice` (all pixels together) and `case_dice` (the mean over cases with a lesion): each 0 to 1,
        or `None`.

    Raises:
        DataError: A value is not finite or the shapes differ.

    Example:
        >>> maps, masks = np.array([[[0.0, 0.75, 0.5, 1.0]]]), np.array([[[False, False, True, True]]])
        >>> metrics = pixel_metrics(maps, masks, np.array(["patient-1"]), threshold=1.0)
        >>> metrics["pixel_AUROC"], metrics["pixel_best_dice"], round(metrics["case_dice"], 4)
        (0.75, 0.8, 0.6667)
    """
    names = ("pixel_AUROC", "pixel_AP", "pixel_AUPRO", "pixel_best_dice", "pixel_dice", "case_dice")
    metrics: dict[str, float | None] = dict.fromkeys(names)
    maps, masks = _checked(maps, masks)
    if not masks.any() or masks.all():
        return metrics
    ranks = _ranks(maps, masks)
    lesions = ranks.true_positives[-1]
    metrics["pixel_AUROC"] = _area(ranks, ranks.true_positives / lesions, limit=1.0)
    # The curves end where everything is found; a map that parts lesions from all else has no false positive before.
    found = np.append(ranks.true_positives, lesions), np.append(ranks.false_positives, float(ranks.others))
    metrics["pixel_AP"] = float(curves.average_precision(*found))
    metrics["pixel_AUPRO"] = _area(ranks, ranks.overlap, limit=FPR_LIMIT)
    metrics["pixel_best_dice"] = float(curves.best_dice(*found))
    if threshold is not None:
        metrics["pixel_dice"], metrics["case_dice"] = _dice_at(threshold, maps, masks, cases)
    return metrics


def pixel_counts(
    maps: NDArray, masks: NDArray[np.bool_], bins: int = 256
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Count the pixels of each image in bins of the map's value: enough to bootstrap the metrics of the pixels.

    The edges are quantiles of the lesions' pixels, because precision is averaged over their ranks, and of all pixels
    as far as those have too few different values. With 256 bins the metrics of the counts lie within some 0.002 of
    the exact ones, average precision mostly below. Equal values are never parted.

    Args:
        maps: Raw maps, higher is more anomalous, `(N, H, W)`.
        masks: Pixels of lesions, `(N, H, W)`.
        bins: Number of bins K, at least 2. Maps with few different values leave the last bins empty.

    Returns:
        Lesion pixels and other pixels, `(N, K)` each, lowest values first.

    Raises:
        DataError: A value is not finite or the shapes differ.

    Example:
        >>> maps, masks = np.array([[[0.0, 0.25, 0.5, 1.0]]]), np.array([[[False, False, True, True]]])
        >>> positives, negatives = pixel_counts(maps, masks, bins=8)
        >>> int(positives.sum()), int(negatives.sum()), positives.shape
        (2, 2, (1, 8))
    """
    maps, masks = _checked(maps, masks)
    positives = np.zeros((len(maps), bins), dtype=np.uint32)
    negatives = np.zeros_like(positives)
    edges = _edges(maps, masks, bins - 1)
    for image, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        index = np.searchsorted(edges, values.ravel(), side="right")
        both = np.bincount(index, minlength=bins)
        positives[image] = np.bincount(index[mask.ravel()], minlength=bins)
        negatives[image] = both - positives[image]
    return positives, negatives


def _edges(maps: NDArray[np.float32], masks: NDArray[np.bool_], number: int) -> NDArray[np.float32]:
    """At most `number` lower bounds of bins, ascending."""
    edges = _quantiles(maps[masks], number)
    return edges if edges.size == number else np.union1d(edges, _quantiles(maps, number - edges.size))


def _quantiles(values: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    if not values.size:
        return np.zeros(0, dtype=np.float32)
    ranks = np.linspace(0, values.size - 1, number).astype(np.int64)
    edges, times = np.unique(np.sort(values, axis=None)[ranks], return_counts=True)
    # A value of many pixels, such as a background's zero, gets a bin of its own: the values above it are no ties.
    return np.union1d(edges, np.nextafter(edges[times > 1], np.float32(np.inf)))


def _checked(maps: NDArray, masks: NDArray) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if maps.shape != masks.shape:
        msg = f"The maps {maps.shape} and the masks {masks.shape} have different sizes: resize the masks to the maps."
        raise DataError(msg)
    maps = np.asarray(maps, dtype=np.float32)
    curves.require_finite(maps, "values of the maps")
    return maps, np.asarray(masks, dtype=bool)


def _ranks(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> _Ranks:
    """Rank the lesions' pixels, of which there is at least one, among all others."""
    others = np.sort(maps[~masks])
    abnormal = masks.any(axis=(1, 2))
    regions = ndimage.label(masks[abnormal], structure=NEIGHBOURS)[0][masks[abnormal]]
    sizes = np.bincount(regions)
    values = maps[masks]
    order = np.argsort(values)[::-1]
    values = values[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    overlap = np.cumsum(1 / sizes[regions[order]]) / (sizes.size - 1)
    return _Ranks(
        values=values[last],
        true_positives=last.astype(np.float64) + 1,
        false_positives=(others.size - np.searchsorted(others, values[last], side="left")).astype(np.float64),
        false_positives_before=(others.size - np.searchsorted(others, values[last], side="right")).astype(np.float64),
        overlap=overlap[last],
        others=others.size,
    )


def _area(ranks: _Ranks, found: NDArray[np.float64], limit: float) -> float:
    """Area under `found` against the false-positive rate up to a limit, divided by it; a tie is a straight line."""
    rates = np.stack([ranks.false_positives_before, ranks.false_positives], axis=1).ravel() / ranks.others
    heights = np.stack([np.append(0.0, found[:-1]), found], axis=1).ravel()
    rates, heights = np.append(rates, 1.0), np.append(heights, found[-1])
    inside = int(np.searchsorted(rates, limit, side="right"))
    if inside < rates.size:
        left, right = inside - 1, inside
        # The curve starts at (0, 0), which the first point need not be.
        start = (rates[left], heights[left]) if inside else (0.0, 0.0)
        slope = (heights[right] - start[1]) / (rates[right] - start[0])
        rates = np.append(rates[:inside], limit)
        heights = np.append(heights[:inside], start[1] + slope * (limit - start[0]))
    return float(integrate.trapezoid(np.append(0.0, heights), np.append(0.0, rates)) / limit)


def _dice_at(
    threshold: float, maps: NDArray[np.float32], masks: NDArray[np.bool_], cases: NDArray[np.str_]
) -> tuple[float, float]:
    """Dice of all pixels, and its mean over the cases with a lesion."""
    # NumPy would round the threshold to the maps' precision, perhaps below a value that it must exclude.
    single = np.float32(threshold)
    if float(single) < threshold:
        single = np.nextafter(single, np.float32(np.inf))
    found = maps >= single
    hits, sizes, lesions = (np.count_nonzero(pixels, axis=(1, 2)) for pixels in (found & masks, found, masks))
    index = np.unique(cases, return_inverse=True)[1]
    hits_of, sizes_of, lesions_of = (np.bincount(index, weights=number) for number in (hits, sizes, lesions))
    with_lesion = lesions_of > 0
    dice = 2 * hits_of[with_lesion] / (sizes_of + lesions_of)[with_lesion]
    return float(2 * hits.sum() / (sizes.sum() + lesions.sum())), float(dice.mean())
