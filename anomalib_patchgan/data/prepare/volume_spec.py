"""What all preparations of volumes are asked for."""

from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.arguments import check_argument
from anomalib_patchgan.data.prepare.splits import check_ratios
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.data.prepare.volume_recipe import MAX_FIELD_MM, is_count, is_number, is_pair

MAX_IMAGE_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class VolumeSpec:
    """Arguments that the data sets of volumes share; their own specs explain them.

    Raises:
        ConfigurationError: An argument is out of its range or of another type.
    """

    modalities: tuple[str, ...] = ("flair",)
    field_mm: float = 240.0
    image_size: int | None = None
    slice_range: tuple[int, int] | None = None
    min_brain: float = 0.25
    val_split_ratio: float = 0.15
    test_split_ratio: float = 0.2
    split_file: Path | None = None
    strict: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the arguments."""
        given: object = self.slice_range
        if isinstance(given, list):
            object.__setattr__(self, "slice_range", tuple(given))
        for name in ("val_split_ratio", "test_split_ratio"):
            check_argument(self, name, "a number", is_number(getattr(self, name)))
        check_ratios(self.val_split_ratio, self.test_split_ratio)
        check_argument(self, "test_split_ratio", "above 0", self.test_split_ratio > 0)
        in_range = self.image_size is None or (is_count(self.image_size) and TILE <= self.image_size <= MAX_IMAGE_SIZE)
        check_argument(self, "image_size", f"none or a whole number from {TILE} to {MAX_IMAGE_SIZE}", in_range)
        in_range = is_number(self.field_mm) and TILE <= self.field_mm <= MAX_FIELD_MM
        check_argument(self, "field_mm", f"a number from {TILE} to {MAX_FIELD_MM:g}", in_range)
        check_argument(self, "min_brain", "a number in (0, 1]", is_number(self.min_brain) and 0 < self.min_brain <= 1)
        in_order = self.slice_range is None or (
            is_pair(self.slice_range) and self.slice_range[0] <= self.slice_range[1]
        )
        expected = "none or two whole numbers [first, last] with 0 <= first <= last"
        check_argument(self, "slice_range", expected, in_order)
