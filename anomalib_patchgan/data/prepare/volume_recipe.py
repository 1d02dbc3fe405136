"""How the volumes of a case become the images that a model was trained on, so that new volumes become the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from anomalib_patchgan.data.prepare.axial import AxialImages
from anomalib_patchgan.data.prepare.background import Background
from anomalib_patchgan.data.prepare.field_of_view import FieldOfView, extent
from anomalib_patchgan.data.prepare.intensity import Scaling
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.planes import Plane, turn_to_plane
from anomalib_patchgan.data.prepare.scan_profile import ScanProfile, TrainingScans, choose_slices
from anomalib_patchgan.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_SIDE = 4096
# A head is below, and so is what a scanner images.
MAX_FIELD_MM = 1000.0
# A modality without a name, of a model whose preparation is not known.
UNNAMED = "image"
# Entry of the manifest of a prepared folder.
TRAINING_SCANS = "training_scans"
_GENERATORS = ("brats-slices", "brats2019-slices", "volumes-slices")


@dataclass(frozen=True, kw_only=True)
class ScanImages:
    """What the model gets to see of one scan.

    Args:
        slices: All slices of the plane.
        field: What images show of them.
        numbers: Slices with enough brain, from the bottom.
        spacing_mm: Voxels along columns, rows and slices.
        range_mm: Where the recipe's range of slices begins and ends, from where the foreground begins; `None` without.

    Example:
        >>> volume = Volume(np.arange(1, 25, dtype=np.int16).reshape(2, 3, 4), np.eye(4), 0)
        >>> scan = VolumeRecipe(field_mm=4, image_size=4).open({Path("x.nii"): volume})
        >>> scan.numbers, scan.image(0).shape, scan.field.box
        ([0, 1, 2, 3], (4, 4), (0.0, -1.0, 4.0, 3.0))
    """

    slices: AxialImages
    field: FieldOfView
    numbers: list[int]
    spacing_mm: tuple[float, float, float]
    range_mm: tuple[float, float] | None = None

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel of the slices."""
        return self.spacing_mm[0] * self.spacing_mm[1]

    @property
    def largest_cm2(self) -> float:
        """Area of the foreground in the slice that has most of it."""
        return float(np.count_nonzero(self.slices.brain, axis=(1, 2)).max()) * self.pixel_mm2 / 100

    @property
    def is_cut(self) -> bool:
        """Whether images do not show all of the foreground."""
        ranges = (extent(self.slices.brain, axis) for axis in (2, 1))
        return any(end - start > side for (start, end), side in zip(ranges, self.field.box_sides, strict=True))

    def profile(self) -> ScanProfile:
        """Return the statistics of the scan; there must be a slice with enough brain."""
        images = [self.image(number) for number in choose_slices(self.numbers)]
        return ScanProfile.of(images, self.slices.brain, self.spacing_mm, self.range_mm)

    def image(self, number: int) -> np.ndarray:
        """Return the image of a slice, `(h, w)` or `(h, w, 3)` uint8."""
        return self.field.image(self.slices.image(number))


