"""The phantom: synthetic FLAIR-like brain slices with exact lesion masks, made subject by subject.

It is for trying and testing the plugin; nothing learned from it says anything about patients.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.phantom_anatomy import (
    FIELD_OF_VIEW_MM,
    Anatomy,
    Waves,
    load_templates,
    slice_points,
)
from anomalib_patchgan.data.prepare.phantom_lesions import draw_lesions
from anomalib_patchgan.data.prepare.writing import PreparedSlice
from anomalib_patchgan.errors import ConfigurationError

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 2
SPLITS = ("train", "val", "test")
LESIONS_PER_SUBJECT = (2, 4)
_SUBJECTS_PER_SPLIT = 1000
_MIN_LESION_MM2 = 20.0
_MIN_SIZE = 32
# Grey matter lands near 120, so that the brightest lesions keep below 255.
_GREY_LEVELS = 190.0


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

    train_subjects: int = 24
    val_subjects: int = 6
    test_subjects: int = 12
    slices_per_subject: int = 20
    image_size: int = 128
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
    def parameters(self) -> dict[str, Any]:
        """What the manifest says about how the slices were made."""
        return {"recipe": RECIPE, **asdict(self)}


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
        Slices from bottom to top, `(image_size, image_size)`, background exactly 0. Slices that only graze a lesion
        (under 20 mm2) are neither normal nor a fair test, and are left out.
    """
    pixels, lesions = make_volume(spec, case)
    area = lesions.sum(axis=(1, 2)) * (FIELD_OF_VIEW_MM / spec.image_size) ** 2
    return [
        PreparedSlice(
            split=_split_of(case),
            stem=f"{case.name}_slice-{index + 1:03d}",
            image=pixels[index],
            mask=lesions[index] if area[index] else None,
            details={"slice": index + 1},
        )
        for index in range(spec.slices_per_subject)
        if area[index] == 0 or area[index] >= _MIN_LESION_MM2
    ]


def make_volume(spec: PhantomSpec, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Make all slices of one subject.

    Args:
        spec: The phantom.
        case: The subject; its name is one of `spec.cases`.

    Returns:
        Slices uint8 and lesions bool, both `(slices_per_subject, image_size, image_size)`, from bottom to top; rows go
        to the back and columns to the left of the subject.
    """
    # Streams of their own: the same subject without its lesions would have the same brain and the same noise.
    rng, lesion_rng, scan_rng = np.random.default_rng([spec.seed, _number_of(case)]).spawn(3)
    pixel_mm = FIELD_OF_VIEW_MM / spec.image_size
    points = slice_points(spec.slices_per_subject, spec.image_size)
    templates = load_templates()
    anatomy = Anatomy.draw(rng)
    place = anatomy.to_template(points)
    grey, white, texture = (templates.sample(v, place) for v in (templates.grey, templates.white, templates.texture))
    brain = templates.sample(templates.brain, place) > 0.5  # noqa: PLR2004

    fluid = np.clip(1 - grey - white, 0, 1)
    signal = rng.normal(0.62, 0.02) * grey + rng.normal(0.49, 0.02) * white + rng.uniform(0.10, 0.18) * fluid
    signal = (signal + rng.uniform(0.3, 0.6) * texture).clip(0.02) * brain

    lesion_mask = np.zeros(signal.shape, dtype=bool)
    if _split_of(case) != "train":
        count = int(lesion_rng.integers(*LESIONS_PER_SUBJECT, endpoint=True))
        for lesion in draw_lesions(lesion_rng, templates, anatomy, count):
            depth = lesion.depth(points)
            mask = (depth > 0) & brain & (fluid < 0.5)  # noqa: PLR2004
            signal = lesion.apply(signal, mask, depth, pixel_mm, lesion_rng)
            lesion_mask |= mask
    return _scan(signal, points, scan_rng) * brain, lesion_mask


def _number_of(case: Case) -> int:
    return int(case.name.removeprefix("sub-"))


def _split_of(case: Case) -> str:
    return SPLITS[_number_of(case) // _SUBJECTS_PER_SPLIT]


def _scan(
    signal: np.ndarray, points: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Add what the scanner adds: coil sensitivity, Rician noise, another gain per subject; return uint8."""
    bias = np.exp(Waves.draw(rng, 0.06, wavelengths_mm=(200, 400), terms=3)(points))
    sigma = rng.uniform(0.015, 0.03)
    real, imaginary = rng.normal(0, sigma, (2, *signal.shape))
    magnitude = np.hypot(signal * bias + real, imaginary)
    return np.rint(magnitude * rng.uniform(0.9, 1.1) * _GREY_LEVELS).clip(0, 255).astype(np.uint8)
