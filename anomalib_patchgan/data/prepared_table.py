"""The sample table of a prepared folder: one row per slice, with its patient, label, mask and split."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from anomalib import TaskType
from anomalib.data.utils import LabelName, Split

from anomalib_patchgan.data.image_files import check_image, find_images_below
from anomalib_patchgan.data.mask_files import check_mask
from anomalib_patchgan.data.patient_ids import find_patients
from anomalib_patchgan.data.prepare.samples import SAMPLES, read_samples
from anomalib_patchgan.data.prepare.splits import hash_fraction
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

logger = logging.getLogger(__name__)

LAYOUT = (
    "train/normal and test/normal, test/abnormal, test/mask; optional train/abnormal with train/mask, and "
    "val/normal, val/abnormal, val/mask; each with PNG, JPEG, BMP, TIFF or WebP images, or a "
    "folder of them per patient"
)
_LABELS = {"normal": LabelName.NORMAL, "abnormal": LabelName.ABNORMAL}


def make_prepared_table(
    root: str | Path,
    *,
    id_pattern: str | None = None,
    val_split_ratio: float = 0.2,
    seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
) -> pd.DataFrame:
    """Read a prepared folder into anomalib's sample table and check every file's header.

    Without `val/`, validation patients are taken from `train/` with all their slices, lesion slices included;
    the lesion slices of the other training patients are in no split.

    Args:
        root: Prepared folder.
        id_pattern: See `find_patients`.
        val_split_ratio: Share of the training patients that become validation patients, in (0, 1).
        seed: Chooses which patients these are, and which patients are in which fold.
        folds: Pool the patients of all splits on disk and test on one of this many equal parts of them (cross-
            validation by patient); `None` keeps the splits on disk.
        fold: Which part, from 0.

    Returns:
        Columns `image_path`, `label`, `label_index` (0 normal, 1 abnormal), `mask_path` ("" for none),
        `patient_id` and `split`, and those of `samples.csv` if there is one, or else `slice`, the number at the end of
        the file stem, if every stem has one; `attrs["task"]` is `segmentation` when the folder has masks.

    Raises:
        DatasetNotFoundError: The folder, or a part of it that is needed, is missing or empty.
        DataError: A file cannot be used, a mask is missing, or a patient is in two splits.
        ConfigurationError: `id_pattern`, `val_split_ratio`, `folds` or `fold` is not valid.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/normal/P1_01", "train/normal/P2_01", "test/normal/P3_01"):
        ...     path = root / f"{name}.png"
        ...     path.parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("L", (64, 64)).save(path)
        >>> make_prepared_table(root, val_split_ratio=0.5).groupby("split").patient_id.nunique().to_dict()
        {'test': 1, 'train': 1, 'val': 1}
    """
    root = Path(root).expanduser()
    if not 0 < val_split_ratio < 1:
        msg = f"val_split_ratio must lie between 0 and 1, got {val_split_ratio}."
        raise ConfigurationError(msg)
    if folds is not None and not (folds > 1 and 0 <= fold < folds):
        msg = f"folds must be at least 2 and fold one of 0 to folds - 1, got folds={folds} and fold={fold}."
        raise ConfigurationError(msg)
    if not root.is_dir():
        msg = f"No prepared folder at {root.absolute()}: there is no such folder. Expected there: {LAYOUT}."
        raise DatasetNotFoundError(msg)

    splits = [split for split in Split if (root / split.value).is_dir()]
    has_masks = any(find_images_below(root / split.value / "mask") for split in splits)
    if not has_masks:
        logger.warning("No masks in %s: pixel metrics are left out", root / "test" / "mask")
    shares: dict[str, float] = {}
    rows = [
        row | {"split": split.value}
        for split in splits
        for label in _LABELS
        if not (split is Split.TRAIN and label == "abnormal" and Split.VAL in splits and folds is None)
        for row in read_label(root / split.value, label, shares, has_masks=has_masks)
    ]
    _warn_of_masks(shares)
    table = pd.DataFrame(rows, columns=["image_path", "label", "label_index", "mask_path", "name", "split"])
    _check_complete(root, table)
    table.insert(4, "patient_id", find_patients(table.pop("name").tolist(), id_pattern))
    if folds is not None:
        _check_no_leak(root, table)
        table = _take_fold(root, table, folds, fold, seed)
    if folds is not None or Split.VAL not in splits:
        table = _take_validation(root, table, val_split_ratio, seed)
    _check_no_leak(root, table)
    table = _add_details(root, table)
    table.attrs["task"] = (TaskType.SEGMENTATION if has_masks else TaskType.CLASSIFICATION).value
    return table


def choose_patients(patients: Iterable[str], ratio: float, seed: int) -> set[str]:
    """Choose about `ratio` of the patients, each by a hash of its own id, so that new patients move no old one.

    Args:
        patients: Patient ids.
        ratio: Expected share of chosen patients, in (0, 1).
        seed: Another seed makes another choice.

    Returns:
        The chosen ids: those whose SHA-256 of `seed:id`, as a fraction of its range, is below `ratio`.

    Example:
        >>> sorted(choose_patients(["A", "B", "C", "D"], 0.5, seed=0))
        ['B', 'C']
    """
    return {patient for patient in patients if hash_fraction(patient, seed) < ratio}


def _take_fold(root: Path, table: pd.DataFrame, folds: int, fold: int, seed: int) -> pd.DataFrame:
    """Make one fold of the patients the test split and all others training patients."""
    # Another hash than that of the validation patients, or the same few would never train.
    ranked = sorted(set(table.patient_id), key=lambda patient: hash_fraction(f"fold of {patient}", seed))
    if len(ranked) < folds:
        msg = f"{root} has {len(ranked)} patients, too few for folds={folds}: take fewer folds."
        raise ConfigurationError(msg)
    test = table.patient_id.isin(ranked[fold::folds])
    return table.assign(split=test.map({True: Split.TEST.value, False: Split.TRAIN.value}))


def _take_validation(root: Path, table: pd.DataFrame, ratio: float, seed: int) -> pd.DataFrame:
    """Move the chosen training patients to validation and drop the other training patients' lesion slices."""
    is_train = table.split == Split.TRAIN.value
    normal_patients = set(table.patient_id[is_train & (table.label == "normal")])
    if len(normal_patients) < 2:  # noqa: PLR2004
        msg = (
            f"Validation by patient needs two patients with normal slices in {root / 'train/normal'}, found "
            f"{sorted(normal_patients)}: add patients, add {root / 'val'}, or change id_pattern if this is no patient."
        )
        raise DataError(msg)
    chosen = choose_patients(set(table.patient_id[is_train]), ratio, seed)
    ranked = sorted(normal_patients, key=lambda patient: hash_fraction(patient, seed))
    # Both sides need normal slices, which a small ratio or few patients cannot promise.
    chosen = (chosen | {ranked[0]}) - {ranked[-1]}
    to_val = is_train & table.patient_id.isin(chosen)
    table.loc[to_val, "split"] = Split.VAL.value
    return table[~(is_train & ~to_val & (table.label == "abnormal"))].reset_index(drop=True)


