"""What is to be made of a cohort of volumes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from anomalib_patchgan.arguments import check_argument
from anomalib_patchgan.data.prepare.planes import Plane
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.data.prepare.volume_spec import VolumeSpec

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 1
VolumeProtocol = Literal["slices", "tiles"]


@dataclass(frozen=True, kw_only=True)
class VolumeFolderSpec(VolumeSpec):
    """Protocol and arguments; `VolumeFolder` explains each.

    Args:
        protocol: `slices` or `tiles`.
        image: Pattern of the images; `None` for BIDS.
        mask: Pattern of their masks; `None` for those of BIDS, or none.
        modalities: One, or three for red, green and blue.
        participants: Table of participants; `None` for that of BIDS, or none.
        plane: `axial`, `coronal` or `sagittal`.
        skull_stripped: Whether the background is one value, such as 0.
        field_mm: Side of the square around the foreground that images show, or that tiles are cut from, in mm.
        image_size: Height and width of this square in pixels; `None` for pixels of 1 mm.
        slice_range: First and last slice, counted from 0; `None` for all.
        min_brain: Least foreground of a slice, as a share of the volume's largest cross-section, in (0, 1].
        val_split_ratio: Share of validation patients, in (0, 1).
        test_split_ratio: Share of test patients, in (0, 1).
        split_file: Splits from a file instead.
        strict: NaN and infinite voxels are errors.
        seed: Seed of the split.

    Raises:
        ConfigurationError: An argument is out of its range.
    """

    protocol: VolumeProtocol = "slices"
    image: str | None = None
    mask: str | None = None
    participants: Path | None = None
    plane: Plane = "axial"
    skull_stripped: bool = True

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        check_argument(
            self, "protocol", f"one of {', '.join(get_args(VolumeProtocol))}", self.protocol in get_args(VolumeProtocol)
        )
        check_argument(self, "plane", f"one of {', '.join(get_args(Plane))}", self.plane in get_args(Plane))
        words = all(word.isidentifier() for word in self.modalities)
        distinct = len(set(self.modalities)) == len(self.modalities)
        expected = "one or three different words, such as flair"
        check_argument(self, "modalities", expected, words and distinct and len(self.modalities) in {1, 3})

    @property
    def recipe(self) -> VolumeRecipe:
        """How the volumes of a scan become images."""
        return VolumeRecipe(
            modalities=self.modalities,
            plane=self.plane,
            skull_stripped=self.skull_stripped,
            field_mm=self.field_mm,
            image_size=self.image_size,
            slice_range=self.slice_range,
            min_brain=self.min_brain,
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What, with the sources and the splits, determines the prepared folder."""
        # How files were found and split shows in the sources and the splits themselves.
        unused = {"image", "mask", "participants", "split_file", "val_split_ratio", "test_split_ratio", "seed"}
        return {"recipe": RECIPE} | {name: value for name, value in asdict(self).items() if name not in unused}