@dataclass(frozen=True, kw_only=True)
class VolumeRecipe:
    """What `BraTS` does with the volumes of a case in its protocol `slices`.

    Args:
        modalities: One, or three for red, green and blue.
        scaling: See `GreyScale`.
        field_mm: Side of the square that images show around the brain, in millimetres, whatever the scan's margins and
            voxel size. `None` stretches whole slices to the image, as versions before did: then the same scan looks
            otherwise when it is cropped, padded or of other voxels.
        image_size: Height and width of images in pixels; `None` makes pixels of 1 mm, or without `field_mm` keeps those
            of the scan.
        slice_range: First and last slice, counted from 0, axial ones from the bottom; `None` for all. Where `training`
            has its `range_mm`, the slices at these places of the foreground are taken instead.
        min_brain: Least area of brain in a slice, as a share of that in the largest cross-section, in [0, 1].
        plane: Of the slices, see `turn_to_plane`.
        skull_stripped: Whether the background is one value, such as 0. Otherwise the head is found, see
            `find_foreground`, and what is around it becomes 0.
        training: What the scans of the training were like; `None` if that is not known.

    Raises:
        DataError: A value is out of its range or of another type, since it may come from anybody's file.

    Example:
        >>> VolumeRecipe(modalities=("flair",), field_mm=240, image_size=192).pixel_mm
        1.25
    """

    modalities: tuple[str, ...] = (UNNAMED,)
    scaling: Scaling = "robust"
    field_mm: float | None = None
    image_size: int | None = None
    slice_range: tuple[int, int] | None = None
    min_brain: float = 0.25
    plane: Plane = "axial"
    skull_stripped: bool = True
    training: TrainingScans | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        valid = {
            "modalities": isinstance(self.modalities, tuple)
            and len(self.modalities) in {1, 3}
            and all(map(_is_word, self.modalities))
            and len(set(self.modalities)) == len(self.modalities),
            "scaling": self.scaling in get_args(Scaling),
            "field_mm": self.field_mm is None or (is_number(self.field_mm) and 1 <= self.field_mm <= MAX_FIELD_MM),
            "image_size": self.image_size is None or (is_count(self.image_size) and 1 <= self.image_size <= MAX_SIDE),
            "slice_range": self.slice_range is None or is_pair(self.slice_range),
            "min_brain": is_number(self.min_brain) and 0 <= self.min_brain <= 1,
            "plane": self.plane in get_args(Plane),
            "skull_stripped": isinstance(self.skull_stripped, bool),
            "training": self.training is None or isinstance(self.training, TrainingScans),
        }
        wrong = next((name for name, good in valid.items() if not good), None)
        if wrong is not None:
            msg = f"the recipe of the volumes is not valid, {wrong} is {getattr(self, wrong)!r}: train or export again."
            raise DataError(msg)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any] | None) -> "Self | None":
        """Read the recipe of a prepared folder.

        Args:
            manifest: Its manifest.

        Returns:
            The recipe, or `None` if the folder does not hold whole slices of volumes.
        """
        if manifest is None or manifest.get("generator") not in _GENERATORS:
            return None
        given = manifest.get("parameters")
        if not isinstance(given, dict):
            return None
        return cls.from_dict({**given, "scaling": "robust", "training": manifest.get(TRAINING_SCANS)})

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Self":
        """Read a recipe from a record, whose other entries do not count.

        Raises:
            DataError: A value is not valid.

        Example:
            >>> VolumeRecipe.from_dict(VolumeRecipe(modalities=("t2",)).as_dict()).modalities
            ('t2',)
        """
        known: dict[str, Any] = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
        if isinstance(known.get("training"), Mapping):
            known["training"] = TrainingScans.from_dict(known["training"])
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Return a record of plain values."""
        record = asdict(replace(self, training=None))
        record = {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}
        return record | {"training": None if self.training is None else self.training.as_dict()}

    @property
    def pixel_mm(self) -> float | None:
        """Side of an image's pixel in millimetres; `None` where it depends on the scan."""
        return None if self.field_mm is None else self.field_mm / self._side

    @property
    def _side(self) -> int:
        return self.image_size or max(round(self.field_mm or 0), 1)

    def open(self, volumes: Mapping[Path, Volume]) -> ScanImages:
        """Look at the volumes of one case; images are made when they are asked for.

        Args:
            volumes: The modalities in their order, by file, on one grid.

        Raises:
            DataError: A volume is empty, constant or without a number, or its pixels are far smaller or larger than the
                images'.
        """
        volumes = {path: self._without_air(volume, path) for path, volume in volumes.items()}
        # Before turning: it is found at the border of axial slices, whatever the plane.
        backgrounds = {path: Background.of(volume.voxels) for path, volume in volumes.items()}
        volumes = {path: self.turn(volume) for path, volume in volumes.items()}
        slices = AxialImages.of(volumes, backgrounds, self.scaling)
        path, first = next(iter(volumes.items()))
        if self.field_mm is None:
            height, width = slices.brain.shape[1:]
            field = FieldOfView.whole((height, width), self.image_size)
        else:
            width_mm, height_mm, _ = first.spacing_mm
            pixel_mm = height_mm, width_mm
            field = FieldOfView.around(slices.brain, pixel_mm, self.field_mm, self._side, str(path))
        enough = slices.has_brain(self.min_brain)
        range_mm = self._range_mm(slices, first.spacing_mm[2])
        chosen = range(len(enough)) if range_mm is None else slices.between(range_mm, first.spacing_mm[2])
        numbers = [number for number in chosen if enough[number]]
        return ScanImages(slices=slices, field=field, numbers=numbers, spacing_mm=first.spacing_mm, range_mm=range_mm)

    def _range_mm(self, slices: AxialImages, spacing_mm: float) -> tuple[float, float] | None:
        """Return where the range of slices begins and ends, in millimetres from where the foreground begins.

        Numbers of slices are those of the scans of the training. In another scan, which may be cropped, padded or of
        other slices, the same part of the anatomy is looked for.
        """
        if self.slice_range is None:
            return None
        if self.training is not None and self.training.range_mm is not None:
            first, last = self.training.range_mm
            return first, last
        return slices.range_mm(self.slice_range, spacing_mm)

    def turn(self, volume: Volume) -> Volume:
        """Turn a volume so that its third axis counts the slices."""
        return turn_to_plane(volume, self.plane)

    def foreground(self, volume: Volume, path: Path) -> np.ndarray:
        """Return what of a volume counts as brain, or head where images are not skull-stripped, `(X, Y, Z)` bool.

        Args:
            volume: The volume, not turned.
            path: Its file, for messages.

        Raises:
            DataError: It holds no number, or no head is found in it.
        """
        voxels = self._without_air(volume, path).voxels
        return Background.of(voxels).foreground(voxels)

    def _without_air(self, volume: Volume, path: Path) -> Volume:
        if volume.nonfinite == volume.voxels.size:
            msg = f"{path} holds no number, every voxel is NaN or infinite: replace the file or remove its case."
            raise DataError(msg)
        if self.skull_stripped:
            return volume
        # scikit-image takes a second to import, which few recipes need.
        from anomalib_patchgan.data.prepare.foreground import without_air

        return without_air(volume, path)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def is_number(value: object) -> bool:
    """Tell whether a setting is a number, which `True` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Tell whether a setting is a whole number from 0 on."""
    return type(value) is int and value >= 0


def is_pair(value: object) -> bool:
    """Tell whether a setting is a tuple of two whole numbers from 0 on."""
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_count, value))  # noqa: PLR2004
