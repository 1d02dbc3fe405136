"""Lesions for the phantom: irregular ellipsoids that change the signal of the tissue, and which a reader would see.

Two limits, and a cross-section has to pass both:

- Area. RANO takes a lesion on FLAIR for measurable from two perpendicular diameters of 10 mm (van den Bent et al.,
  Lancet Oncol 2011;12:583-593): a circle of 79 mm2.
- Contrast. The eye is sure of an object that stands out by five standard deviations of the noise (Rose, J Opt Soc Am
  1948;38:196-208). Rose's noise is that of the object's mean, which falls with its area; here it is that of one pixel,
  because the folds of the cortex hide what noise alone would show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from anomalib_patchgan.data.prepare.phantom.anatomy import Anatomy, Points, Templates, Waves

MIN_AREA_MM2 = 79.0
MIN_CNR = 5.0
KINDS = ("hyper", "hypo", "ring", "texture")
RADIUS_MM = (7.0, 18.0)
# Relative change of the signal: of white matter by 0.17 to 0.32, seven or more times the noise.
STRENGTH = (0.35, 0.65)
_CANDIDATES = 2000
_SOLID_TISSUE = 0.9
_EDGE_MM = 2.0


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Args:
        kind: One of `KINDS`: brighter, darker, bright rim with dark core, or other texture of the same mean.
        centre: Centre in patient space in mm, `(3,)`.
        radius: Mean radius in mm.
        stretch: Half-axes relative to the radius, `(3,)`.
        surface: Irregularity of the surface, relative to the radius.
        strength: Relative change of the signal.
    """

    kind: str
    centre: np.ndarray
    radius: float
    stretch: np.ndarray
    surface: Waves
    strength: float

    def depth(self, points: Points) -> np.ndarray:
        """Return about how far points lie inside the surface, in mm; negative outside."""
        parts = zip(points, self.centre, self.stretch, strict=True)
        distance = np.sqrt(sum(((axis - centre) / stretch) ** 2 for axis, centre, stretch in parts))
        return self.radius * (1 + self.surface(points)) - distance

    def apply(
        self, signal: np.ndarray, mask: np.ndarray, depth: np.ndarray, pixel_mm: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Change the signal inside the mask, fading in over 2 mm from its border.

        Args:
            signal: Slices, `(N, H, W)`, about [0, 1].
            mask: Pixels that may change, bool.
            depth: What `depth` returned at the pixels.
            pixel_mm: Pixel size in mm.
            rng: For the texture.

        Returns:
            Changed slices; equal to `signal` outside the mask.
        """
        inside = mask * np.clip(depth / _EDGE_MM, 0, 1)
        if self.kind == "texture":
            blur = (0, 3.0 / pixel_mm, 3.0 / pixel_mm)
            grain = gaussian_filter(rng.normal(size=signal.shape), (0, 1.5 / pixel_mm, 1.5 / pixel_mm))
            grain *= self.strength / 2 / grain.std()
            mean = gaussian_filter(signal, blur) / np.maximum(gaussian_filter((signal > 0).astype(float), blur), 0.1)
            return signal + inside * (mean * (1 + grain) - signal)
        if self.kind == "ring":
            core = np.clip((depth - 0.35 * self.radius) / _EDGE_MM, 0, 1)
            return signal * (1 + inside * self.strength * (1 - 1.8 * core))
        sign = 1 if self.kind == "hyper" else -1
        return signal * (1 + inside * sign * self.strength)


def draw_lesions(
    rng: np.random.Generator, templates: Templates, anatomy: Anatomy, plan: Sequence[tuple[str, float]]
) -> list[Lesion]:
    """Draw lesions that lie in tissue and do not touch.

    Args:
        rng: Source of chance.
        templates: Template volumes.
        anatomy: Subject that gets the lesions.
        plan: Kind and height in mm of each lesion; the brain may have room for fewer.

    Returns:
        Lesions with radii log-uniform in `RADIUS_MM`.
    """
    lesions: list[Lesion] = []
    for kind, height in plan:
        radius = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
        # The same height for all candidates: where the brain is wide there would be more lesions, and the slice's
        # position would give them away.
        candidates = rng.uniform([-65.0, -100.0, height], [65.0, 65.0, height], (_CANDIDATES, 3))
        x, y, z = candidates.T
        usable = templates.sample(templates.solid, anatomy.to_template((x, y, z))) > _SOLID_TISSUE
        for other in lesions:
            usable &= np.linalg.norm(candidates - other.centre, axis=1) > 1.3 * (radius + other.radius)
        lesion = Lesion(
            kind=kind,
            centre=candidates[int(usable.argmax())],
            radius=radius,
            stretch=rng.uniform(0.75, 1.25, 3),
            surface=Waves.draw(rng, 0.12, wavelengths_mm=(1.2 * radius, 3 * radius)),
            strength=rng.uniform(*STRENGTH),
        )
        if usable.any():
            lesions.append(lesion)
    return lesions


@dataclass(frozen=True, kw_only=True)
class CrossSections:
    """The cross-sections of one lesion.

    Args:
        kind: Kind of the lesion.
        area_mm2: Area in each slice in mm2, `(N,)`; 0 where it is not.
        cnr: Contrast-to-noise ratio in each slice, `(N,)`; 0 where it is not.

    Example:
        >>> area, cnr = np.array([78.0, 80.0, 80.0]), np.array([9.0, 4.9, 5.1])
        >>> CrossSections(kind="hyper", area_mm2=area, cnr=cnr).visible
        array([False, False,  True])
    """

    kind: str
    area_mm2: np.ndarray
    cnr: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Whether a reader would see the lesion in each slice, `(N,)` bool."""
        return (self.area_mm2 >= MIN_AREA_MM2) & (self.cnr >= MIN_CNR)


def measure_lesion(kind: str, mask: np.ndarray, change: np.ndarray, sigma: float, pixel_mm: float) -> CrossSections:
    """Measure what one lesion does to each slice.

    Args:
        kind: Kind of the lesion.
        mask: Its pixels, `(N, H, W)` bool.
        change: Signal with minus signal without the lesion, both free of noise, `(N, H, W)`.
        sigma: Standard deviation of the noise, in the unit of the signal.
        pixel_mm: Pixel size in mm.

    Returns:
        Areas and contrasts. The contrast is the mean absolute change inside the mask over `sigma`; for a texture, which
        both brightens and darkens, the root of its mean square.

    Example:
        >>> change = np.zeros((2, 16, 16))
        >>> change[1, 4:12, 4:12] = -0.2
        >>> lesion = measure_lesion("hypo", change != 0, change, sigma=0.02, pixel_mm=1.5)
        >>> [round(float(area)) for area in lesion.area_mm2], [round(float(cnr)) for cnr in lesion.cnr]
        ([0, 144], [0, 10])
    """
    power = 2 if kind == "texture" else 1
    pixels = np.count_nonzero(mask, axis=(1, 2))
    total = (np.abs(change) ** power * mask).sum(axis=(1, 2))
    contrast = (total / np.maximum(pixels, 1)) ** (1 / power)
    return CrossSections(kind=kind, area_mm2=pixels * pixel_mm**2, cnr=contrast / sigma)
