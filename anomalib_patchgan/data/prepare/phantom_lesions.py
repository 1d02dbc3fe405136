"""Lesions for the phantom: irregular ellipsoids that change the signal of the tissue they lie in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from anomalib_patchgan.data.prepare.phantom_anatomy import Anatomy, Points, Templates, Waves

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
