"""ISIC 2016: from the unpacked archives to tiles, whole images or a diagnosis.

Source: Gutman et al., Skin Lesion Analysis toward Melanoma Detection, arXiv:1605.01397 (2016).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anomalib_patchgan.arguments import check_argument
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.csv_files import read_pairs
from anomalib_patchgan.data.prepare.field_of_view import FieldOfView
from anomalib_patchgan.data.prepare.folder import COMPARABLE, Preparation
from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.data.prepare.samples import PreparedSlice
from anomalib_patchgan.data.prepare.skin import balance_colors, without_lesion
from anomalib_patchgan.data.prepare.splits import assign_splits, check_ratios, splits_from_file
from anomalib_patchgan.data.prepare.tiles import LEAK, TILE, FirstTiles, TileCounts, choose_tiles, cut_tiles
from anomalib_patchgan.data.prepare.walk import check_inside, describe_missing, list_names
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import ReadLimits, check_id, read_bytes

PUBLISHED = "https://challenge.isic-archive.com/data/#2016"
PARTS = ("Training", "Test")
_SUFFIXES = {".jpg", ".jpeg"}
# The official training file has words, the official test file numbers.
_MALIGNANT = {"benign": False, "malignant": True, "0": False, "0.0": False, "1": True, "1.0": True}
# Raised whenever the pixels change, so that folders of an older recipe are not taken for this one's.
RECIPE = 2
MAX_IMAGE_SIZE = 2048

IsicProtocol = Literal["paper", "tiles", "images", "diagnosis"]
# Arguments that change nothing in a protocol, so that they make no other folder either.
_UNUSED = {
    "paper": {"val_split_ratio", "seed", "color_constancy"},
    "tiles": {"tiles"},
    "images": {"tiles"},
    "diagnosis": {"tiles"},
}


@dataclass(frozen=True, kw_only=True)
class IsicSpec:
    """Protocol and arguments; `ISIC2016` explains each.

    Args:
        protocol: `paper`, `tiles`, `images` or `diagnosis`.
        image_size: Height and width in pixels that images are resized to, before tiles are cut.
        color_constancy: Whether channels are scaled to the same 75th percentile in every image, see `balance_colors`;
            the published protocol never does.
        tiles: How many tiles go where, for `paper`.
        val_split_ratio: Share of the training part's images that validate, in (0, 1).
        split_file: Splits of all images from a file instead.
        seed: Seed of the split.

    Raises:
        ConfigurationError: An argument is out of its range.
    """

    protocol: IsicProtocol = "images"
    image_size: int = 256
    color_constancy: bool = True
    tiles: TileCounts = field(default_factory=lambda: TileCounts(test=3000, val=500))
    val_split_ratio: float = 0.15
    split_file: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_ratios(self.val_split_ratio, 0.0)
        check_argument(self, "protocol", f"one of {', '.join(_UNUSED)}", self.protocol in _UNUSED)
        check_argument(self, "image_size", f"{TILE} to {MAX_IMAGE_SIZE}", TILE <= self.image_size <= MAX_IMAGE_SIZE)

    @property
    def balances_colors(self) -> bool:
        """Whether images are made alike in colour: if asked for, in a protocol that does so."""
        return self.color_constancy and "color_constancy" not in _UNUSED[self.protocol]

    @property
    def parameters(self) -> dict[str, Any]:
        """What, with the sources, determines the prepared folder."""
        # The content of a split file counts, not its name.
        unused = _UNUSED[self.protocol] | {"split_file"}
        if self.split_file is not None:
            unused |= {"val_split_ratio", "seed"}
        return {"recipe": RECIPE} | {name: value for name, value in asdict(self).items() if name not in unused}


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
    found = find_photographs(root, with_masks=spec.protocol != "diagnosis")
    cases, parameters = [case for part in PARTS for case in found[part]], spec.parameters
    remarks: dict[str, Any] = {"leaks_patients": True, "warning": LEAK}
    plan_cases = None
    if spec.protocol == "paper":
        plan_cases = FirstTiles(spec.tiles, partial(count_photograph_tiles, spec, limits))
    else:
        plans: dict[str, dict[str, Any]] = {name: {"split": split} for name, split in _split(found, spec).items()}
        if spec.protocol == "diagnosis":
            malignant = {name: value for part in PARTS for name, value in _find_diagnoses(root, part, found).items()}
            plans = {name: plan | {"malignant": malignant[name]} for name, plan in plans.items()}
        parameters |= {"plans": plans}
        cases = [replace(case, plan=plans[case.name]) for case in cases if case.name in plans]
        remarks = {"leaks_patients": False, COMPARABLE: spec.balances_colors}
    return Preparation(
        generator=f"isic2016-{spec.protocol}",
        parameters=parameters,
        cases=cases,
        make_case=partial(cut_photograph, spec, limits),
        remarks=remarks,
        plan_cases=plan_cases,
    )


def find_photographs(root: str | Path, *, with_masks: bool) -> dict[str, list[Case]]:
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
    archive = _find_archive(root)
    found: dict[str, list[Case]] = {}
    seen: set[str] = set()
    for part in PARTS:
        folder = archive / _data_folder(part)
        names = list_names(folder) if folder.is_dir() else []
        paths = [folder / name for name in names if Path(name).suffix.lower() in _SUFFIXES]
        if not paths:
            raise DatasetNotFoundError(describe_missing(folder, f"{_data_folder('{Training,Test}')}/*.jpg", PUBLISHED))
        for path in paths:
            check_id(path.stem, folder)
            if path.stem in seen:
                msg = f"{path} is there twice, with another suffix or in the other part: remove one of the two."
                raise DataError(msg)
            seen.add(path.stem)
        found[part] = [_find_photograph(archive, part, path, with_masks=with_masks) for path in paths]
    return found


def _data_folder(part: str) -> str:
    """Return the official name of the folder of images."""
    return f"ISBI2016_ISIC_Part1_{part}_Data"


def _find_archive(root: str | Path) -> Path:
    """Find the folder that holds the unpacked archives, the given one or the only such one in it, links resolved."""
    root = Path(root).expanduser()
    inside = [path.parent for path in sorted(root.glob(f"*/{_data_folder('Training')}"))] if root.is_dir() else []
    for folder in (root, *(inside if len(inside) == 1 else ())):
        if any((folder / _data_folder(part)).exists() for part in PARTS):
            return folder.resolve()
    expected = (
        f"the folders {_data_folder('Training')} and {_data_folder('Test')}, as unpacked from the official archives"
    )
    raise DatasetNotFoundError(describe_missing(root, expected, PUBLISHED))


def _find_photograph(archive: Path, part: str, image: Path, *, with_masks: bool) -> Case:
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


def _find_diagnoses(root: str | Path, part: str, found: Mapping[str, Sequence[Case]]) -> dict[str, bool]:
    """Read which images of a part are malignant; each needs a diagnosis."""
    archive = _find_archive(root)
    path = archive / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv"
    if not path.is_file():
        raise DatasetNotFoundError(describe_missing(archive, f"{path.name}, the diagnoses of Part 3", PUBLISHED))
    check_inside(path, archive)
    diagnoses = read_diagnoses(path)
    lacking = [case.name for case in found[part] if case.name not in diagnoses]
    if lacking:
        msg = f"{path} has no diagnosis of {', '.join(lacking[:5])}: use the official file, or remove the images."
        raise DataError(msg)
    return diagnoses


def read_diagnoses(path: Path) -> dict[str, bool]:
    r"""Read diagnoses as ISIC 2016 Part 3 publishes them, `id,benign` or `id,0.0` per line.

    Args:
        path: CSV file in UTF-8, with or without a header; at most 16 MiB.

    Returns:
        Image id to whether it is malignant.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: A line is not valid, an id is there twice, or the file is empty or no text.

    Example:
        >>> path = Path("diagnoses.csv")
        >>> path.write_text("ISIC_0000000,benign\nISIC_0000002,malignant\n")
        43
        >>> read_diagnoses(path)
        {'ISIC_0000000': False, 'ISIC_0000002': True}
    """
    return read_pairs(path, _MALIGNANT, "benign or malignant (or 0.0 or 1.0)")


def _split(found: Mapping[str, list[Case]], spec: IsicSpec) -> dict[str, str]:
    """Split by image: the official test part is the test, some images of the training part validate."""
    if spec.split_file is not None:
        return splits_from_file(spec.split_file, {case.name: case.name for part in PARTS for case in found[part]})
    names = [case.name for case in found["Training"]]
    splits = assign_splits(names, val_split_ratio=spec.val_split_ratio, test_split_ratio=0.0, seed=spec.seed)
    return splits | dict.fromkeys((case.name for case in found["Test"]), "test")


def cut_photograph(spec: IsicSpec, limits: ReadLimits, case: Case) -> Iterator[PreparedSlice]:
    """Make the samples of one image.

    Args:
        spec: What to make.
        limits: Bounds of what is read.
        case: The image, with split and diagnosis in its `plan`, or for the paper's protocol the tiles before it.

    Yields:
        Tiles row by row, images without their lesion, or the whole image.

    Raises:
        DatasetNotFoundError: A file has gone.
        DataError: A file cannot be used.
    """
    image, lesion = _read(spec, limits, case)
    split = case.plan.get("split", "")
    if spec.protocol == "diagnosis":
        malignant = case.plan["malignant"]
        if not (malignant and split == "train"):
            yield PreparedSlice(split=split, stem=case.name, image=image, abnormal=malignant)
    elif spec.protocol != "images":
        for chosen, _, tile in choose_tiles(((0, tile) for tile in cut_tiles(image, lesion)), case.plan, spec.tiles):
            yield tile.sample(chosen, case.name, {})
    elif split == "train":
        for turns, skin in without_lesion(image, lesion):
            yield PreparedSlice(split=split, stem=f"{case.name}_side-{turns}", image=skin)
    else:
        yield PreparedSlice(split=split, stem=case.name, image=image, mask=lesion if lesion.any() else None)


def count_photograph_tiles(spec: IsicSpec, limits: ReadLimits, case: Case) -> tuple[int, int]:
    """Count the normal and the novel tiles of an image for the paper's protocol."""
    strata = [tile.stratum for tile in cut_tiles(*_read(spec, limits, case))]
    return strata.count(""), strata.count("large")


def _read(spec: IsicSpec, limits: ReadLimits, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the resized image, `(S, S, 3)` uint8, and its lesion, `(S, S)` bool, of which a diagnosis needs none."""
    path, *masks = case.sources.values()
    photograph = read_photograph(read_bytes(path, limits), path, limits)
    whole = FieldOfView.whole((photograph.height, photograph.width), spec.image_size)
    image = whole.image(np.asarray(photograph))
    lesion = np.zeros(image.shape[:2], bool)
    if masks:
        lesion = whole.mask(read_mask(read_bytes(masks[0], limits), masks[0], photograph.size, path, limits))
    return balance_colors(image) if spec.balances_colors else image, lesion
