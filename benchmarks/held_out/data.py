"""Patients held out of a training part, to judge a change of the detector on; nothing of a test part is used."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib import TaskType
from numpy.typing import NDArray
from torch import Tensor

from anomalib_patchgan import ISIC2016, BraTS, PatchGan
from anomalib_patchgan.benchmark.split_table import read_masks, read_split
from anomalib_patchgan.data.patient_ids import find_patients
from anomalib_patchgan.data.prepare.isic2016 import find_photographs
from anomalib_patchgan.data.prepare.splits import hash_fraction, read_split_file
from anomalib_patchgan.data.prepared_archive import PreparedArchive
from anomalib_patchgan.data.prepared_folder import PreparedFolderDataset
from anomalib_patchgan.data.prepared_table import read_label
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

# Pixels along a side, as in the comparisons.
SIDE = 192
# Parts that the patients (photographs) of a training part are divided into; one at a time is held out.
FOLDS = {"lgg_flair": 4, "brats_slices": 3, "isic_images": 5}
# Those whose slices are evenly spaced.
OF_VOLUMES = ("brats_slices",)
BRATS_SPLITS = Path(__file__).resolve().parents[1] / "splits" / "brats_slices.csv"
TRAIN, HELD_OUT = "train", "val"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The images of some patients, N in all.

    Args:
        images: Shape `(N, 3, SIDE, SIDE)`, uint8.
        labels: Whether an image holds a lesion, `(N,)`.
        masks: Lesions, `(N, SIDE, SIDE)`.
        patients: Patient or photograph of each image, `(N,)`.
        slices: Number of each slice in its volume; `None` where it is not known that they are evenly spaced.
    """

    images: Tensor
    labels: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    patients: NDArray[np.str_]
    slices: Sequence[int] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutData:
    """Normal images to train on, and all images of the patients that are held out.

    Args:
        train: Normal images.
        held_out: Images of other patients of the same training part, with their lesions.
        comparable_intensities: See `PreparedFolder`.
    """

    train: Part
    held_out: Part
    comparable_intensities: bool


def load(name: str, root: Path, fold: int, cache_dir: Path) -> HeldOutData:
    """Read the training part of a data set, without one of its folds and that fold.

    Args:
        name: One of `FOLDS`.
        root: Folder that holds the data sets as the comparisons name them.
        fold: Which part of the patients is held out, from 0.
        cache_dir: Folder of what is prepared.

    Raises:
        ConfigurationError: There is no such data set or fold.
        PatchGanError: The data are not there or cannot be used.
    """
    if name not in FOLDS:
        msg = f"there are no data '{name}', only {', '.join(FOLDS)}"
        raise ConfigurationError(msg)
    if not 0 <= fold < FOLDS[name]:
        msg = f"{name} has the folds 0 to {FOLDS[name] - 1}, not {fold}"
        raise ConfigurationError(msg)
    if name == "lgg_flair":
        table, comparable = _flair(root / name / "train", fold), False
    elif name == "brats_slices":
        cases = [case for case, split in read_split_file(BRATS_SPLITS).items() if split != "test"]
        table, comparable = _prepared(
            lambda splits: BraTS(root, image_size=SIDE, split_file=splits, cache_dir=cache_dir, num_workers=0),
            cases,
            choose_fold(cases, FOLDS[name], fold),
        )
    else:
        archive = root / "isic2016_sample"
        photographs = [case.name for case in find_photographs(archive, with_masks=True)["Training"]]
        table, comparable = _prepared(
            lambda splits: ISIC2016(archive, image_size=SIDE, split_file=splits, cache_dir=cache_dir, num_workers=0),
            photographs,
            choose_fold(photographs, FOLDS[name], fold),
        )
    numbered = name == "brats_slices"
    parts = {split: _read(table[table.split == split], numbered=numbered) for split in (TRAIN, HELD_OUT)}
    return HeldOutData(train=parts[TRAIN], held_out=parts[HELD_OUT], comparable_intensities=comparable)


def choose_fold(ids: Iterable[str], folds: int, fold: int) -> set[str]:
    """Choose every so many-th patient, in the order of a hash of their ids.

    Raises:
        DataError: There are too few of them to hold some out and to train on others.

    Example:
        >>> [sorted(choose_fold("ABCDE", 2, fold)) for fold in (0, 1)]
        [['A', 'B', 'C'], ['D', 'E']]
    """
    ranked = sorted(set(ids), key=lambda one: hash_fraction(f"held out {one}", 0))
    if len(ranked) < folds:
        msg = f"{len(ranked)} training patients or photographs are too few for {folds} folds"
        raise DataError(msg)
    return set(ranked[fold::folds])


def _flair(folder: Path, fold: int) -> pd.DataFrame:
    """Read `train/normal`, `train/abnormal` and `train/mask` of a prepared folder into a sample table."""
    found = {label: read_label(folder, label, {}, has_masks=True) for label in ("normal", "abnormal")}
    if not all(found.values()):
        lacking = ", ".join(label for label, rows in found.items() if not rows)
        msg = f"{folder.absolute()} has no images in {lacking}: those of training patients are needed with their masks"
        raise DatasetNotFoundError(msg)
    table = pd.DataFrame([row for rows in found.values() for row in rows])
    table["patient_id"] = find_patients(table.pop("name").tolist())
    is_held_out = table.patient_id.isin(choose_fold(table.patient_id, FOLDS["lgg_flair"], fold))
    table["split"] = is_held_out.map({True: HELD_OUT, False: TRAIN})
    return table[is_held_out | (table.label_index == 0)]


def _prepared(
    make: Callable[[Path], PreparedArchive], ids: Sequence[str], held_out: set[str]
) -> tuple[pd.DataFrame, bool]:
    """Prepare cases of an archive, the held-out ones as validation and test split, which have their lesions."""
    # Data modules want a case in each split, and cases that the file does not name are left out.
    first = min(held_out)
    lines = [f"{one},{'val' if one == first else 'test' if one in held_out else 'train'}" for one in ids]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "splits.csv"
        path.write_text("\n".join(["id,split", *lines]) + "\n", encoding="utf-8")
        module = make(path)
        module.setup()
    tables = {TRAIN: [module.train_data.samples], HELD_OUT: [module.val_data.samples, module.test_data.samples]}
    table = pd.concat([one.assign(split=split) for split, ones in tables.items() for one in ones])
    return table, module.comparable_intensities


def _read(table: pd.DataFrame, *, numbered: bool) -> Part:
    """Read the images of a sample table at the size of the model, and their masks."""
    if table.empty:
        msg = "a part of the patients has no images: give the whole training part of the data set"
        raise DataError(msg)
    table = table.reset_index(drop=True)
    table.attrs["task"] = TaskType.SEGMENTATION.value
    dataset = PreparedFolderDataset(table, table.split[0])
    resize = PatchGan.configure_pre_processor((SIDE, SIDE)).transform
    images = [(resize(item.image) * 255).round().to(torch.uint8) for item in dataset]
    table = dataset.samples  # in the order of the images: anomalib sorts them by path
    split = read_split(table, table.image_path.tolist())
    masks = read_masks(split, (SIDE, SIDE))
    return Part(
        images=torch.stack(images),
        labels=table.label_index.to_numpy() > 0,
        masks=np.zeros((len(table), SIDE, SIDE), bool) if masks is None else masks,
        patients=split.patient,
        slices=table["slice"].tolist() if numbered else None,
    )
