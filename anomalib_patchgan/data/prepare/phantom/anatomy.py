"""Healthy brains for the phantom: the ICBM 2009 templates that nilearn ships, deformed and given FLAIR contrast."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

FIELD_OF_VIEW_MM = 208.0
# From the orbital surface to the upper parietal lobe, in template space (mm above the anterior commissure).
SLICE_RANGE_MM = (-16.0, 58.0)
# Nodding, turning within the slice, and leaning to a shoulder: heads lie in the coil as they come, and one that is not
# straight has no mirror symmetry to find a lesion by.
POSE_DEG = (5.0, 8.0, 8.0)
SHIFT_MM = 4.0
WIDENING = 0.2
_BRAIN_CENTRE_MM = np.array([0.0, -18.0, 15.0])
# Between the bodies of the lateral ventricles, and how far from there their widening reaches.
_VENTRICLES_MM = np.array([0.0, -12.0, 16.0])
_VENTRICLES_REACH_MM = 25.0

Points = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Templates:
    """Template volumes on a 1 mm grid, `(197, 233, 189)` float32 each, axes to the right, to the front and up.

    Args:
        grey: Grey-matter probability in [0, 1].
        white: White-matter probability in [0, 1].
        brain: 1 in the brain, cerebrospinal fluid included, 0 elsewhere.
        texture: T1 signal that the tissue classes do not explain, about [-0.3, 0.3].
        solid: Tissue probability smoothed over 8 mm: near 1 where a lesion can lie without leaving the tissue.
        origin: Position of the first voxel in mm, `(3,)`.
    """

    grey: np.ndarray
    white: np.ndarray
    brain: np.ndarray
    texture: np.ndarray
    solid: np.ndarray
    origin: np.ndarray

    def sample(self, volume: np.ndarray, points: Points) -> np.ndarray:
        """Interpolate a volume linearly at points in mm; 0 outside."""
        voxels = [axis - start for axis, start in zip(np.broadcast_arrays(*points), self.origin, strict=True)]
        return map_coordinates(volume, voxels, order=1, output=np.float32)


@lru_cache(maxsize=1)
def load_templates() -> Templates:
    """Load the templates once per process (no download)."""
    # nilearn takes seconds to import, and a folder that is already prepared does not need it.
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    t1 = image.get_fdata(dtype=np.float32)
    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
    brain = (t1 > 0).astype(np.float32)
    classes = grey, white, np.clip(brain - grey - white, 0, 1)
    expected = sum(part * (float((part * t1).sum()) / float(part.sum())) for part in classes)
    texture = np.clip(t1 - expected, -0.3, 0.3) * brain
    solid = gaussian_filter(grey + white, 4.0)
    return Templates(grey, white, brain, texture.astype(np.float32), solid, image.affine[:3, 3])


@dataclass(frozen=True)
class Anatomy:
    """How one subject differs from the template.

    Args:
        matrix: Linear part from patient to template space, `(3, 3)`.
        shift: Shift in mm, `(3,)`.
        waves: Smooth deformation in mm, one set of waves per axis.
        widening: How much wider than the template's the ventricles are, as a fraction; negative for narrower.
    """

    matrix: np.ndarray
    shift: np.ndarray
    waves: tuple["Waves", "Waves", "Waves"]
    widening: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Anatomy":
        """Draw a subject: pose, size (up to 6 % per axis), a deformation of about 2 mm, and ventricles."""
        pitch, yaw, roll = np.radians(rng.uniform(-1, 1, 3) * POSE_DEG)
        rotation = np.array(
            [[1, -yaw, roll], [yaw, 1, -pitch], [-roll, pitch, 1]]
        )  # first order: the angles are small, and what is left over is one more difference between subjects
        return cls(
            matrix=rotation / rng.uniform(0.94, 1.06, 3)[:, None],
            shift=rng.uniform(-SHIFT_MM, SHIFT_MM, 3),
            waves=(Waves.draw(rng, 2.0), Waves.draw(rng, 2.0), Waves.draw(rng, 2.0)),
            widening=rng.uniform(-WIDENING, WIDENING),
        )

    def to_template(self, points: Points) -> Points:
        """Map patient points in mm to template points in mm."""
        offsets = [axis - centre for axis, centre in zip(points, _BRAIN_CENTRE_MM, strict=True)]
        x, y, z = (
            sum(weight * offset for weight, offset in zip(row, offsets, strict=True)) + centre + shift + wave(points)
            for row, centre, shift, wave in zip(self.matrix, _BRAIN_CENTRE_MM, self.shift, self.waves, strict=True)
        )
        dx, dy, dz = (axis - centre for axis, centre in zip((x, y, z), _VENTRICLES_MM, strict=True))
        # Wider ventricles show the middle of the template enlarged; the tissue around gives way, up to 3 mm.
        pull = self.widening * np.exp(-(dx**2 + dy**2 + dz**2) / (2 * _VENTRICLES_REACH_MM**2))
        return x - pull * dx, y - pull * dy, z - pull * dz


@dataclass(frozen=True)
class Waves:
    """A smooth random field: a sum of plane waves, so that any point can be asked without a grid.

    Args:
        vectors: Wave vectors in rad/mm, `(K, 3)`.
        phases: Phases in rad, `(K,)`.
        amplitude: Standard deviation of the field.

    Example:
        >>> field = Waves.draw(np.random.default_rng(0), amplitude=2.0)
        >>> field((np.zeros(5), np.zeros(5), np.arange(5.0))).shape
        (5,)
    """

    vectors: np.ndarray
    phases: np.ndarray
    amplitude: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, amplitude: float, wavelengths_mm: tuple[float, float] = (60, 140), terms: int = 6
    ) -> "Waves":
        """Draw waves of random direction, wavelength and phase."""
        directions = rng.normal(size=(terms, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        wavelengths = rng.uniform(*wavelengths_mm, size=(terms, 1))
        return cls(2 * np.pi * directions / wavelengths, rng.uniform(0, 2 * np.pi, terms), amplitude)

    def __call__(self, points: Points) -> np.ndarray:
        """Return the field at points in mm; the coordinates broadcast against each other."""
        x, y, z = points
        # A product of one factor per axis: on a grid, sines are then taken along its sides, not at every point.
        waves = (
            (np.exp(1j * kx * x) * np.exp(1j * ky * y) * np.exp(1j * (kz * z + phase))).imag
            for (kx, ky, kz), phase in zip(self.vectors, self.phases, strict=True)
        )
        return sum(waves, start=np.float64(0)) * (self.amplitude * np.sqrt(2 / len(self.phases)))


def slice_points(slices: int, size: int) -> Points:
    """Return the pixel centres of axial slices in patient space, in mm.

    Args:
        slices: Number of slices, evenly spaced over `SLICE_RANGE_MM`.
        size: Height and width in pixels; together they span `FIELD_OF_VIEW_MM`.

    Returns:
        x `(1, 1, W)`, y `(1, H, 1)`, z `(N, 1, 1)`: front up, and the patient's right on the left, as radiologists
        look at slices.
    """
    offsets = ((np.arange(size) + 0.5) / size - 0.5) * FIELD_OF_VIEW_MM
    x = _BRAIN_CENTRE_MM[0] - offsets
    y = _BRAIN_CENTRE_MM[1] - offsets
    return x[None, None, :], y[None, :, None], np.linspace(*SLICE_RANGE_MM, slices)[:, None, None]
