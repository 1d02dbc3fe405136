"""How the cases of BraTS are split, and how each is read, scaled to 8 bits and cut into axial slices or tiles."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.brats.find import find_brats_cases
from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.brats.patients import Identities, identify
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.lesion_stack import LesionStack, read_volume, tile_samples
from anomalib_patchgan.data.prepare.nifti import check_labels, check_same_grid
from anomalib_patchgan.data.prepare.samples import PreparedSlice
from anomalib_patchgan.data.prepare.splits import assign_splits, splits_from_file
from anomalib_patchgan.data.prepare.tiles import LEAK, FirstTiles, choose_tiles
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits

LABELS_TO_2021 = frozenset({0, 1, 2, 4})
# Enhancing tumour is 4 to 2021 and 3 since; after treatment, 4 is the cavity of a resection.
LABELS = frozenset(range(5))
_CHANGED = 2023

logger = logging.getLogger(__name__)


def plan_brats(roots: Sequence[Path], spec: BratsSpec, limits: ReadLimits) -> Preparation:
    """Find the cases of one or more archives and say how they are to be prepared.

    Args:
        roots: Archives, or folders that hold archives among others.
        spec: What to make of them.
        limits: Bounds of what is read.

    Returns:
        The preparation, for `prepare_folder`. Its remarks have the `patients` of the cases, and `duplicates`: cases
        left out with the one that is the same scan.

    Raises:
        DatasetNotFoundError: An archive, a year, the folder of a grade, or the split file is not there.
        DataError: A case is there twice, or a table of names or the split file is not valid.
        ConfigurationError: There are too few patients to split, or a grade that is asked for is not known.
    """
    identities = identify(*find_brats_cases(roots, spec))
    for case, kept in identities.duplicates.items():
        logger.info("%s is left out: name_mapping.csv says that it is the same scan as %s", case, kept)
    cases, parameters = [case.case for case in identities.cases], spec.parameters
    remarks: dict[str, Any] = {"patients": identities.patients, "duplicates": identities.duplicates}
    plan_cases = None
    if spec.protocol == "paper":
        remarks |= {"leaks_patients": True, "warning": LEAK}
        plan_cases = FirstTiles(spec.tiles, partial(count_brats_tiles, spec, limits))
    else:
        splits = _split(identities, spec)
        parameters |= {"splits": splits}
        cases = [replace(case, plan={"split": splits[case.name]}) for case in cases if case.name in splits]
        remarks |= {"leaks_patients": False, COMPARABLE: spec.protocol == "tiles", **_warn(identities, spec)}
    return Preparation(
        generator=f"{spec.name}-{spec.protocol}",
        parameters=parameters,
        cases=cases,
        make_case=partial(cut_brats_case, spec, limits),
        remarks=remarks,
        plan_cases=plan_cases,
    )


def _split(identities: Identities, spec: BratsSpec) -> dict[str, str]:
    patients = identities.patients
    if spec.split_file is not None:
        return splits_from_file(spec.split_file, patients, identities.aliases)
    by_patient = assign_splits(
        patients.values(), val_split_ratio=spec.val_split_ratio, test_split_ratio=spec.test_split_ratio, seed=spec.seed
    )
    return {case: by_patient[patient] for case, patient in patients.items()}


def _warn(identities: Identities, spec: BratsSpec) -> dict[str, str]:
    """Say that a random split of these years may leak; a split file is the user's own decision."""
    if not identities.unlinked or spec.split_file is not None:
        return {}
    years = ", ".join(map(str, identities.unlinked))
    warning = (
        f"patients of BraTS {years} may be the same under other names, and so in training and test: put a "
        "name_mapping.csv that connects the names beside the cases, or give a split_file or one year"
    )
    logger.warning("%s", warning)
    return {"warning": warning}


def cut_brats_case(spec: BratsSpec, limits: ReadLimits, case: Case) -> Iterable[PreparedSlice]:
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
    stack = _read_stack(spec, limits, case)
    if spec.protocol == "slices":
        return stack.prepared(case.name, case.plan["split"])
    return tile_samples(case.name, choose_tiles(stack.tiles(), case.plan, spec.tiles))


def count_brats_tiles(spec: BratsSpec, limits: ReadLimits, case: Case) -> tuple[int, int]:
    """Count the normal and the novel tiles of a case for the paper's protocol."""
    strata = [tile.stratum for _, tile in _read_stack(spec, limits, case).tiles()]
    return strata.count(""), strata.count("large")


def _read_stack(spec: BratsSpec, limits: ReadLimits, case: Case) -> LesionStack:
    """Read and check the volumes of a case."""
    *paths, seg_path = case.sources.values()
    segmentation = read_volume(seg_path, limits, strict=spec.strict)
    check_labels(segmentation, seg_path, LABELS_TO_2021 if spec.name == "brats2019" else LABELS)
    name = parse_case(case.name)
    if name and name.year < _CHANGED and all((segmentation.voxels == label).any() for label in (3, 4)):
        msg = f"{seg_path} holds both labels 3 and 4, each of which is enhancing tumour: use the original segmentation."
        raise DataError(msg)
    volumes = {}
    for path in paths:
        volumes[path] = read_volume(path, limits, strict=spec.strict)
        check_same_grid(volumes[path], segmentation, path, seg_path)
    return LesionStack.of(spec.recipe, volumes, replace(segmentation, voxels=segmentation.voxels != 0))
