"""What is to be made of BraTS."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from anomalib_patchgan.arguments import check_argument
from anomalib_patchgan.data.prepare.brats.names import GRADES, YEARS
from anomalib_patchgan.data.prepare.tiles import TileCounts
from anomalib_patchgan.data.prepare.volume_names import MODALITIES, NEW_WORDS
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.data.prepare.volume_spec import VolumeSpec

# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 2

BratsProtocol = Literal["paper", "tiles", "slices"]
# Arguments that change nothing in a protocol, so that they make no other folder either.
_UNUSED = {
    "paper": {"val_split_ratio", "test_split_ratio", "seed", "min_brain", "field_mm"},
    "tiles": {"tiles", "min_brain", "field_mm"},
    "slices": {"tiles"},
}


@dataclass(frozen=True, kw_only=True)
class BratsSpec(VolumeSpec):
    """Protocol and arguments; `BraTS` explains each.

    Args:
        name: `brats`, or `brats2019` for that year alone; begins the names of prepared folders.
        years: Years to read; `None` for those that are there.
        protocol: `paper`, `tiles` or `slices`.
        modalities: One of flair, t1, t1ce, t2, or three for red, green and blue.
        grades: HGG, LGG or both; `None` is HGG for `paper`, as in the scripts, and what is there otherwise.
        field_mm: Side of the square around the brain that images show, in millimetres, for `slices`.
        image_size: Height and width of these images in pixels, `None` for pixels of 1 mm; for tiles, size that whole
            slices are resized to before they are cut, `None` keeps them.
        slice_range: First and last axial slice, counted from the bottom from 0; `None` for all.
        min_brain: Least area of brain in a slice, as a share of that in the volume's largest cross-section, in (0, 1].
        tiles: How many tiles go where, for `paper`.
        val_split_ratio: Share of validation patients, in (0, 1).
        test_split_ratio: Share of test patients, in (0, 1).
        split_file: Splits from a file instead.
        strict: NaN and infinite voxels are errors.
        seed: Seed of the split.

    Raises:
        ConfigurationError: An argument is out of its range.
    """

    name: Literal["brats", "brats2019"] = "brats"
    years: tuple[int, ...] | None = None
    protocol: BratsProtocol = "slices"
    grades: tuple[str, ...] | None = None
    tiles: TileCounts = field(default_factory=lambda: TileCounts(test=2200, val=500))

    def __post_init__(self) -> None:
        """Check the arguments."""
        once = self.years is None or 0 < len(set(self.years) & set(YEARS)) == len(self.years)
        check_argument(self, "years", f"of {', '.join(map(str, YEARS))} (2022 had the cases of 2021)", once)
        super().__post_init__()
        check_argument(self, "protocol", f"one of {', '.join(get_args(BratsProtocol))}", self.protocol in _UNUSED)
        distinct = len(set(self.modalities) & set(MODALITIES)) == len(self.modalities)
        words = f"{', '.join(MODALITIES)} (or {', '.join(NEW_WORDS)})"
        check_argument(self, "modalities", f"one or three of {words}", distinct and len(self.modalities) in {1, 3})
        grades = self.grades if self.grades is not None else GRADES
        once = len(set(grades) & set(GRADES)) == len(grades)
        check_argument(self, "grades", f"{' or '.join(GRADES)} or both", once)

    @property
    def published(self) -> str:
        """Where the data are published."""
        if self.name == "brats2019":
            return "https://www.med.upenn.edu/cbica/brats2019/data.html (registration needed)"
        return (
            "https://www.med.upenn.edu/cbica/brats2020/data.html (to 2020) and "
            "https://www.synapse.org/Synapse:syn51156910 (since; registration needed)"
        )

    @property
    def wanted_grades(self) -> tuple[str, ...] | None:
        """Grades to look for; `None` for those that are there."""
        return self.grades or (("HGG",) if self.protocol == "paper" else None)

    @property
    def recipe(self) -> VolumeRecipe:
        """How the volumes of a case become images."""
        whole = self.protocol == "slices"
        return VolumeRecipe(
            modalities=self.modalities,
            scaling="minmax" if self.protocol == "paper" else "robust",
            # The published tiles are cut on the scan's own grid.
            field_mm=self.field_mm if whole else None,
            image_size=self.image_size,
            slice_range=self.slice_range,
            min_brain=self.min_brain if whole else 0.0,
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What, with the sources, determines the prepared folder."""
        # The content of a split file counts, not its name.
        unused = (
            _UNUSED[self.protocol]
            # Years choose among the sources, which count themselves.
            | {"split_file", "name", "years"}
            | ({"val_split_ratio", "test_split_ratio", "seed"} if self.split_file else set())
        )
        return {"recipe": RECIPE} | {name: value for name, value in asdict(self).items() if name not in unused}