def read_label(folder: Path, label: str, shares: dict[str, float], *, has_masks: bool) -> list[dict[str, str | int]]:
    """Find the images of one label of a split, and check them and their masks.

    Args:
        folder: Folder of the split.
        label: One of `normal` and `abnormal`.
        shares: Gets the share of lesion of each mask.
        has_masks: Whether abnormal images have masks.

    Returns:
        `image_path`, `label`, `label_index`, `mask_path` ("" for none) and `name`, the path below the label, of each.

    Raises:
        DataError: A file cannot be used, or a mask is missing.
    """
    images = find_images_below(folder / label)
    masks = find_images_below(folder / "mask") if label == "abnormal" and has_masks else None
    found: list[dict[str, str | int]] = []
    for stem, path in images.items():
        size = check_image(path)
        mask = ""
        if masks is not None:
            if stem not in masks:
                msg = f"{path} has no mask: expected {folder / 'mask' / stem}.png (same stem, any image format)."
                raise DataError(msg)
            mask = str(masks[stem])
            shares[mask] = check_mask(masks[stem], path, size)
        found.append(
            {
                "image_path": str(path),
                "label": label,
                "label_index": int(_LABELS[label]),
                "mask_path": mask,
                "name": path.relative_to(folder / label).as_posix(),
            }
        )
    return found


def _warn_of_masks(shares: dict[str, float]) -> None:
    """Say which masks of lesion images are hardly meant so."""
    for share, what in ((0.0, "no lesion at all"), (1.0, "lesion everywhere")):
        if found := [path for path, value in shares.items() if value == share]:
            count = f"{len(found)} of {len(shares)}"
            logger.warning("%s masks of lesion images are %s, such as %s: are they right?", count, what, found[0])


def _add_details(root: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of `samples.csv`; images that it does not name are left out."""
    samples = read_samples(root)
    if samples is None:
        numbers = table.image_path.map(lambda path: Path(path).stem).str.extract(r"_(\d{1,9})$", expand=False)
        return table if numbers.isna().any() else table.assign(slice=numbers.astype(int))
    names = [Path(path).relative_to(root).as_posix() for path in table.image_path]
    unknown = sorted(set(names) - set(samples.image))
    if unknown:
        logger.warning("%d images are not in %s and left out, such as %s", len(unknown), root / SAMPLES, unknown[0])
    details = samples.drop(columns=samples.columns.intersection([*table.columns, "mask"]))
    return table.assign(image=names).merge(details, on="image", validate="one_to_one").drop(columns="image")


def _check_complete(root: Path, table: pd.DataFrame) -> None:
    train = table[table.split == Split.TRAIN.value]
    present = {*table.split} | ({"train/normal"} if (train.label == "normal").any() else set())
    needed = ["train/normal", "test", *(["val"] if (root / "val").is_dir() else [])]
    for part in needed:
        if part not in present:
            found = sorted(f"{path.relative_to(root)}" for path in (*root.glob("*"), *root.glob("*/*")))
            listing = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")  # noqa: PLR2004
            msg = (
                f"No images in {(root / part).absolute()}: {root} holds {listing or 'nothing'}. Expected there: "
                f"{LAYOUT}."
            )
            raise DatasetNotFoundError(msg)


def _check_no_leak(root: Path, table: pd.DataFrame) -> None:
    splits = table.groupby("patient_id").split.agg(lambda values: sorted(set(values)))
    leaks = {str(patient): names for patient, names in splits.items() if len(names) > 1}
    if leaks:
        listing = ", ".join(f"{patient} ({' and '.join(names)})" for patient, names in list(leaks.items())[:8])
        more = f" and {len(leaks) - 8} more" if len(leaks) > 8 else ""  # noqa: PLR2004
        msg = (
            f"Patients in two splits of {root}: {listing}{more}. Move all slices of a patient to one split, or, if "
            r"these are not patient ids, pass another id_pattern (id_pattern='.+' takes each file for itself)."
        )
        raise DataError(msg)
