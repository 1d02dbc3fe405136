"""How the cases of BraTS 2019 are split and prepared."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from anomalib_patchgan.data.prepare.brats2019.files import find_cases, patient_of
from anomalib_patchgan.data.prepare.brats2019.samples import count_tiles, make_samples
from anomalib_patchgan.data.prepare.brats2019.spec import BratsSpec
from anomalib_patchgan.data.prepare.first_tiles import LEAK, FirstTiles
from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.nifti import ReadLimits
from anomalib_patchgan.data.prepare.splits import assign_splits, splits_from_file


def plan_brats2019(root: str | Path, spec: BratsSpec, limits: ReadLimits) -> Preparation:
    """Find the cases of an archive and say how they are to be prepared.

    Args:
        root: `MICCAI_BraTS_2019_Data_Training` or its parent.
        spec: What to make of them.
        limits: Bounds of what is read.

    Returns:
        The preparation, for `prepare_folder`.

    Raises:
        DatasetNotFoundError: The archive, the folder of a grade, or the split file is not there.
        DataError: A case is in two grades, or the split file is not valid.
        ConfigurationError: There are too few patients to split.
    """
    cases = find_cases(root, spec.wanted_grades, spec.modalities)
    make_case = partial(make_samples, spec, limits)
    generator = f"brats2019-{spec.protocol}"
    if spec.protocol == "paper":
        return Preparation(
            generator=generator,
            parameters=spec.parameters,
            cases=cases,
            make_case=make_case,
            remarks={"leaks_patients": True, "warning": LEAK},
            plan_cases=FirstTiles(spec.tiles, partial(count_tiles, spec, limits)),
        )
    patients = {case.name: patient_of(case.name) for case in cases}
    if spec.split_file is None:
        by_patient = assign_splits(
            patients.values(),
            val_split_ratio=spec.val_split_ratio,
            test_split_ratio=spec.test_split_ratio,
            seed=spec.seed,
        )
        splits = {case: by_patient[patient] for case, patient in patients.items()}
    else:
        splits = splits_from_file(spec.split_file, patients)
    return Preparation(
        generator=generator,
        parameters=spec.parameters | {"splits": splits},
        cases=[replace(case, plan={"split": splits[case.name]}) for case in cases if case.name in splits],
        make_case=make_case,
        remarks={"leaks_patients": False},
    )
