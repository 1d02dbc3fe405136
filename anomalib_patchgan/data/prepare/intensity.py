"""From a volume's intensities to 8 bits, the same for every case of an archive."""

import logging
import math
from pathlib import Path
from typing import Literal

import numpy as np

from anomalib_patchgan.data.prepare.background import Background
from anomalib_patchgan.errors import DataError

Scaling = Literal["robust", "minmax"]
# Of the brain's voxels; the brightest per mille are vessels, fat that skull-stripping left, and artefacts.
HIGH_PERCENTILE = 99.9
# Of the maximum to that percentile. Vessels stay below 2; saturated voxels among some hundreds are above 30.
_MAX_CONTRAST = 10
_SHORT_BYTES = 2

logger = logging.getLogger(__name__)


class GreyScale:
    """Scaling of one volume to 8 bits.

    `robust` maps [low, high] linearly to [1, 255], where high is the 99.9th percentile of the brain's voxels and low
    is the background, or the 0.1th percentile where that is below it (z-scores). `minmax` maps the whole volume's
    minimum and maximum to 0 and 255, as the paper's scripts did. The background becomes exactly 0.

    A few voxels far brighter than the others, such as saturated ones of 32,767, change nothing else in `robust`, where
    they become 255. In `minmax` they make all others dark, which is warned of and left so: it was published so.

    Args:
        volume: `(X, Y, Z)`, any real dtype, finite.
        scaling: See above.
        path: File of the volume, for messages.
        background: What surrounds the brain; 0 by default.

    Raises:
        DataError: There is no voxel but background, or all voxels of the brain have one value.

    Example:
        >>> volume = np.array([[[0, 500, 1000]]], np.int16)
        >>> GreyScale(volume, "robust", Path("x.nii"))(volume).tolist()
        [[[0, 128, 255]]]
    """

    def __init__(self, volume: np.ndarray, scaling: Scaling, path: Path, background: Background | None = None) -> None:
        self.path = path
        self.background = background or Background()
        level = self.background.level
        # In memory order, which makes the comparison and the selection several times faster.
        voxels = volume.ravel(order="K")
        brain = voxels[~self.background.is_air(voxels)]
        if brain.size == 0:
            what = f"{path} has no voxel other than {level:g}"
            msg = f"{what}, so there is no brain in it: replace the file or remove its case."
            raise DataError(msg)
        lowest, highest = float(brain.min()), float(brain.max())
        if lowest == highest:
            msg = (
                f"{path} is constant ({lowest:g} in all {brain.size} voxels of the brain): replace the file or remove "
                "its case."
            )
            raise DataError(msg)
        low, high = _percentiles(brain, lowest)
        if scaling == "minmax":
            if 0 < _MAX_CONTRAST * (high - level) < highest - level:
                logger.warning("%s has voxels up to %g, far above the others, which minmax makes dark", path, highest)
            self.low, self.high, self.floor = min(lowest, level), max(highest, level), 0.0
        else:
            self.low, self.floor = min(low, level), 1.0
            # All but a few voxels may have one negative value, which is then both percentiles.
            self.high = high if high > self.low else max(highest, self.low + 1.0, math.nextafter(self.low, math.inf))
        self._table: np.ndarray | None = None

    def __call__(self, voxels: np.ndarray) -> np.ndarray:
        """Scale some voxels of the volume.

        Args:
            voxels: Of the volume's dtype, any shape.

        Returns:
            uint8 of the same shape.
        """
        if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize > _SHORT_BYTES:
            return self._scale(voxels)
        unsigned = np.dtype(f"u{voxels.dtype.itemsize}")
        if self._table is None:
            # A table of all values is several times faster than arithmetic on every voxel.
            values = np.arange(1 << (8 * unsigned.itemsize), dtype=np.uint32).astype(unsigned)
            self._table = self._scale(values.view(voxels.dtype))
        return self._table[voxels.view(unsigned)]

    def _scale(self, values: np.ndarray) -> np.ndarray:
        # Halves, because the range of a damaged file may be beyond that of its type.
        inside = np.clip(values.astype(np.float64), self.low, self.high) / 2
        share = (inside - self.low / 2) / (self.high / 2 - self.low / 2)
        grey = np.rint(self.floor + share * (255.0 - self.floor)).astype(np.uint8)
        if self.background.kind != "noise":
            # Where the air is noise, the place of a voxel tells, see `Background.foreground`.
            grey[self.background.is_air(values)] = 0
        return grey


def _percentiles(brain: np.ndarray, lowest: float) -> tuple[float, float]:
    """Return the 0.1th and the 99.9th percentile, each the next value outwards that occurs."""
    share = HIGH_PERCENTILE / 100
    if brain.dtype.kind in "iu" and brain.dtype.itemsize <= _SHORT_BYTES:
        # Counting takes a third of the time of partitioning.
        counts = np.cumsum(np.bincount(brain.astype(np.int32) - int(lowest)))
        ranks = np.floor((1 - share) * (brain.size - 1)), np.ceil(share * (brain.size - 1))
        low, high = np.searchsorted(counts, ranks, side="right") + lowest
    else:
        low = np.quantile(brain, 1 - share, method="lower")
        high = np.quantile(brain, share, method="higher")
    return float(low), float(high)
