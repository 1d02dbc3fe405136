"""One subject of the phantom: anatomy, contrast, lesions and what the scanner adds."""

from dataclasses import dataclass

import numpy as np

from anomalib_patchgan.data.prepare.phantom_anatomy import Anatomy, Points, Waves, load_templates, slice_points
from anomalib_patchgan.data.prepare.phantom_lesions import KINDS, draw_lesions
from anomalib_patchgan.data.prepare.phantom_spec import PhantomSpec, number_of, split_of
from anomalib_patchgan.data.prepare.phantom_visibility import CrossSections, measure_lesion

LESIONS_PER_SUBJECT = (1, 3)
# Beyond the outermost slices, so that these cut as many lesions as the others.
LESION_RANGE_MM = (-21.0, 63.0)
# Signal of the tissues, weight of the template's texture, noise (a 26th to a 34th of grey matter), gain and coil
# sensitivity (both relative). Ranges as of one protocol on one scanner after intensity normalisation, where the same
# tissue of healthy brains differs by a few per cent; FLAIR scans of several sites (TCGA-LGG), divided by their median
# only, differ several times as much.
GREY = (0.60, 0.64)
WHITE = (0.475, 0.505)
FLUID = (0.12, 0.16)
TEXTURE = (0.4, 0.5)
NOISE = (0.018, 0.024)
GAIN = (0.97, 1.03)
BIAS = 0.04
# Grey matter lands near 110, so that the brightest lesions keep below 255.
_GREY_LEVELS = 175.0


@dataclass(frozen=True, kw_only=True)
class PhantomVolume:
    """All slices of one subject, from bottom to top; rows go to the back and columns to the left of the subject.

    Args:
        pixels: Slices, `(N, H, W)` uint8.
        lesions: All lesions, `(N, H, W)` bool.
        sections: What each lesion does to each slice.
    """

    pixels: np.ndarray
    lesions: np.ndarray
    sections: list[CrossSections]


@dataclass(frozen=True)
class Scan:
    """What the scanner adds to the signal.

    Args:
        bias: Logarithm of the coil sensitivity.
        sigma: Standard deviation of the noise in both channels, in the unit of the signal.
        gain: Factor of the whole scan.
    """

    bias: Waves
    sigma: float
    gain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Scan":
        """Draw a scan."""
        bias = Waves.draw(rng, BIAS, wavelengths_mm=(200, 400), terms=3)
        return cls(bias, rng.uniform(*NOISE), rng.uniform(*GAIN))

    def acquire(self, signal: np.ndarray, points: Points, rng: np.random.Generator) -> np.ndarray:
        """Add coil sensitivity, Rician noise and gain to slices `(N, H, W)`; return uint8."""
        real, imaginary = rng.normal(0, self.sigma, (2, *signal.shape))
        magnitude = np.hypot(signal * np.exp(self.bias(points)) + real, imaginary)
        return np.rint(magnitude * self.gain * _GREY_LEVELS).clip(0, 255).astype(np.uint8)


def make_volume(spec: PhantomSpec, name: str) -> PhantomVolume:
    """Make all slices of one subject.

    Args:
        spec: The phantom.
        name: The subject, one of `spec.cases`.

    Returns:
        The slices; they depend on the seed, the subject's number and the grid only.
    """
    # Streams of their own: the same subject without its lesions would have the same brain and the same noise.
    rng, lesion_rng, scan_rng = np.random.default_rng([spec.seed, number_of(name)]).spawn(3)
    points = slice_points(spec.slices_per_subject, spec.image_size)
    templates = load_templates()
    anatomy = Anatomy.draw(rng)
    place = anatomy.to_template(points)
    grey, white, texture = (templates.sample(v, place) for v in (templates.grey, templates.white, templates.texture))
    brain = templates.sample(templates.brain, place) > 0.5  # noqa: PLR2004

    fluid = np.clip(1 - grey - white, 0, 1)
    signal = rng.uniform(*GREY) * grey + rng.uniform(*WHITE) * white + rng.uniform(*FLUID) * fluid
    signal = (signal + rng.uniform(*TEXTURE) * texture).clip(0.02) * brain

    scan = Scan.draw(scan_rng)
    lesion_mask = np.zeros(signal.shape, dtype=bool)
    sections = []
    if split_of(name) != "train":
        for lesion in draw_lesions(lesion_rng, templates, anatomy, _plan_lesions(spec, number_of(name), lesion_rng)):
            depth = lesion.depth(points)
            mask = (depth > 0) & brain & (fluid < 0.5)  # noqa: PLR2004
            changed = lesion.apply(signal, mask, depth, spec.pixel_mm, lesion_rng)
            sections.append(measure_lesion(lesion.kind, mask, changed - signal, scan.sigma, spec.pixel_mm))
            signal = changed
            lesion_mask |= mask
    return PhantomVolume(pixels=scan.acquire(signal, points, scan_rng) * brain, lesions=lesion_mask, sections=sections)


def _plan_lesions(spec: PhantomSpec, number: int, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Draw kind and height in mm of a subject's lesions, spread evenly over the subjects.

    Drawn each for itself, a few dozen lesions would by chance lie more in the upper or the lower slices, and the
    position of a slice, with all that changes with it, would tell the classes apart.
    """
    first = KINDS[number % len(KINDS)]
    kinds = [first, *(str(kind) for kind in rng.permutation(KINDS) if kind != first)]
    low, high = LESION_RANGE_MM
    start = np.random.default_rng(spec.seed).uniform()
    most = LESIONS_PER_SUBJECT[1]
    # Multiples of the golden ratio fill [0, 1) evenly, however many there are.
    fractions = (start + (most * number + np.arange(most)) * (np.sqrt(5) - 1) / 2) % 1
    count = int(rng.integers(*LESIONS_PER_SUBJECT, endpoint=True))
    return [
        (kind, low + float(part) * (high - low)) for kind, part in zip(kinds[:count], fractions[:count], strict=True)
    ]
