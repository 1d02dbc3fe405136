"""How the cases of BraTS are split and prepared."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anomalib_patchgan.data.prepare.brats.files import find_cases
from anomalib_patchgan.data.prepare.brats.identity import Identities, identify
from anomalib_patchgan.data.prepare.brats.samples import count_tiles, make_samples
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.first_tiles import LEAK, FirstTiles
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.splits import assign_splits, splits_from_file
from anomalib_patchgan.files import ReadLimits

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
    found, mapping = find_cases(roots, spec)
    identities = identify(found, mapping)
    for case, kept in identities.duplicates.items():
        logger.info("%s is left out: name_mapping.csv says that it is the same scan as %s", case, kept)
    cases = [case.case for case in identities.cases]
    make_case = partial(make_samples, spec, limits)
    generator = f"{spec.name}-{spec.protocol}"
    remarks = {"patients": identities.patients, "duplicates": identities.duplicates}
    if spec.protocol == "paper":
        return Preparation(
            generator=generator,
            parameters=spec.parameters,
            cases=cases,
            make_case=make_case,
            remarks={**remarks, "leaks_patients": True, "warning": LEAK},
            plan_cases=FirstTiles(spec.tiles, partial(count_tiles, spec, limits)),
        )
    splits = _split(identities, spec)
    return Preparation(
        generator=generator,
        parameters=spec.parameters | {"splits": splits},
        cases=[replace(case, plan={"split": splits[case.name]}) for case in cases if case.name in splits],
        make_case=make_case,
        remarks={
            **remarks,
            "leaks_patients": False,
            COMPARABLE: spec.protocol == "tiles",
            **_warn(identities, spec),
        },
    )


def _split(identities: Identities, spec: BratsSpec) -> dict[str, str]:
    patients = identities.patients
    if spec.split_file is not None:
        return splits_from_file(spec.split_file, patients, identities.aliases)
    by_patient = assign_splits(
        patients.values(),
        val_split_ratio=spec.val_split_ratio,
        test_split_ratio=spec.test_split_ratio,
        seed=spec.seed,
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
