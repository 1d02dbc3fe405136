"""One case of BraTS: its volumes read, scaled to 8 bits, and cut into axial slices or tiles."""

from collections.abc import Iterable
from pathlib import Path

from anomalib_patchgan.data.prepare.brats.files import source_of
from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.lesion_stack import LesionStack, read_volume, tile_samples
from anomalib_patchgan.data.prepare.nifti import Volume, check_labels, check_same_grid
from anomalib_patchgan.data.prepare.tiles import choose_tiles
from anomalib_patchgan.data.prepare.writing import PreparedSlice
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits

LABELS_TO_2021 = frozenset({0, 1, 2, 4})
# Enhancing tumour is 4 to 2021 and 3 since; after treatment, 4 is the cavity of a resection.
LABELS = frozenset(range(5))
_CHANGED = 2023


def make_samples(spec: BratsSpec, limits: ReadLimits, case: Case) -> Iterable[PreparedSlice]:
    """Make the samples of one case.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The case, with the split in its `plan`, or for the paper's protocol the tiles before it.

    Returns:
        Slices or tiles from bottom to top.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be used.
    """
    stack = read_stack(spec, limits, case)
    if spec.protocol == "slices":
        return stack.prepared(case.name, case.plan["split"])
    return tile_samples(case.name, choose_tiles(stack.tiles(), spec.tiles, case.plan))


def count_tiles(spec: BratsSpec, limits: ReadLimits, case: Case) -> tuple[int, int]:
    """Count the normal and the novel tiles of a case for the paper's protocol."""
    strata = [tile.stratum for _, tile in read_stack(spec, limits, case).tiles()]
    return strata.count(""), strata.count("large")


def read_stack(spec: BratsSpec, limits: ReadLimits, case: Case) -> LesionStack:
    """Read and check the volumes of a case; see `make_samples`."""
    seg_path = source_of(case, "seg")
    segmentation = read_volume(seg_path, limits, strict=spec.strict)
    _check_labels(spec, case, segmentation, seg_path)
    volumes = {}
    for modality in spec.modalities:
        path = source_of(case, modality)
        volumes[path] = read_volume(path, limits, strict=spec.strict)
        check_same_grid(volumes[path], segmentation, path, seg_path)
    lesion = Volume(segmentation.voxels != 0, segmentation.affine, 0)
    return LesionStack.of(spec.recipe, volumes, lesion)


def _check_labels(spec: BratsSpec, case: Case, segmentation: Volume, path: Path) -> None:
    check_labels(segmentation, path, LABELS_TO_2021 if spec.name == "brats2019" else LABELS)
    name = parse_case(case.name)
    if name and name.year < _CHANGED and all((segmentation.voxels == label).any() for label in (3, 4)):
        msg = f"{path} holds both labels 3 and 4, each of which is enhancing tumour: use the original segmentation."
        raise DataError(msg)
