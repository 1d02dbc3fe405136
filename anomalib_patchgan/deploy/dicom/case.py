"""A case of a DICOM study: the series that a model gets, and the files of its result."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.data.prepare.reading import ReadLimits
from anomalib_patchgan.data.prepare.writing import write_atomically
from anomalib_patchgan.deploy.dicom.geometry import Stack
from anomalib_patchgan.deploy.dicom.segmentation import lacks_reference, make_segmentation
from anomalib_patchgan.deploy.dicom.series import Series, short_hash, study_name, text_of
from anomalib_patchgan.deploy.dicom.voxels import read_voxels, to_nifti
from anomalib_patchgan.deploy.volume_files import VolumeCase
from anomalib_patchgan.errors import DataError, PatchGanError

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.volume_result import MapType, VolumeResult

_MAX_NAME_BYTES = 80

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

    series: Mapping[str, Series]
    stacks: Mapping[str, Stack]
    identity: Mapping[str, str]
    problem: PatchGanError | None = None

    @property
    def page(self) -> Path:
        """The HTML page of the result."""
        return self._beside(f"{self.name}.html")

    @property
    def segmentation(self) -> Path:
        """The DICOM Segmentation of the mask."""
        return self._beside(f"{self.name}_seg.dcm")

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
            try:
                if not path.is_file() or path.read_bytes() != content:
                    write_atomically(path, content)
            except OSError as error:
                raise DataError(self._unwritten(path, error)) from error

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
            "segmentation": self.segmentation.name if has_mask and not lacks_reference(first) else None,
            "page": self.page.name,
            **self.identity,
        }

    def is_complete(self, record: Mapping[str, Any], *, has_mask: bool) -> bool:
        """Tell whether a record is of these series and the files are there that only a DICOM case has."""
        expected = self.record(has_mask=has_mask)
        wanted = [self.page, *([self.segmentation] if expected["segmentation"] else [])]
        return record.get("dicom") == expected and all(path.is_file() for path in wanted)

    def save(self, result: "VolumeResult", map_type: "MapType" = "float32") -> Path:
        """Write the DICOM Segmentation, what `VolumeResult.save` writes, and the page.

        Args:
            result: What the model says about this case.
            map_type: See `VolumeResult.save`.

        Returns:
            The JSON file.

        Raises:
            DataError: A file cannot be made or written; no record is left then.
        """
        # In here, since the page needs what the light commands do without.
        from anomalib_patchgan.deploy.viewer import write_page

        mask = result.mask
        entry = self.record(has_mask=mask is not None)
        first, *others = self.series
        try:
            # While the files are replaced, no record says that they belong together.
            for path in (self._beside(f"{self.name}.json"), self.page, self.segmentation):
                path.unlink(missing_ok=True)
            if mask is not None and entry["segmentation"]:
                further = [self.series[name] for name in others]
                content = make_segmentation(self.series[first], self.stacks[first], mask, result.model, further)
                write_atomically(self.segmentation, content)
            elif mask is not None:
                logger.warning("%s: no DICOM segmentation, %s", self.name, lacks_reference(self.series[first]))
        except OSError as error:
            raise DataError(self._unwritten(self.segmentation, error)) from error
        path = replace(result, dicom=entry).save(self.page.parent, map_type)
        write_page(path)
        return path

    def _beside(self, name: str) -> Path:
        return next(iter(self.paths.values())).with_name(name)

    def _unwritten(self, path: Path, error: OSError) -> str:
        return f"{path} cannot be written ({error.strerror}): check space and permissions."


def make_case(
    series: Mapping[str, Series], stacks: Mapping[str, Stack], output: Path, *, keep_identity: bool = False
) -> DicomCase:
    """Make the case of some series of one study.

    Args:
        series: Series of each modality, in the order of the model.
        stacks: Its images as slices.
        output: Folder of the results.
        keep_identity: Name the case by PatientID, PatientName and StudyDate, and write them to the record.
    """
    first = next(iter(series.values()))
    name = f"{study_name(first)}_series-{short_hash(' '.join(one.uid for one in series.values()))}"
    identity: dict[str, str] = {}
    if keep_identity:
        keywords = {"patient_id": "PatientID", "patient_name": "PatientName", "study_date": "StudyDate"}
        identity = {key: text_of(first.files[0], keyword) for key, keyword in keywords.items()}
        name = "_".join(filter(None, [*(_plain(text) for text in identity.values()), name]))
    paths = {modality: output / f"{name}_{modality}.nii.gz" for modality in series}
    return DicomCase(name=name, paths=paths, series=series, stacks=stacks, identity=identity)


def failed_case(study: Series, problem: PatchGanError, output: Path) -> DicomCase:
    """Make the case of a study that cannot be used, which is reported after the others are done.

    Args:
        study: Any series of it.
        problem: Why.
        output: Folder of the results.
    """
    name = study_name(study)
    return DicomCase(
        name=name, paths={"": output / f"{name}.nii.gz"}, series={}, stacks={}, identity={}, problem=problem
    )


def _plain(text: str) -> str:
    """Return a text as part of a file name: letters and digits of any alphabet, and single signs between them."""
    words = re.sub(r"\W+", "-", text).strip("-_")
    return words.encode()[: _MAX_NAME_BYTES // 3].decode(errors="ignore")
