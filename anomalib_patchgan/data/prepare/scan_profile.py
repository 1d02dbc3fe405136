"""What scans look like as a whole, and whether one is like those of the training.

A model of normal anatomy calls everything anomalous that it has not seen, such as a skull, thick slices or
another contrast. Three plain statistics say so: the histogram of the foreground's intensities beside their median, the
spacing of the voxels, and the extent of the foreground, which is what the field of view shows of the body. What they do
not show, they do not find: T1-weighted images of a brain have nearly the histogram of FLAIR.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, Strict, TypeAdapter, ValidationError

from anomalib_patchgan.data.prepare.field_of_view import extent
from anomalib_patchgan.errors import DataError

# Ranges of the intensity, from 0 to 3 times the median; what is brighter counts as 3.
BINS = 48
BRIGHTEST = 3.0
# Evenly spread slices say as much about a histogram as all of them.
_SLICES = 24
# One scan of a hundred like those of the training is farther from them.
_CONFIDENCE = 0.99
# Fewer scans say nothing about how much they differ.
_MIN_SCANS = 3
# Smaller differences of intensity are of no account, however alike the scans of the training are.
_LEAST_LIMIT = 0.05
# Times the coarsest, or of the finest, voxel of the training.
_SPACING_FACTOR = 1.5
# Of the extents of the training, beyond their range: heads of one species differ by less.
_EXTENT_MARGIN = 0.15
_MAX_SCANS = 1_000_000
_AXES = ("across", "down", "through the slices")


# No number is a truth value or a text, and none is beyond its range, whoever wrote the file.
_Share = Annotated[float, Strict(), Field(ge=0, le=1)]
_Row = Annotated[tuple[_Share, ...], Field(min_length=BINS, max_length=BINS)]
_Spacing = Annotated[float, Strict(), Field(ge=1e-6, le=1e3)]
_Spacings = Annotated[tuple[_Spacing, ...], Field(min_length=3, max_length=3)]
_Extent = Annotated[float, Strict(), Field(ge=0, le=1e6)]
_Extents = Annotated[tuple[_Extent, ...], Field(min_length=3, max_length=3)]
_Place = Annotated[float, Strict(), Field(ge=-1e6, le=1e6)]
_Range = Annotated[tuple[_Place, ...], Field(min_length=2, max_length=2)]


def _check_channels(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse two modalities, which no image has."""
    if len(rows) not in {1, 3}:
        raise ValueError(len(rows))
    return rows


