"""The subjects of a phantom: how many of which size are asked for, and how the slices of each are made.

Synthetic FLAIR-like brain slices with exact lesion masks, for trying and testing the plugin; nothing learned from them
says anything about patients.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.phantom.anatomy import (
    FIELD_OF_VIEW_MM,
    Anatomy,
    Points,
    Waves,
    load_templates,
    slice_points,
)
from anomalib_patchgan.data.prepare.phantom.lesions import KINDS, CrossSections, draw_lesions, measure_lesion
from anomalib_patchgan.data.prepare.samples import PreparedSlice, slice_stem
from anomalib_patchgan.data.prepare.splits import SPLITS
from anomalib_patchgan.errors import ConfigurationError

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 3
_SUBJECTS_PER_SPLIT = 1000
_MIN_SIZE = 32
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
class PhantomSpec:
    """What determines every pixel of a phantom.

    Args:
        train_subjects: Subjects without lesions, 1 to 999.
        val_subjects: Validation subjects with lesions, 1 to 999.
        test_subjects: Test subjects with lesions, 1 to 999.
        slices_per_subject: Axial slices per subject, at least 1.
        image_size: Height and width in pixels of a field of view of 208 mm; at least 32.
        seed: Seed, at least 0.

    Raises:
        ConfigurationError: A number is out of its range.

    Example:
        >>> PhantomSpec(train_subjects=2, val_subjects=1, test_subjects=1).cases
        ['sub-0001', 'sub-0002', 'sub-1001', 'sub-2001']
    """

    train_subjects: int = 60
    val_subjects: int = 8
    test_subjects: int = 16
    slices_per_subject: int = 20
    image_size: int = 192
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        limits = {f"{split}_subjects": (1, _SUBJECTS_PER_SPLIT - 1) for split in SPLITS}
        limits |= {"slices_per_subject": (1, 999), "image_size": (_MIN_SIZE, 1024), "seed": (0, 2**63)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                msg = f"{name} must lie between {low} and {high}, got {getattr(self, name)}."
                raise ConfigurationError(msg)

    @property
    def cases(self) -> list[str]:
        """Subject names: from 0001 for training, 1001 for validation and 2001 for testing.

        Each split counts for itself, so that a subject more in one leaves the others' names and pixels unchanged.
        """
        return [
            f"sub-{block * _SUBJECTS_PER_SPLIT + number + 1:04d}"
            for block, split in enumerate(SPLITS)
            for number in range(getattr(self, f"{split}_subjects"))
        ]

    @property
    def pixel_mm(self) -> float:
        """Pixel size in mm."""
        return FIELD_OF_VIEW_MM / self.image_size

    @property
    def parameters(self) -> dict[str, Any]:
        """What the manifest says about how the slices were made."""
        return {"recipe": RECIPE, **asdict(self)}


def number_of(name: str) -> int:
    """Return the number of a subject.

    Example:
        >>> number_of("sub-1001")
        1001
    """
    return int(name.removeprefix("sub-"))


def split_of(name: str) -> str:
    """Return the split of a subject.

    Example:
        >>> split_of("sub-1001")
        'val'
    """
    return SPLITS[number_of(name) // _SUBJECTS_PER_SPLIT]


def plan_phantom(spec: PhantomSpec) -> Preparation:
    """Say what is to be prepared, for `prepare_folder`."""
    return Preparation(
        generator="phantom",
        parameters=spec.parameters,
        cases=[Case(name=name) for name in spec.cases],
        make_case=partial(make_subject, spec),
    )


def make_subject(spec: PhantomSpec, case: Case) -> list[PreparedSlice]:
    """Make the slices of one subject, which depend on the seed and the subject's name only.

    Args:
        spec: The phantom.
        case: The subject; its name is one of `spec.cases`.

    Returns:
        Slices from bottom to top, `(image_size, image_size)`, background exactly 0. A slice is abnormal with a lesion
        that a reader would see (see `phantom.lesions`), normal without any lesion, and otherwise neither: it is left
        out. The mask of an abnormal slice holds all its lesions, fainter ones too, which are lesion as well. Details:
        `lesion_mm2`, area of the mask; `lesion_cnr`, the highest contrast-to-noise ratio of a visible lesion;
        `stratum`, the kind of the largest visible one.
    """
    volume = make_volume(spec, case.name)
    slices = []
    for index, (image, mask) in enumerate(zip(volume.pixels, volume.lesions, strict=True)):
        seen = [lesion for lesion in volume.sections if lesion.visible[index]]
        if mask.any() and not seen:
            continue
        largest = max(seen, key=lambda lesion: lesion.area_mm2[index], default=None)
        details: dict[str, str | int | float] = {
            "slice": index + 1,
            "lesion_mm2": round(float(np.count_nonzero(mask)) * spec.pixel_mm**2, 1),
            "lesion_cnr": round(max((float(lesion.cnr[index]) for lesion in seen), default=0.0), 1),
            "stratum": largest.kind if largest else "",
        }
        slices.append(
            PreparedSlice(
                split=split_of(case.name),
                stem=slice_stem(case.name, index + 1),
                image=image,
                mask=mask if seen else None,
                details=details,
            )
        )
    return slices


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
