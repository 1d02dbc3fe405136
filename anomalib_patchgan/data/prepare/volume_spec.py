"""What all preparations of volumes are asked for."""

from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.data.prepare.splits import check_ratios
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.data.prepare.volume_recipe import MAX_FIELD_MM
from anomalib_patchgan.errors import ConfigurationError

MAX_IMAGE_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class VolumeSpec:
    """Arguments that the data sets of volumes share; their own specs explain them.

    Raises:
        ConfigurationError: An argument is out of its range.
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
        check_ratios(self.val_split_ratio, self.test_split_ratio)
        self._check("test_split_ratio", "above 0", self.test_split_ratio > 0)
        in_range = self.image_size is None or TILE <= self.image_size <= MAX_IMAGE_SIZE
        self._check("image_size", f"none or {TILE} to {MAX_IMAGE_SIZE}", in_range)
        self._check("field_mm", f"{TILE} to {MAX_FIELD_MM:g}", TILE <= self.field_mm <= MAX_FIELD_MM)
        self._check("min_brain", "in (0, 1]", 0 < self.min_brain <= 1)
        ends = tuple(self.slice_range or (0, 0))
        in_order = len(ends) == 2 and 0 <= ends[0] <= ends[1]  # noqa: PLR2004
        self._check("slice_range", "none or [first, last] with 0 <= first <= last", in_order)

    def _check(self, name: str, expected: str, valid: bool) -> None:
        if not valid:
            msg = f"{name} must be {expected}, got {getattr(self, name)!r}."
            raise ConfigurationError(msg)
