"""The files of ISIC 2016 as a user unpacked them: images, lesion masks (Part 1) and diagnoses (Part 3)."""

from collections.abc import Sequence
from pathlib import Path

from anomalib_patchgan.data.prepare.archive import check_inside, describe_missing, find_archive, list_names
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.csv_files import read_diagnoses
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import check_id

PUBLISHED = "https://challenge.isic-archive.com/data/#2016"
PARTS = ("Training", "Test")
_SUFFIXES = {".jpg", ".jpeg"}


def data_folder(part: str) -> str:
    """Return the official name of the folder of images."""
    return f"ISBI2016_ISIC_Part1_{part}_Data"


def find_images(root: str | Path, *, with_masks: bool) -> dict[str, list[Case]]:
    """Find the images of both parts and their masks.

    Args:
        root: The folder that holds the unpacked archives, or its parent.
        with_masks: Each image needs its lesion mask.

    Returns:
        `Training` and `Test` to cases, sorted by name; an image without its mask has a `problem`.

    Raises:
        DatasetNotFoundError: The images of a part are not there.
        DataError: An image is in both parts, or has a name that cannot be an id.
    """
    archive = find_root(root)
    expected = f"{data_folder('{Training,Test}')}/*.jpg"
    found: dict[str, list[Case]] = {}
    seen: set[str] = set()
    for part in PARTS:
        folder = archive / data_folder(part)
        paths = [folder / name for name in list_names(folder)] if folder.is_dir() else []
        paths = [path for path in paths if path.suffix.lower() in _SUFFIXES]
        if not paths:
            raise DatasetNotFoundError(describe_missing(folder, expected, PUBLISHED))
        for path in paths:
            check_id(path.stem, folder)
            if path.stem in seen:
                msg = f"{path} is there twice, with another suffix or in the other part: remove one of the two."
                raise DataError(msg)
            seen.add(path.stem)
        found[part] = [_find_case(archive, part, path, with_masks=with_masks) for path in paths]
    return found


def find_root(root: str | Path) -> Path:
    """Find the folder that holds the unpacked archives; see `find_images`."""
    root = Path(root).expanduser()
    expected = (
        f"the folders {data_folder('Training')} and {data_folder('Test')}, as unpacked from the official archives"
    )
    inside = [path.parent for path in sorted(root.glob(f"*/{data_folder('Training')}"))] if root.is_dir() else []
    name = inside[0].name if len(inside) == 1 else ""
    return find_archive(root, name, [data_folder(part) for part in PARTS], expected, PUBLISHED)


def find_diagnoses(root: str | Path, part: str, cases: Sequence[Case]) -> dict[str, bool]:
    """Read which images of a part are malignant.

    Args:
        root: See `find_images`.
        part: `Training` or `Test`.
        cases: The part's images; each needs a diagnosis.

    Returns:
        Image id to malignant.

    Raises:
        DatasetNotFoundError: The file is not there.
        DataError: It is not valid, or an image has no diagnosis.
    """
    archive = find_root(root)
    path = archive / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv"
    if not path.is_file():
        raise DatasetNotFoundError(describe_missing(archive, f"{path.name}, the diagnoses of Part 3", PUBLISHED))
    check_inside(path, archive)
    diagnoses = read_diagnoses(path)
    lacking = [case.name for case in cases if case.name not in diagnoses]
    if lacking:
        msg = f"{path} has no diagnosis of {', '.join(lacking[:5])}: use the official file, or remove the images."
        raise DataError(msg)
    return {case.name: diagnoses[case.name] for case in cases}


def source_of(case: Case, *, mask: bool = False) -> Path:
    """Return the image's file or its mask's."""
    return next(path for path in case.sources.values() if (path.suffix.lower() not in _SUFFIXES) == mask)


def _find_case(archive: Path, part: str, image: Path, *, with_masks: bool) -> Case:
    sources = [image]
    problem: PatchGanError | None = None
    if with_masks:
        folder = archive / f"ISBI2016_ISIC_Part1_{part}_GroundTruth"
        mask = folder / f"{image.stem}_Segmentation.png"
        sources.append(mask)
        if not mask.is_file():
            problem = DatasetNotFoundError(describe_missing(folder, mask.name, PUBLISHED))
    if problem is None:
        try:
            for path in sources:
                check_inside(path, archive)
        except DataError as error:
            problem = error
    names = {path.relative_to(archive).as_posix(): path for path in sources}
    return Case(name=image.stem, sources={} if problem else names, problem=problem)
