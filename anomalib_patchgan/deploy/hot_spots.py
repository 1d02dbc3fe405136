"""The most anomalous patches of a volume, one for each place, in millimetres whatever the voxels measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SPOTS = 10
# In patch sides.
MIN_DISTANCE = 2
# Likewise: rounding does not decide about patches that are just so far.
_ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class HotSpot:
    """A patch.

    Args:
        score: Mean of the map over the patch, in [0, 1].
        slice_index: Slice of the plane, such as the axial one from the bottom.
        world_mm: Its most anomalous pixel, in millimetres right, anterior and superior, `(3,)`.
    """

    score: float
    slice_index: int
    world_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Patches of the slices of a map, squares in millimetres.

    Where pixels are no squares, a patch has another number of them along columns than along rows: as many as make a
    square of the area that the model's patch, with the same number along both, covers.

    Args:
        columns: Width of a patch in pixels, at least 1.
        rows: Its height.
        side_mm: Side of the square in millimetres.

    Example:
        >>> PatchGrid.of(np.diag([0.5, 2.0, 5.0, 1.0]), 8)
        PatchGrid(columns=16, rows=4, side_mm=8.0)
    """

    columns: int
    rows: int
    side_mm: float

    @classmethod
    def of(cls, affine: NDArray[np.float64], side: int) -> "PatchGrid":
        """Make the patches of a map, given the side of the model's patch in pixels.

        Args:
            affine: `(4, 4)`, from (column, row, slice) of the map to millimetres.
            side: Side of the model's patch in pixels, at least 1.
        """
        across, down = affine[:3, 0], affine[:3, 1]
        # The area of a pixel, also where rows are not perpendicular to columns.
        side_mm = side * float(np.sqrt(np.linalg.norm(np.cross(across, down))))
        columns, rows = (max(1, round(side_mm / float(np.linalg.norm(axis)))) for axis in (across, down))
        return cls(columns=columns, rows=rows, side_mm=side_mm)

    def pixels(self, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Pixels of each patch of a slice.

        Args:
            shape: Height and width of the slice.

        Returns:
            `(patches, rows * columns)`, both row by row: positions in the flattened slice, -1 beyond its border.
        """
        surplus = [(0, -length % side) for length, side in zip(shape, (self.rows, self.columns), strict=True)]
        every = np.pad(np.arange(shape[0] * shape[1]).reshape(shape), surplus, constant_values=-1)
        down, across = every.shape[0] // self.rows, every.shape[1] // self.columns
        patches = every.reshape(down, self.rows, across, self.columns).swapaxes(1, 2)
        return patches.reshape(down * across, -1)


def find_hot_spots(
    maps: NDArray[np.float32],
    affine: NDArray[np.float64],
    side: int,
    slices: Sequence[int],
    count: int = MAX_SPOTS,
) -> list[HotSpot]:
    """Rank the patches of all slices together, as the model ranks those of one.

    Neighbouring slices show one lesion again and again: a patch nearer than two patch sides to a better one is left
    out. The distance is that of their most anomalous pixels in the patient, in millimetres, along the slices as well as
    across them: it spans many thin slices, few thick ones, and none where these are farther apart than that.

    Args:
        maps: Maps of the slices, `(Z, H, W)`.
        affine: `(4, 4)`, from (column, row, slice) to millimetres, of pixels and slices of any sides and directions.
        side: Side of the model's patch in pixels, at least 1, see `PatchGrid`.
        slices: Slices that were processed.
        count: Most patches to return.

    Returns:
        The patches, most anomalous first; none with a mean of 0.

    Example:
        >>> maps = np.zeros((5, 32, 32), np.float32)
        >>> maps[2, 8:16, 24:32] = 0.75
        >>> spots = find_hot_spots(maps, np.eye(4), 8, range(5))
        >>> [(spot.score, spot.slice_index) for spot in spots]
        [(0.75, 2)]
    """
    patches = PatchGrid.of(affine, side)
    pixels = patches.pixels((maps.shape[1], maps.shape[2]))
    beyond, every = pixels < 0, np.arange(len(pixels))
    areas = (~beyond).sum(axis=1)
    by_slice, peaks = np.empty((len(slices), len(pixels))), np.empty((len(slices), len(pixels)), np.int64)
    for row, number in enumerate(slices):
        # Maps are not negative: what lies beyond the border is no peak, and nothing in a sum.
        values = np.where(beyond, -1, maps[number].reshape(-1)[pixels])
        peaks[row] = pixels[every, values.argmax(axis=1)]
        by_slice[row] = values.clip(0).sum(axis=1, dtype=np.float64) / areas
    means = by_slice.reshape(-1)
    numbers = np.repeat(np.asarray(slices, np.int64), len(pixels))
    rows, columns = np.divmod(peaks.reshape(-1), maps.shape[2])
    voxels = np.column_stack([columns, rows, numbers, np.ones(len(numbers))])
    places = (voxels @ affine.T)[:, :3]
    radius = (MIN_DISTANCE - _ROUNDING) * patches.side_mm
    free = means > 0
    spots: list[HotSpot] = []
    # Stable, so that of equal patches the first one counts.
    for index in np.argsort(-means, kind="stable"):
        if len(spots) == count or not means[index] > 0:
            break
        if not free[index]:
            continue
        spots.append(HotSpot(score=float(means[index]), slice_index=int(numbers[index]), world_mm=places[index]))
        free &= np.linalg.norm(places - places[index], axis=1) >= radius
    return spots
