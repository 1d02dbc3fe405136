"""How the volumes of a case become the images that a model was trained on, so that new volumes become the same."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from anomalib_patchgan.data.prepare.axial import AxialImages
from anomalib_patchgan.data.prepare.intensity import Scaling
from anomalib_patchgan.data.prepare.nifti import Volume
from anomalib_patchgan.data.prepare.resizing import resize_image
from anomalib_patchgan.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_SIDE = 4096
# A modality without a name, of a model whose preparation is not known.
UNNAMED = "image"
_GENERATORS = ("brats-slices", "brats2019-slices")


@dataclass(frozen=True, kw_only=True)
class VolumeRecipe:
    """What `BraTS` does with the volumes of a case in its protocol `slices`.

    Args:
        modalities: One, or three for red, green and blue.
        scaling: See `GreyScale`.
        image_size: Height and width in pixels that slices are resized to; `None` keeps them.
        slice_range: First and last axial slice, counted from the bottom from 0; `None` for all.
        min_brain: Least area of brain in a slice, as a share of that in the largest cross-section, in [0, 1].

    Raises:
        DataError: A value is out of its range or of another type, since it may come from anybody's file.

    Example:
        >>> recipe = VolumeRecipe(modalities=("flair",))
        >>> volume = Volume(np.arange(1, 25, dtype=np.int16).reshape(2, 3, 4), np.eye(4), 0)
        >>> [index for index, _ in recipe.images({Path("x.nii"): volume})]
        [0, 1, 2, 3]
    """

    modalities: tuple[str, ...] = (UNNAMED,)
    scaling: Scaling = "robust"
    image_size: int | None = None
    slice_range: tuple[int, int] | None = None
    min_brain: float = 0.25

    def __post_init__(self) -> None:
        """Check every value."""
        valid = {
            "modalities": isinstance(self.modalities, tuple)
            and len(self.modalities) in {1, 3}
            and all(map(_is_word, self.modalities))
            and len(set(self.modalities)) == len(self.modalities),
            "scaling": self.scaling in get_args(Scaling),
            "image_size": self.image_size is None or (_is_count(self.image_size) and 1 <= self.image_size <= MAX_SIDE),
            "slice_range": self.slice_range is None or _is_pair(self.slice_range),
            "min_brain": isinstance(self.min_brain, int | float) and 0 <= self.min_brain <= 1,
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
            The recipe, or `None` if the folder does not hold whole axial slices of volumes.
        """
        if manifest is None or manifest.get("generator") not in _GENERATORS:
            return None
        given = manifest.get("parameters")
        return cls.from_dict({**given, "scaling": "robust"}) if isinstance(given, dict) else None

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
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Return a record of plain values."""
        record = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    def images(self, volumes: Mapping[Path, Volume]) -> Iterator[tuple[int, np.ndarray]]:
        """Make the images of one case.

        Args:
            volumes: The modalities in their order, by file, on one grid.

        Yields:
            Number of the slice from the bottom, and its image, `(H, W)` or `(H, W, 3)` uint8.

        Raises:
            DataError: A volume is empty or constant.
        """
        stack = AxialImages.of(volumes, self.scaling)
        enough = stack.has_brain(self.min_brain)
        for index in stack.indices(self.slice_range):
            if enough[index]:
                yield index, resize_image(stack.image(index), self.image_size)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))  # noqa: PLR2004
