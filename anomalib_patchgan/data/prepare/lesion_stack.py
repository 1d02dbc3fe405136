"""The slices of one scan with their lesion, and the samples that are made of them."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.nifti import Volume, parse_nifti
from anomalib_patchgan.data.prepare.samples import PreparedCase, PreparedSlice, slice_stem
from anomalib_patchgan.data.prepare.tiles import Tile, cut_tiles
from anomalib_patchgan.data.prepare.volume_recipe import ScanImages, VolumeRecipe
from anomalib_patchgan.files import ReadLimits, read_bytes

logger = logging.getLogger(__name__)

# Smaller cross-sections only graze the lesion: such a slice is neither normal nor a fair test.
MIN_LESION_MM2 = 20.0


@dataclass(frozen=True, kw_only=True)
class LesionStack:
    """Slices of one scan with their lesion.

    Args:
        images: The slices, and what their images show.
        lesion: `(Z, H, W)` bool.
    """

    images: ScanImages
    lesion: np.ndarray

    @classmethod
    def of(cls, recipe: VolumeRecipe, volumes: Mapping[Path, Volume], lesion: Volume) -> "LesionStack":
        """Open a scan.

        Args:
            recipe: How volumes become images.
            volumes: The modalities by file.
            lesion: Bool, on the same grid.

        Raises:
            DataError: A volume is empty or constant.
        """
        images = recipe.open(volumes)
        for remark in images.slices.remarks:
            logger.warning("%s", remark)
        if images.is_cut:
            path = next(iter(volumes))
            logger.warning("%s: the foreground is larger than what images show, give a larger field_mm", path)
        return cls(images=images, lesion=recipe.turn(lesion).voxels.T)

    def prepared(self, name: str, split: str, *, abnormal: bool = False) -> Iterable[PreparedSlice]:
        """Make whole slices, see `slices`; those that train have the statistics of the scan with them."""
        slices = self.slices(name, split, abnormal=abnormal)
        if split != "train" or not self.images.numbers:
            return slices
        return PreparedCase(slices=slices, profile=self.images.profile().as_dict())

    def slices(self, name: str, split: str, *, abnormal: bool = False) -> Iterator[PreparedSlice]:
        """Make whole slices: those without lesion, and with its mask those of validation and test.

        Args:
            name: Name of the case.
            split: Its split.
            abnormal: The scan is abnormal as a whole, and there is no mask.

        Yields:
            Slices in their order; those that only graze the lesion are left out.
        """
        lesion_mm2 = np.count_nonzero(self.lesion, axis=(1, 2)) * self.images.pixel_mm2
        for index in self.images.numbers:
            if 0 < lesion_mm2[index] < MIN_LESION_MM2:
                continue
            mask = self.images.field.mask(self.lesion[index]) if lesion_mm2[index] else None
            if mask is not None and (split == "train" or not mask.any()):
                continue
            yield PreparedSlice(
                split=split,
                stem=slice_stem(name, index),
                image=self.images.image(index),
                mask=mask,
                abnormal=abnormal,
                details={"slice": index, "lesion_mm2": round(float(lesion_mm2[index]), 1)},
            )

    def tiles(self, *, healthy_slices: bool = False) -> Iterator[tuple[int, Tile]]:
        """Cut the tiles of the slices that have lesion, as the paper's scripts do.

        Args:
            healthy_slices: Also of those that have none.

        Yields:
            Number of the slice and tile.
        """
        has_lesion = np.count_nonzero(self.lesion, axis=(1, 2)) > 0
        field = self.images.field
        for index in self.images.numbers:
            if has_lesion[index] or healthy_slices:
                background = ~field.mask(self.images.slices.brain[index])
                for tile in cut_tiles(self.images.image(index), field.mask(self.lesion[index]), background):
                    yield index, tile


def tile_samples(name: str, tiles: Iterable[tuple[str, int, Tile]]) -> Iterator[PreparedSlice]:
    """Return the chosen tiles of a case ready to be written.

    Args:
        name: Name of the case.
        tiles: Split, number of the slice, and tile.
    """
    return (tile.sample(split, slice_stem(name, index), {"slice": index}) for split, index, tile in tiles)


def read_volume(path: Path, limits: ReadLimits, *, strict: bool) -> Volume:
    """Read a volume, with a warning about voxels that are no numbers; see `parse_nifti`.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It cannot be used.
    """
    volume = parse_nifti(read_bytes(path, limits), path, limits, strict=strict)
    for remark in volume.remarks(str(path)):
        logger.warning("%s", remark)
    return volume
