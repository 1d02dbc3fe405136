"""How the images of ISIC 2016 are split and prepared."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.first_tiles import LEAK, FirstTiles
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.isic2016.files import PARTS, find_diagnoses, find_images
from anomalib_patchgan.data.prepare.isic2016.samples import count_tiles, make_samples
from anomalib_patchgan.data.prepare.isic2016.spec import IsicSpec
from anomalib_patchgan.data.prepare.splits import assign_splits, splits_from_file
from anomalib_patchgan.files import ReadLimits


def plan_isic2016(root: str | Path, spec: IsicSpec, limits: ReadLimits) -> Preparation:
    """Find the images of the archives and say how they are to be prepared.

    Args:
        root: The folder that holds the unpacked archives, or its parent.
        spec: What to make of them.
        limits: Bounds of what is read.

    Returns:
        The preparation, for `prepare_folder`.

    Raises:
        DatasetNotFoundError: Images, diagnoses or the split file are not there.
        DataError: An image is in both parts, has no diagnosis, or the split file or a CSV file is not valid.
        ConfigurationError: There are too few images to split.
    """
    found = find_images(root, with_masks=spec.protocol != "diagnosis")
    make_case = partial(make_samples, spec, limits)
    generator = f"isic2016-{spec.protocol}"
    if spec.protocol == "paper":
        return Preparation(
            generator=generator,
            parameters=spec.parameters,
            cases=[case for part in PARTS for case in found[part]],
            make_case=make_case,
            remarks={"leaks_patients": True, "warning": LEAK},
            plan_cases=FirstTiles(spec.tiles, partial(count_tiles, spec, limits)),
        )
    splits = _split(found, spec)
    malignant: Mapping[str, bool] = {}
    if spec.protocol == "diagnosis":
        malignant = {name: value for part in PARTS for name, value in find_diagnoses(root, part, found[part]).items()}
    cases = [case for part in PARTS for case in found[part] if case.name in splits]
    plans = {
        name: {"split": split} | ({"malignant": malignant[name]} if malignant else {}) for name, split in splits.items()
    }
    return Preparation(
        generator=generator,
        parameters=spec.parameters | {"plans": plans},
        cases=[replace(case, plan=plans[case.name]) for case in cases],
        make_case=make_case,
        remarks={"leaks_patients": False, COMPARABLE: spec.balances_colors},
    )


def _split(found: Mapping[str, list[Case]], spec: IsicSpec) -> dict[str, str]:
    """Split by image: the official test part is the test, some images of the training part validate."""
    if spec.split_file is not None:
        return splits_from_file(spec.split_file, {case.name: case.name for part in PARTS for case in found[part]})
    names = [case.name for case in found["Training"]]
    splits = assign_splits(names, val_split_ratio=spec.val_split_ratio, test_split_ratio=0.0, seed=spec.seed)
    return splits | dict.fromkeys((case.name for case in found["Test"]), "test")
