"""Writes tiny prepared folders: bright noisy discs on black, with bright lesions and exact masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_PATIENTS = ("P01", "P02", "P03", "P04", "P05")
TEST_PATIENTS = ("T01", "T02")
VAL_PATIENTS = ("V01", "V02")


def write_prepared_folder(
    root: str | Path,
    *,
    patients: Sequence[str] = TRAIN_PATIENTS,
    test_patients: Sequence[str] = TEST_PATIENTS,
    slices: int = 4,
    size: int = 64,
    seed: int = 0,
    with_val: bool = False,
    train_lesions: bool = True,
) -> Path:
    """Write a prepared folder that `PreparedFolder` and anomalib's `Folder` can read.

    Every patient has `slices` normal and `slices` lesion slices named `<patient>_<slice number>.png`,
    8-bit, one channel, `(size, size)`; masks are 0/255. A patient's pictures depend on `seed` and the
    patient's name only, so adding patients leaves the others' files unchanged.

    Args:
        root: Folder to write into; made if missing.
        patients: Patients of the training split.
        test_patients: Patients of the test split.
        slices: Normal slices per patient, and lesion slices per patient.
        size: Height and width in pixels.
        seed: Seed of the pictures.
        with_val: Also write `val/` with the patients V01 and V02.
        train_lesions: Also write `train/abnormal` and `train/mask`.

    Returns:
        `root` as a path.
    """
    root = Path(root)
    splits = {"train": patients, "test": test_patients} | ({"val": VAL_PATIENTS} if with_val else {})
    for split, names in splits.items():
        for name in names:
            rng = np.random.default_rng([seed, *name.encode()])
            for number in range(slices):
                _save(root / split / "normal" / f"{name}_{number:02d}.png", _brain(rng, size))
                if split != "train" or train_lesions:
                    image, mask = _add_lesion(rng, _brain(rng, size))
                    stem = f"{name}_{slices + number:02d}"
                    _save(root / split / "abnormal" / f"{stem}.png", image)
                    _save(root / split / "mask" / f"{stem}.png", mask)
    return root


def _brain(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a noisy disc, `(size, size)`, uint8, exactly 0 outside it."""
    rows, columns = np.mgrid[:size, :size] / (size - 1) - 0.5
    radius = rng.uniform(0.36, 0.42)
    tissue = 110 + 15 * np.cos(12 * rows + rng.uniform(0, 6)) + rng.normal(0, 5, (size, size))
    return np.where(np.hypot(rows, columns) < radius, tissue, 0).astype(np.uint8)


def _add_lesion(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image with one bright disc inside the brain, and its mask (0/255)."""
    rows, columns = np.mgrid[: len(image), : len(image)] / (len(image) - 1) - 0.5
    centre = rng.uniform(-0.18, 0.18, 2)
    inside = np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(0.06, 0.12)
    return np.where(inside, image * 1.7, image).clip(0, 255).astype(np.uint8), np.where(inside, 255, 0).astype(np.uint8)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
