"""The part of a scan's slices that images show: so many millimetres around the foreground, the same for every slice."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalib_patchgan.errors import DataError

# Of the foreground's voxels on either side: single voxels far from the others move nothing.
TAIL = 0.005
# Of an image's pixel to the scan's. Beyond them an image shows no anatomy, or takes the memory that a header claims.
PIXEL_RATIO = (1 / 8, 16)
# Pixels of nearly the size that is wanted are taken as they are.
_SAME_PIXEL = 1e-3


@dataclass(frozen=True, kw_only=True)
class FieldOfView:
    """Takes images from the slices of one scan, and brings maps of the images back onto them.

    Args:
        shape: Rows and columns of a slice.
        box: First row, first column, end of the rows and of the columns that the image shows, in pixels of the slice
            and fractions of them; beyond the slice lies background.
        size: Rows and columns of the image.

    Example:
        >>> brain = np.zeros((1, 4, 8), bool)
        >>> brain[0, 1:3, 4:8] = True
        >>> field = FieldOfView.around(brain, (1.0, 1.0), 6.0, 6)
        >>> field.box
        (-1.0, 3.0, 5.0, 9.0)
        >>> field.image(np.arange(32, dtype=np.uint8).reshape(4, 8))[1].tolist()
        [3, 4, 5, 6, 7, 0]
    """

    shape: tuple[int, int]
    box: tuple[float, float, float, float]
    size: tuple[int, int]

    @classmethod
    def around(
        cls, foreground: np.ndarray, pixel_mm: tuple[float, float], field_mm: float, side: int, name: str = "the scan"
    ) -> "FieldOfView":
        """Centre a square field on the foreground of all slices together.

        Args:
            foreground: `(Z, H, W)` bool.
            pixel_mm: Height and width of the scan's pixels.
            field_mm: Side of the field.
            side: Rows and columns of the image.
            name: Of the scan, for messages.

        Raises:
            DataError: The scan's pixels are far smaller or larger than the image's.
        """
        wanted = field_mm / side
        if not all(PIXEL_RATIO[0] <= wanted / given <= PIXEL_RATIO[1] for given in pixel_mm):
            given = " x ".join(f"{one:.4g}" for one in pixel_mm)
            msg = (
                f"{name} has pixels of {given} mm in its slices, and images have {wanted:.4g} mm: check the "
                "units and the voxel size in its header, or resample it."
            )
            raise DataError(msg)
        sides = [field_mm / given for given in pixel_mm]
        starts = [sum(extent(foreground, axis)) / 2 - length / 2 for axis, length in zip((1, 2), sides, strict=True)]
        if all(abs(wanted / given - 1) < _SAME_PIXEL for given in pixel_mm):
            # Whole pixels, which nothing has to be computed from.
            starts, sides = [float(math.floor(start + 0.5)) for start in starts], [float(side)] * 2
        height, width = foreground.shape[1:]
        box = (starts[0], starts[1], starts[0] + sides[0], starts[1] + sides[1])
        return cls(shape=(height, width), box=box, size=(side, side))

    @classmethod
    def whole(cls, shape: tuple[int, int], side: int | None) -> "FieldOfView":
        """Take whole slices, stretched to a square of `side` pixels, or as they are."""
        height, width = shape
        return cls(shape=shape, box=(0.0, 0.0, float(height), float(width)), size=(side or height, side or width))

    def image(self, picture: np.ndarray) -> np.ndarray:
        """Take the image of a slice, averaging where pixels become fewer; beyond the slice it is 0.

        Args:
            picture: `(H, W)` or `(H, W, 3)` uint8.
        """
        return self._resample(picture, self.box, self.size, Image.Resampling.BILINEAR)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Take the part of a mask `(H, W)`, bool; a pixel is in it when at least half of its area was."""
        grey = self._resample(mask.astype(np.uint8) * 255, self.box, self.size, Image.Resampling.BOX)
        return grey > 127  # noqa: PLR2004

    def restore(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a map of the image back onto the slice.

        Args:
            values: `(h, w)` float32, of whatever size the model works at.

        Returns:
            `(H, W)`, 0 beyond the field.
        """
        restored = np.zeros(self.shape, np.float32)
        rows, columns = (self._covered(axis) for axis in (0, 1))
        if rows.start < rows.stop and columns.start < columns.stop:
            corners = np.array([rows.start, columns.start, rows.stop, columns.stop], np.float64)
            box = self.to_image(corners.reshape(2, 2), values.shape[:2]).ravel().tolist()
            size = rows.stop - rows.start, columns.stop - columns.start
            restored[rows, columns] = self._resample(values, tuple(box), size, Image.Resampling.BILINEAR)
        return restored

    def visible(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of a map of the image, of this size, that lie on the slice."""
        corners = self.to_image(np.array([[0.0, 0.0], [float(side) for side in self.shape]]), size)
        (top, left), (bottom, right) = np.clip(np.rint(corners), 0, size).astype(int)
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def to_image(self, places: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Convert `(N, 2)` rows and columns of pixel edges from the slice to a map of the image, of this size."""
        return (places - self.box[:2]) * size / self._sides

    def pixel(self, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the centre of the first pixel of a map of the image, and the size of its pixels.

        Args:
            size: Rows and columns of the map.

        Returns:
            Row and column in indices of the slice, and height and width in pixels of the slice.
        """
        step = self._sides / size
        return np.array(self.box[:2]) + step / 2 - 0.5, step

    @property
    def box_sides(self) -> tuple[float, float]:
        """Width and height of the box, in pixels of the slice."""
        return self.box[3] - self.box[1], self.box[2] - self.box[0]

    @property
    def _sides(self) -> NDArray[np.float64]:
        return np.subtract(self.box[2:], self.box[:2])

    def _resample(
        self, picture: np.ndarray, box: tuple[float, ...], size: tuple[int, int], method: Image.Resampling
    ) -> np.ndarray:
        if self.box == self.whole(self.shape, None).box:
            # Nothing lies beyond the slice, which its rim would be averaged with.
            return np.asarray(Image.fromarray(picture).resize(size[::-1], method))
        return _resample_padded(picture, box, size, method)

    def _covered(self, axis: int) -> slice:
        """Return the pixels of the slice that the field touches."""
        first, last = math.floor(self.box[axis]), math.ceil(self.box[axis + 2])
        return slice(max(first, 0), min(last, self.shape[axis]))


def extent(foreground: np.ndarray, axis: int) -> tuple[float, float]:
    """Return where the foreground begins and ends along an axis, in pixel edges, but for a tail of single voxels.

    Args:
        foreground: `(Z, H, W)` bool.
        axis: 0, 1 or 2.

    Example:
        >>> extent(np.array([[[False, True, True, False, False]]]), 2)
        (1.0, 3.0)
    """
    others = tuple(other for other in range(foreground.ndim) if other != axis)
    counts = np.cumsum(np.count_nonzero(foreground, axis=others))
    if not counts[-1]:
        return 0.0, float(foreground.shape[axis])
    first, last = np.searchsorted(counts, [TAIL * counts[-1] + 0.5, (1 - TAIL) * counts[-1]])
    return float(first), float(last + 1)


def _resample_padded(
    picture: np.ndarray, box: tuple[float, ...], size: tuple[int, int], method: Image.Resampling
) -> np.ndarray:
    """Resample a box of a picture, beyond which lies 0, to a size."""
    top, left, bottom, right = box
    is_copy = bottom - top == size[0] and right - left == size[1] and top % 1 == left % 1 == 0
    if is_copy:
        return _window(picture, int(top), int(left), *size)
    # What an averaging filter reaches beyond the box.
    reach = [math.ceil(max((high - low) / side, 1)) for low, high, side in zip(box[:2], box[2:], size, strict=True)]
    first_row, first_column = math.floor(top) - reach[0], math.floor(left) - reach[1]
    rows, columns = (
        math.ceil(high) + margin - first
        for high, margin, first in zip((bottom, right), reach, (first_row, first_column), strict=True)
    )
    canvas = Image.fromarray(_window(picture, first_row, first_column, rows, columns))
    inner = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    return np.asarray(canvas.resize(size[::-1], method, box=inner))


def _window(picture: np.ndarray, top: int, left: int, rows: int, columns: int) -> np.ndarray:
    """Cut a window out of a picture; what lies beyond is 0."""
    height, width = picture.shape[:2]
    margins = [(max(-top, 0), max(top + rows - height, 0)), (max(-left, 0), max(left + columns - width, 0))]
    padded = np.pad(picture, [*margins, *[(0, 0)] * (picture.ndim - 2)])
    top, left = max(top, 0), max(left, 0)
    return padded[top : top + rows, left : left + columns]
