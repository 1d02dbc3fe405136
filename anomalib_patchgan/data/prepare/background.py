"""What of a volume is air: found at the border of its axial slices, not assumed to be 0."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["zero", "constant", "noise", "none"]
# Of the border's voxels that have one value where the background is constant. A brain cut out along its bounding box
# touches the border of its slices at four places.
_CONSTANT = 0.5
# Standard deviations of the noise at the border, within which a voxel is air.
_DEVIATIONS = 5.0
# Where the border is clear, of the way from the background to the brightest tissue.
_AIR = 0.05
# Air within a margin is a large part of what is there, in the closest box around an ellipsoid 0.48, and its border has
# many voxels; other constants are tissue.
_MIN_AIR = 0.4
_MIN_BORDER = 64
# Of the voxels beside a constant background: in skull-stripped brains below 0.05 are as dark as air, and above 0.25 in
# whole heads, of which the scanner or its software has set a part of the air to 0.
_NOISY = 0.15
# Noise that reaches further towards the tissue is no background.
_FARTHEST = 0.25
_BRIGHT = 0.999
# Every third voxel along each axis says enough about intensities.
_SPARSE = (slice(None, None, 3),) * 3


@dataclass(frozen=True, kw_only=True)
class Background:
    """The background of one volume.

    Args:
        kind: `zero` or `constant`, one value; `noise` around one; or `none`, where the border shows tissue.
        level: Its value.
        reach: Voxels at most so far from it are background.
        margin: Another value around all of it, such as that which a scan was padded with; `None` for none.

    Example:
        >>> volume = np.full((8, 8, 4), -0.5)
        >>> volume[2:6, 2:6] = np.arange(64).reshape(4, 4, 4)
        >>> background = Background.of(volume)
        >>> background, int(background.foreground(volume).sum())
        (Background(kind='constant', level=-0.5, reach=0.0, margin=None), 64)
    """

    kind: Kind = "zero"
    level: float = 0.0
    reach: float = 0.0
    margin: float | None = None

    @classmethod
    def of(cls, volume: np.ndarray) -> "Background":
        """Estimate the background of a volume `(X, Y, Z)`, finite, with axial slices along the last axis."""
        sparse = volume[_SPARSE]
        border = _border(volume)
        constant = _constant(border)
        if constant is not None:
            return _inside(sparse, constant)
        level = float(np.median(border))
        deviation = 1.4826 * float(np.median(np.abs(border - np.float64(level))))
        brightest = float(np.quantile(np.abs(sparse.astype(np.float64) - level), _BRIGHT))
        if _DEVIATIONS * deviation > _FARTHEST * brightest:
            return cls(kind="none")
        return cls(kind="noise", level=level, reach=_DEVIATIONS * deviation)

    def is_air(self, values: np.ndarray) -> np.ndarray:
        """Tell which values are those of the background, bool of the same shape."""
        is_noise = self.kind == "noise"
        air = np.abs(values - np.float64(self.level)) <= self.reach if is_noise else values == self.level
        return air if self.margin is None else air | (values == self.margin)

    def foreground(self, volume: np.ndarray) -> np.ndarray:
        """Return what of the volume `(X, Y, Z)` is not background, bool.

        Around noise it is the largest piece with its holes, of each slice along the last axis, filled: fluid and bone
        are as dark.
        """
        found = ~self.is_air(volume)
        if self.kind != "noise":
            return found
        # Noise that goes beyond its reach here and there hangs on the head by single voxels.
        return largest_piece(found, thinned=True)

    def describe(self) -> str:
        """Say in words what the background is."""
        if self.kind == "none":
            return "no background was found at the border of its slices"
        if self.kind == "noise":
            return f"the background is not 0 but noise of up to {self.reach:.3g} around {self.level:.3g}"
        margin = "" if self.margin is None else f" within a margin of {self.margin:.3g}"
        return f"the background is {self.level:.3g}{margin}"


def largest_piece(found: np.ndarray, *, thinned: bool = False) -> np.ndarray:
    """Return the largest connected piece of `(X, Y, Z)`, bool, with its holes filled, slice by slice.

    Args:
        found: Bool, of the same shape.
        thinned: Take off first what hangs on by single voxels.
    """
    # scipy takes long to import, which readers of headers and pages need not.
    from scipy import ndimage

    labels, number = ndimage.label(ndimage.binary_opening(found) if thinned else found)
    if number:
        found = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    # Nose and ears leave openings in three dimensions, through which nothing would be a hole.
    for index in range(found.shape[2]):
        found[:, :, index] = ndimage.binary_fill_holes(found[:, :, index])
    return found


def _border(volume: np.ndarray) -> np.ndarray:
    """Return the outermost voxels of the axial slices."""
    return np.concatenate([volume[[0, -1]].ravel(), volume[:, [0, -1]].ravel()])


def _constant(border: np.ndarray) -> float | None:
    """Return the value that most of the border has; `None` if it is not constant."""
    values, counts = np.unique(border, return_counts=True)
    commonest = int(counts.argmax())
    return float(values[commonest]) if counts[commonest] >= _CONSTANT * border.size else None


def _inside(sparse: np.ndarray, level: float) -> Background:
    """Find out what lies within a constant border: tissue, another constant, or noise that software cleared in part."""
    found = sparse != level
    margin: float | None = None
    if found.any():
        box = tuple(slice(places.min(), places.max() + 1) for places in np.nonzero(found))
        border = _border(sparse[box])
        inner = _constant(border)
        large = border.size >= _MIN_BORDER and np.count_nonzero(sparse == inner) > _MIN_AIR * np.count_nonzero(found)
        if inner is not None and inner != level and large:
            margin, level = level, inner
            found &= sparse != level
    tissue = sparse[found].astype(np.float64)
    if tissue.size and tissue.min() > level:
        reach = _AIR * (float(np.quantile(tissue, _BRIGHT)) - level)
        if np.count_nonzero(tissue <= level + reach) > _NOISY * tissue.size:
            return Background(kind="noise", level=level, reach=reach, margin=margin)
    return Background(kind="constant" if level or margin is not None else "zero", level=level, margin=margin)
