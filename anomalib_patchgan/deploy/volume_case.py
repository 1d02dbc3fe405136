"""A case of volumes: its files, and what is written beside its results."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.files import ReadLimits

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume_result import MapType, VolumeResult


@dataclass(frozen=True, kw_only=True)
class VolumeCase:
    """The files of one case.

    Args:
        name: Name of the case, which its results take.
        paths: File of each modality, in the order of the model.
    """

    name: str
    paths: Mapping[str, Path]

    def describe(self) -> str:
        """Say what the files are made of; empty where they are the input itself."""
        return ""

    def write_images(self, limits: ReadLimits) -> None:
        """Write the files unless they are there, as those of NIfTI input are.

        Args:
            limits: Bounds of what is read to make them.

        Raises:
            PatchGanError: They cannot be made or written.
        """

    def is_complete(self, record: Mapping[str, Any], folder: Path, *, has_mask: bool) -> bool:
        """Tell whether a record names the files that results of this case have, and they are there.

        Args:
            record: What `<case>.json` holds.
            folder: Folder of the results.
            has_mask: Whether the model makes masks.
        """
        # Not the names that the record gives, which anybody may have written.
        outputs = output_names(self.name, has_mask=has_mask)
        return record.get("outputs") == outputs and all((folder / name).is_file() for name in outputs.values())

    def save(self, result: "VolumeResult", folder: Path, map_type: "MapType" = "float32") -> Path:
        """Write a result, see `VolumeResult.save`."""
        return result.save(folder, map_type)


def output_names(case: str, *, has_mask: bool = True) -> dict[str, str]:
    """Return the names of the files of a case by kind.

    Example:
        >>> output_names("a")
        {'anomaly': 'a_anomaly.nii.gz', 'mask': 'a_mask.nii.gz'}
    """
    return {kind: f"{case}_{kind}.nii.gz" for kind in ("anomaly", *(("mask",) if has_mask else ()))}
