"""A case of a DICOM study: the series that a model gets, and the files of its result."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.deploy.dicom.segmentation import lacks_reference, make_segmentation
from anomalib_patchgan.deploy.dicom.series import Series
from anomalib_patchgan.deploy.dicom.stack import Stack, read_voxels, to_nifti
from anomalib_patchgan.deploy.volume_files import VolumeCase
from anomalib_patchgan.deploy.volume_result import compress
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.files import ReadLimits, read_bytes, write_atomically
from anomalib_patchgan.gzip_stream import GZIP_MAGIC, ByteStream
from anomalib_patchgan.outputs import writing

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume_result import MapType, VolumeResult


logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DicomCase(VolumeCase):
    """The series of one study that a model gets.

    Args:
        name: Name of the case; of hashes of UIDs, or of the patient where that is wanted.
        paths: NIfTI file of each modality, which is made of its series beside the results.
        series: Series of each modality, in the order of the model; empty if `problem` says why.
        stacks: Its images as slices.
        identity: What the record says of the patient.
        problem: Why the study cannot be used; `None` for nothing.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    problem: PatchGanError | None = None

    @property
    def segmentation(self) -> str:
        """Name of the DICOM Segmentation of the mask."""
        return f"{self.name}_seg.dcm"

    def describe(self) -> str:
        """Say which series were taken."""
        return ", ".join(f"{modality} is series {series.describe()}" for modality, series in self.series.items())

    def write_images(self, limits: ReadLimits) -> None:
        """Read the series and write the NIfTI files, unless they are there.

        Args:
            limits: Bounds of what is read from a file.

        Raises:
            PatchGanError: The study cannot be used.
            DataError: A file cannot be used or written.
        """
        if self.problem is not None:
            raise self.problem
        for modality, path in self.paths.items():
            series, stack = self.series[modality], self.stacks[modality]
            content = to_nifti(read_voxels(series, stack, limits), stack, f"{modality}, {self.name}")
            # Not as compressed, which another zlib does otherwise: results of the file would be done again.
            if _holds(path, content, limits):
                continue
            with writing(path):
                write_atomically(path, compress(content))

    def record(self, *, has_mask: bool) -> dict[str, Any]:
        """Return what the record says about the series.

        Args:
            has_mask: Whether the model makes masks.
        """
        first = next(iter(self.series.values()))
        return {
            "study_instance_uid": first.study_uid,
            "series": {
                modality: {
                    "series_instance_uid": series.uid,
                    "number": series.number,
                    "description": series.description,
                    "modality": series.modality,
                    "images": series.images,
                }
                for modality, series in self.series.items()
            },
            "segmentation": self.segmentation if has_mask and not lacks_reference(first) else None,
            "page": f"{self.name}.html",
            **self.identity,
        }

    def is_complete(self, record: Mapping[str, Any], folder: Path, *, has_mask: bool) -> bool:
        """Tell whether a record is of these series and names the files that results of this case have, all there."""
        expected = self.record(has_mask=has_mask)
        wanted = filter(None, (expected["page"], expected["segmentation"]))
        return (
            super().is_complete(record, folder, has_mask=has_mask)
            and record.get("dicom") == expected
            and all((folder / name).is_file() for name in wanted)
        )

    def save(self, result: "VolumeResult", folder: Path, map_type: "MapType" = "float32") -> Path:
        """Write what `VolumeResult.save` writes, the DICOM Segmentation, and the page.

        Args:
            result: What the model says about this case.
            folder: Where to.
            map_type: See `VolumeResult.save`.

        Returns:
            The JSON file.

        Raises:
            DataError: A file cannot be made or written.
        """
        # In here, since the page needs what the light commands do without.
        from anomalib_patchgan.deploy.viewer import write_page

        mask = result.mask
        entry = self.record(has_mask=mask is not None)
        first, *others = self.series
        # Those of a former result go before its record is replaced: the page is made of the record.
        further: dict[str, bytes | None] = {entry["page"]: None, self.segmentation: None}
        if mask is not None and entry["segmentation"]:
            series = [self.series[name] for name in others]
            further[self.segmentation] = make_segmentation(
                self.series[first], self.stacks[first], mask, result.model, series
            )
        elif mask is not None:
            logger.warning("%s: no DICOM segmentation, %s", self.name, lacks_reference(self.series[first]))
        path = replace(result, dicom=entry).save(folder, map_type, further)
        write_page(path)
        return path


def _holds(path: Path, content: bytes, limits: ReadLimits) -> bool:
    """Tell whether a file is there that holds this, compressed."""
    try:
        stored = read_bytes(path, limits)
        return stored.startswith(GZIP_MAGIC) and ByteStream(stored, path).read(len(content) + 1) == content
    except PatchGanError:
        return False
