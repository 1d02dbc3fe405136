"""The cases that `volumes.py` measures, from folders or from an archive with a split file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalib_patchgan.data.prepare.background import Background
from anomalib_patchgan.data.prepare.brats.find import find_brats_cases
from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.brats.patients import identify
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.intensity import GreyScale
from anomalib_patchgan.data.prepare.lesion_masks import read_lesion
from anomalib_patchgan.data.prepare.nifti import Volume, parse_nifti
from anomalib_patchgan.data.prepare.splits import splits_from_file
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.deploy.case_accuracy import label_volume
from anomalib_patchgan.errors import DatasetNotFoundError
from anomalib_patchgan.files import read_bytes
from anomalib_patchgan.measure.volumes import LabelledVolume

# In the plane: about as wide as PatchGan's default smooths its map, 2 map pixels of 2.5 mm at 192 pixels.
SMOOTHING_MM = 5.0


@dataclass(frozen=True, kw_only=True)
class ScanCase:
    """A case to measure.

    Args:
        name: Its name.
        patient: Its patient.
        files: File of each modality.
        segmentation: File of the labels; `None` for a healthy patient.
    """

    name: str
    patient: str
    files: Mapping[str, Path]
    segmentation: Path | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What is known of a case, `(X, Y, Z)` each, with axes to the left, back and top.

    Args:
        volume: Brain and lesion.
        rules: Map of each rule, on a scale that is the same for all scans.
    """

    volume: LabelledVolume
    rules: Mapping[str, NDArray[np.float32]]


def split_cases(roots: Sequence[Path], split_file: Path, modalities: Sequence[str]) -> list[ScanCase]:
    """Find the test cases of a split file in archives of any year of BraTS.

    Raises:
        PatchGanError: They are not there, or a file is missing or not valid.
    """
    found, mapping = find_brats_cases(roots, BratsSpec(modalities=tuple(modalities)))
    who = identify(found, mapping)
    splits = splits_from_file(split_file, who.patients, who.aliases)
    cases = [one.case for one in who.cases if splits.get(one.case.name) == "test"]
    return [_scan_case(case, who.patients[case.name], modalities) for case in cases]


def folder_case(folder: Path, modalities: Sequence[str], *, healthy: bool = False) -> ScanCase:
    """Find the files of a case in its folder: a BraTS case of any year, or `<case>_<modality>.nii.gz`.

    Raises:
        PatchGanError: A file is missing.
    """
    folder = folder.absolute()
    if parse_case(folder.name) is not None and not healthy:
        found, _ = find_brats_cases([folder.parent], BratsSpec(modalities=tuple(modalities)))
        one = next((one for one in found if one.name.name == folder.name), None)
        if one is None:
            msg = f"{folder} does not exist: give folders of cases"
            raise DatasetNotFoundError(msg)
        return _scan_case(one.case, one.name.patient, modalities)
    files = {kind: folder / f"{folder.name}_{kind}.nii.gz" for kind in (*modalities, *(() if healthy else ("seg",)))}
    for path in files.values():
        if not path.is_file():
            msg = f"{path} does not exist: give folders of cases with a segmentation, or healthy ones as --healthy"
            raise DatasetNotFoundError(msg)
    segmentation = files.pop("seg", None)
    return ScanCase(name=folder.name, patient=folder.name, files=files, segmentation=segmentation)


def read_content(case: ScanCase, recipe: VolumeRecipe) -> Content:
    """Read a case and what the rules say of it: how bright it is, alone and smoothed within the brain.

    Args:
        case: The case.
        recipe: How the models see volumes.

    Raises:
        DataError: A file cannot be used, or the labels lie on another grid.
    """
    path = next(iter(case.files.values()))
    scan = parse_nifti(read_bytes(path), path)
    lesion = np.zeros(scan.voxels.shape, bool)
    if case.segmentation is not None:
        lesion = read_lesion(case.segmentation, scan, path)
    volume = label_volume(scan, path, lesion, recipe)
    scale = GreyScale(scan.voxels, "robust", path, Background.of(scan.voxels))
    brightness = ((scan.voxels - scale.low) / (scale.high - scale.low)).astype(np.float32) * volume.brain
    rules = {"brightness": brightness, "smoothed_brightness": _smooth(brightness, volume.brain, scan)}
    return Content(volume=volume, rules=rules)


def _scan_case(case: Case, patient: str, modalities: Sequence[str]) -> ScanCase:
    if case.problem is not None:
        raise case.problem
    *files, segmentation = case.sources.values()
    by_modality = dict(zip(modalities, files, strict=True))
    return ScanCase(name=case.name, patient=patient, files=by_modality, segmentation=segmentation)


def _smooth(brightness: NDArray[np.float32], brain: NDArray[np.bool_], scan: Volume) -> NDArray[np.float32]:
    sigma = (SMOOTHING_MM / scan.spacing_mm[0], SMOOTHING_MM / scan.spacing_mm[1], 0)
    # By what share of the neighbourhood is brain, or the rim would be dark.
    share = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
    return np.where(brain, ndimage.gaussian_filter(brightness, sigma) / np.maximum(share, 1e-6), 0).astype(np.float32)