@dataclass(frozen=True, kw_only=True)
class ScanProfile:
    """Statistics of one scan.

    Args:
        histogram: Share of the foreground in each of 48 equal ranges of intensity from 0 to 3 times its median,
            `(C, 48)` for C modalities.
        spacing_mm: Voxels along columns, rows and slices.
        extent_mm: Extent of the foreground along the same axes, without its outermost voxels.
        range_mm: Where the range of slices that training takes begins and ends, from where the foreground begins;
            `None` without such a range.
    """

    spacing_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    range_mm: tuple[float, ...] | None = None
    histogram: tuple[tuple[float, ...], ...]

    @classmethod
    def of(
        cls,
        images: Sequence[NDArray[np.uint8]],
        foreground: NDArray[np.bool_],
        spacing_mm: Sequence[float],
        range_mm: Sequence[float] | None = None,
    ) -> "ScanProfile":
        """Describe a scan.

        Args:
            images: Some of its images, `(h, w)` or `(h, w, 3)`, 0 in the background.
            foreground: `(Z, H, W)`.
            spacing_mm: Voxels along the last, the middle and the first axis of the foreground.
            range_mm: See the class.

        Example:
            >>> image = np.array([[0, 255], [1, 255]], np.uint8)
            >>> profile = ScanProfile.of([image], np.ones((2, 20, 10), bool), (1.0, 2.0, 5.0))
            >>> profile.extent_mm, [round(share, 2) for share in profile.histogram[0][::16]]
            ((10.0, 40.0, 10.0), [0.33, 0.67, 0.0])
        """
        stack = np.stack(images)
        stack = stack.reshape(*stack.shape[:3], -1)
        rows = []
        for channel in range(stack.shape[-1]):
            grey = stack[..., channel]
            tissue = grey[grey > 0]
            beside = np.clip(tissue / np.median(tissue), 0, BRIGHTEST) if tissue.size else tissue
            counts, _ = np.histogram(beside, BINS, (0, BRIGHTEST))
            rows.append(tuple((counts / max(counts.sum(), 1)).round(5).tolist()))
        sizes = [end - start for start, end in (extent(foreground, axis) for axis in (2, 1, 0))]
        return cls(
            histogram=tuple(rows),
            spacing_mm=tuple(round(float(side), 4) for side in spacing_mm),
            extent_mm=tuple(round(size * side, 1) for size, side in zip(sizes, spacing_mm, strict=True)),
            range_mm=None if range_mm is None else tuple(round(float(place), 2) for place in range_mm),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a record of plain values."""
        record: dict[str, Any] = _PROFILE.dump_python(self, mode="json", exclude_none=True)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ScanProfile":
        """Read a record that `as_dict` made."""
        return _PROFILE.validate_python(record)


def choose_slices(numbers: Sequence[int]) -> list[int]:
    """Return at most 24 evenly spread ones of the slices that a profile is made of."""
    places = np.unique(np.linspace(0, len(numbers) - 1, min(_SLICES, len(numbers))).round().astype(int))
    return [numbers[place] for place in places]


@dataclass(frozen=True, kw_only=True)
class TrainingScans:
    """Statistics of the scans that a model was trained on.

    The distance of two histograms is the mean difference of their intensities when both are sorted (Wasserstein's), as
    a share of the median. Its limit is what one scan of a hundred like those of the training exceeds, by Student's t,
    of the distance of each of them to the mean of the others.

    Args:
        scans: Number of scans.
        histogram: Mean histogram, see `ScanProfile`.
        distance_limit: Largest usual distance of a histogram to the mean one; `None` of under 3 scans.
        spacing_mm: Least and largest spacing along each axis, `(2, 3)`.
        extent_mm: Least and largest extent along each axis, `(2, 3)`.
        range_mm: Mean beginning and end of the range of slices, see `ScanProfile`; `None` without such a range.

    """

    scans: Annotated[int, Strict(), Field(ge=1, le=_MAX_SCANS)]
    histogram: Annotated[tuple[_Row, ...], AfterValidator(_check_channels)]
    distance_limit: Annotated[float, Strict(), Field(ge=0, le=BRIGHTEST)] | None
    spacing_mm: Annotated[tuple[_Spacings, ...], Field(min_length=2, max_length=2)]
    extent_mm: Annotated[tuple[_Extents, ...], Field(min_length=2, max_length=2)]
    range_mm: _Range | None = None

    @classmethod
    def of(cls, profiles: Iterable[ScanProfile]) -> "TrainingScans | None":
        """Put the statistics of scans together; `None` of none."""
        given = list(profiles)
        if not given:
            return None
        histograms = np.array([one.histogram for one in given])
        spacings, extents = (np.array([getattr(one, name) for one in given]) for name in ("spacing_mm", "extent_mm"))
        ranges = [one.range_mm for one in given if one.range_mm is not None]
        return cls(
            scans=len(given),
            histogram=_tuples(histograms.mean(axis=0).round(5)),
            distance_limit=_limit(histograms),
            spacing_mm=_tuples(np.stack([spacings.min(axis=0), spacings.max(axis=0)])),
            extent_mm=_tuples(np.stack([extents.min(axis=0), extents.max(axis=0)])),
            range_mm=_tuples(np.array(ranges).mean(axis=0, keepdims=True))[0] if len(ranges) == len(given) else None,
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "TrainingScans":
        """Read a record, which may come from anybody's file.

        Raises:
            DataError: A value is missing or not valid.
        """
        try:
            return _TRAINING.validate_python(record)
        except ValidationError as error:
            wrong = error.errors()[0]["loc"][0]
            msg = f"the statistics of the training's scans are not valid, {wrong}: train or export again."
            raise DataError(msg) from error

    def as_dict(self) -> dict[str, Any]:
        """Return a record of plain values."""
        record: dict[str, Any] = _TRAINING.dump_python(self, mode="json")
        return record

    def differences(self, profile: ScanProfile) -> dict[str, str]:
        """Say in what a scan is unlike the training's and by how much: `intensity`, `spacing`, `field of view`.

        Args:
            profile: The scan.

        Example:
            >>> rows = [(0.5, 0.5, *[0.0] * 46), (0.4, 0.6, *[0.0] * 46), (0.45, 0.55, *[0.0] * 46)]
            >>> scans = [ScanProfile(histogram=(r,), spacing_mm=(1, 1, 1), extent_mm=(140, 170, 130)) for r in rows]
            >>> training = TrainingScans.of(scans)
            >>> training.differences(scans[0])
            {}
            >>> thick = ScanProfile(histogram=(rows[0],), spacing_mm=(1, 1, 5), extent_mm=(140, 170, 130))
            >>> training.differences(thick)
            {'spacing': 'voxels of 1 x 1 x 5 mm, in training 1 x 1 x 1 mm (5 times)'}
        """
        found = {}
        distance = _distance(np.array(profile.histogram), np.array(self.histogram))
        if self.distance_limit is not None and distance > self.distance_limit:
            usual = f"usual are up to {self.distance_limit:.0%}"
            found["intensity"] = f"beside its median it differs by {distance:.0%} on average, {usual}"
        low, high = np.array(self.spacing_mm)
        given = np.array(profile.spacing_mm)
        factors = np.maximum(given / high, low / given)
        if factors.max() > _SPACING_FACTOR:
            times = f"{factors.max():.2g} times"
            found["spacing"] = f"voxels of {_times(given)} mm, in training {_ranges(low, high)} mm ({times})"
        low, high = np.array(self.extent_mm)
        given = np.array(profile.extent_mm)
        outside = (given < low * (1 - _EXTENT_MARGIN)) | (given > high * (1 + _EXTENT_MARGIN))
        if outside.any():
            ranges = [_ranges(low[[axis]].round(), high[[axis]].round()) for axis in range(3)]
            parts = [
                f"{given[axis]:.0f} mm {_AXES[axis]}, in training {ranges[axis]} mm" for axis in np.flatnonzero(outside)
            ]
            found["field of view"] = f"the foreground is {' and '.join(parts)}"
        return found

    def is_as_coarse(self, spacing_mm: Sequence[float]) -> bool:
        """Tell whether slices of such voxels, along columns and rows, are no coarser than those of the training."""
        return all(given <= _SPACING_FACTOR * high for given, high in zip(spacing_mm, self.spacing_mm[1], strict=False))

    def is_larger(self, profile: ScanProfile) -> bool:
        """Tell whether the slices of a scan show more than those of the training, as a head does beside a brain."""
        pairs = zip(profile.extent_mm[:2], self.extent_mm[1][:2], strict=True)
        return any(given > high * (1 + _EXTENT_MARGIN) for given, high in pairs)


_PROFILE, _TRAINING = TypeAdapter(ScanProfile), TypeAdapter(TrainingScans)


def _limit(histograms: NDArray[np.float64]) -> float | None:
    """Return the one-sided prediction limit of the distance of a scan to the mean of the others, `(N, C, 48)`."""
    count = len(histograms)
    if count < _MIN_SCANS:
        return None
    # scipy takes long to import, which readers of profiles need not.
    from scipy import stats

    total = histograms.sum(axis=0)
    distances = [_distance(one, (total - one) / (count - 1)) for one in histograms]
    reach = stats.t.ppf(_CONFIDENCE, count - 1) * np.std(distances, ddof=1) * np.sqrt(1 + 1 / count)
    return round(float(np.clip(np.mean(distances) + reach, _LEAST_LIMIT, BRIGHTEST)), 4)


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest distance of the histograms of a modality, as a share of the median."""
    steps = np.abs(np.cumsum(one, axis=1) - np.cumsum(other, axis=1))
    return float(steps.sum(axis=1).max() * BRIGHTEST / BINS)


def _tuples(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in values)


def _times(sides: NDArray[np.float64]) -> str:
    return " x ".join(f"{side:.3g}" for side in sides)


def _ranges(low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    pairs = zip(low, high, strict=True)
    return " x ".join(f"{a:.3g}" if a == b else f"{a:.3g} to {b:.3g}" for a, b in pairs)
