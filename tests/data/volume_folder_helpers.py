"""What the tests of `VolumeFolder` share."""

from anomalib_patchgan import VolumeFolder

IMAGE, MASK = "*/{case}_flair.nii.gz", "*/{case}_seg.nii.gz"
SMALL = {"field_mm": 64, "num_workers": 0, "workers": 1}
ANY_SPLIT = {"val_split_ratio": 0.3, "test_split_ratio": 0.3}


def make(root, cache, **arguments):
    data = VolumeFolder(root, cache_dir=cache, **{**SMALL, **ANY_SPLIT, **arguments})
    data.setup()
    return data


def plan(root, **arguments):
    return VolumeFolder(root, **ANY_SPLIT, **arguments).plan()


def cases(root, **arguments):
    return {case.name: case for case in plan(root, **arguments).cases}


def splits(found):
    return {case.name: case.plan["split"] for case in found.cases}


def files(case):
    return sorted(case.sources)
