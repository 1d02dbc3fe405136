"""What is asked of a phantom: how many subjects and slices, of which size and seed."""

from dataclasses import asdict, dataclass
from typing import Any

from anomalib_patchgan.data.prepare.phantom_anatomy import FIELD_OF_VIEW_MM
from anomalib_patchgan.data.prepare.splits import SPLITS
from anomalib_patchgan.errors import ConfigurationError

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 3
_SUBJECTS_PER_SPLIT = 1000
_MIN_SIZE = 32


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
