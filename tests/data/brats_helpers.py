"""What the tests of `BraTS` share."""

from anomalib_patchgan import BraTS
from tests.fakes.brats import TREES

ANY_SPLIT = {"val_split_ratio": 0.3, "test_split_ratio": 0.3}


def make(root, cache, **arguments):
    data = BraTS(root, cache_dir=cache, num_workers=0, workers=1, **ANY_SPLIT, **arguments)
    data.setup()
    return data


def plan(root, **arguments):
    return BraTS(root, **ANY_SPLIT, **arguments).plan()


def names(root, **arguments):
    return [case.name for case in plan(root, **arguments).cases]


def usual(year):
    return sorted(case.rsplit("/", 1)[-1] for case in TREES[year][1])


def patients(data):
    return [set(part.samples.patient_id) for part in (data.train_data, data.val_data, data.test_data)]


def middle(image, slice_):
    """The part of an image that shows a slice with the brain in its middle, where a pixel is as large as a voxel."""
    top, left = ((side - part) // 2 for side, part in zip(image.shape[:2], slice_.shape, strict=True))
    return image[top : top + slice_.shape[0], left : left + slice_.shape[1]]


def split_file(tmp_path, **splits):
    path = tmp_path / "splits.csv"
    rows = [f"{name},{split}" for split, cases in splits.items() for name in cases]
    path.write_text("\n".join(["id,split", *rows]) + "\n", encoding="utf-8")
    return path
