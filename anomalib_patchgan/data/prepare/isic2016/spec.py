"""What is to be made of ISIC 2016."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from anomalib_patchgan.data.prepare.first_tiles import TileCounts
from anomalib_patchgan.data.prepare.splits import check_ratios
from anomalib_patchgan.data.prepare.tiles import TILE
from anomalib_patchgan.errors import ConfigurationError

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 2
MAX_IMAGE_SIZE = 2048

IsicProtocol = Literal["paper", "tiles", "images", "diagnosis"]
# Arguments that change nothing in a protocol, so that they make no other folder either.
_UNUSED = {
    "paper": {"val_split_ratio", "seed", "color_constancy"},
    "tiles": {"tiles"},
    "images": {"tiles"},
    "diagnosis": {"tiles"},
}


@dataclass(frozen=True, kw_only=True)
class IsicSpec:
    """Protocol and arguments; `ISIC2016` explains each.

    Args:
        protocol: `paper`, `tiles`, `images` or `diagnosis`.
        image_size: Height and width in pixels that images are resized to, before tiles are cut.
        color_constancy: Whether channels are scaled to the same 75th percentile in every image, see `balance_colors`;
            the published protocol never does.
        tiles: How many tiles go where, for `paper`.
        val_split_ratio: Share of the training part's images that validate, in (0, 1).
        split_file: Splits of all images from a file instead.
        seed: Seed of the split.

    Raises:
        ConfigurationError: An argument is out of its range.
    """

    protocol: IsicProtocol = "images"
    image_size: int = 256
    color_constancy: bool = True
    tiles: TileCounts = field(default_factory=lambda: TileCounts(test=3000, val=500))
    val_split_ratio: float = 0.15
    split_file: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_ratios(self.val_split_ratio, 0.0)
        if self.protocol not in _UNUSED:
            msg = f"protocol must be one of {', '.join(_UNUSED)}, got {self.protocol!r}."
            raise ConfigurationError(msg)
        if not TILE <= self.image_size <= MAX_IMAGE_SIZE:
            msg = f"image_size must be {TILE} to {MAX_IMAGE_SIZE}, got {self.image_size}."
            raise ConfigurationError(msg)

    @property
    def balances_colors(self) -> bool:
        """Whether images are made alike in colour: if asked for, in a protocol that does so."""
        return self.color_constancy and "color_constancy" not in _UNUSED[self.protocol]

    @property
    def parameters(self) -> dict[str, Any]:
        """What, with the sources, determines the prepared folder."""
        # The content of a split file counts, not its name.
        unused = _UNUSED[self.protocol] | {"split_file"}
        if self.split_file is not None:
            unused |= {"val_split_ratio", "seed"}
        return {"recipe": RECIPE} | {name: value for name, value in asdict(self).items() if name not in unused}
