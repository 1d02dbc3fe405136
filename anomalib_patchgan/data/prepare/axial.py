"""Axial slices of volumes, as 8-bit images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.background import Background
from anomalib_patchgan.data.prepare.field_of_view import extent
from anomalib_patchgan.data.prepare.intensity import GreyScale, Scaling
from anomalib_patchgan.data.prepare.nifti import Volume


@dataclass(frozen=True, kw_only=True)
class AxialImages:
    """Axial slices of one case, as radiologists see them: front up, the patient's right at the left.

    Args:
        channels: Voxels of each modality with their scaling, `(Z, H, W)` each, from bottom to top.
        brain: `(Z, H, W)` bool, voxels that are not background in some modality.
    """

    channels: list[tuple[np.ndarray, GreyScale]]
    brain: np.ndarray

    @classmethod
    def of(
        cls, volumes: Mapping[Path, Volume], backgrounds: Mapping[Path, Background], scaling: Scaling
    ) -> "AxialImages":
        """Scale the modalities of a case, which lie on one grid.

        Args:
            volumes: One or three modalities by their file, which messages name.
            backgrounds: What surrounds the brain in each, by the same files.
            scaling: See `GreyScale`.

        Raises:
            DataError: A volume is empty or constant.

        Example:
            >>> voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
            >>> path = Path("x.nii")
            >>> volumes, backgrounds = {path: Volume(voxels, np.eye(4), 0)}, {path: Background()}
            >>> AxialImages.of(volumes, backgrounds, "robust").image(3).shape
            (3, 2)
        """
        # Axes to the left, back and top: transposed, rows run from front to back and columns from right to left.
        channels = []
        brain = np.zeros(next(iter(volumes.values())).voxels.T.shape, dtype=bool)
        for path, volume in volumes.items():
            brain |= backgrounds[path].foreground(volume.voxels).T
            channels.append((volume.voxels.T, GreyScale(volume.voxels, scaling, path, backgrounds[path])))
        return cls(channels=channels, brain=brain)

    @property
    def remarks(self) -> list[str]:
        """What is unusual about the background, one line for each modality."""
        share = np.count_nonzero(self.brain) / self.brain.size
        return [
            f"{scale.path.name}: {scale.background.describe()}, and {share:.1%} of the voxels count as brain"
            for _, scale in self.channels
            if scale.background.kind != "zero"
        ]

    def image(self, index: int) -> np.ndarray:
        """Return one slice, `(H, W)`, or `(H, W, 3)` for three modalities, uint8."""
        # Slices that nobody asks for are never scaled.
        grey = [scale(voxels[index]) for voxels, scale in self.channels]
        if any(scale.background.kind == "noise" for _, scale in self.channels):
            grey = [one * self.brain[index] for one in grey]
        return grey[0] if len(grey) == 1 else np.stack(grey, axis=-1)

    def range_mm(self, slice_range: tuple[int, int], spacing_mm: float) -> tuple[float, float]:
        """Return where a range of slices begins and ends, in millimetres from where the brain begins.

        Args:
            slice_range: First and last slice; what is beyond the scan does not count.
            spacing_mm: Distance of the slices.

        Example:
            >>> brain = np.zeros((9, 4, 4), bool)
            >>> brain[2:7] = True
            >>> slices = AxialImages(channels=[], brain=brain)
            >>> slices.range_mm((3, 5), 2.0), slices.between((2.0, 8.0), 2.0)
            ((2.0, 8.0), [3, 4, 5])
        """
        start, _ = extent(self.brain, 0)
        first, end = (min(number, len(self.brain)) for number in (slice_range[0], slice_range[1] + 1))
        return (first - start) * spacing_mm, (end - start) * spacing_mm

    def between(self, range_mm: tuple[float, float], spacing_mm: float) -> list[int]:
        """Return the numbers of the slices whose middle lies in a range as `range_mm` returns it."""
        start, _ = extent(self.brain, 0)
        middles = (np.arange(len(self.brain)) + 0.5 - start) * spacing_mm
        return [int(number) for number in np.flatnonzero((middles >= range_mm[0]) & (middles <= range_mm[1]))]

    def has_brain(self, min_brain: float) -> np.ndarray:
        """Tell which slices have at least this share of the largest cross-section, `(Z,)` bool."""
        area = np.count_nonzero(self.brain, axis=(1, 2))
        return area >= min_brain * area.max()
