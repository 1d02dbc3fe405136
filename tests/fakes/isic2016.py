"""Writes tiny archives in the official layout of ISIC 2016: skin of one tone per image, each with a darker lesion."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

# Number of the first image, so that no id is in both parts.
FIRST_ID = {"Training": 0, "Test": 10000}


def write_isic2016(
    root: str | Path,
    *,
    training: int = 8,
    test: int = 4,
    size: tuple[int, int] = (160, 120),
    seed: int = 0,
    diagnoses: bool = True,
) -> Path:
    """Write the image and mask folders of Part 1 and the diagnoses of Part 3.

    Every image shows one lesion. The second image of each part is malignant, and every third one after it. An
    image's pixels depend on `seed` and its id only, and equal arguments give equal bytes.

    Args:
        root: Folder to write into; made if missing.
        training: Images of the training part, `ISIC_0000000` and following.
        test: Images of the test part, `ISIC_0010000` and following.
        size: Width and height in pixels.
        seed: Seed of the pictures.
        diagnoses: Also write the CSV files of Part 3.

    Returns:
        `root` as a path.
    """
    root = Path(root)
    for part, number in {"Training": training, "Test": test}.items():
        images, masks = (root / f"ISBI2016_ISIC_Part1_{part}_{kind}" for kind in ("Data", "GroundTruth"))
        lines = []
        for index in range(number):
            name = f"ISIC_{FIRST_ID[part] + index:07d}"
            image, mask = _draw(np.random.default_rng([seed, *name.encode()]), size)
            images.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(images / f"{name}.jpg", quality=92)
            masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(masks / f"{name}_Segmentation.png")
            malignant = index % 3 == 1
            # The two official files spell it differently.
            value = ("benign", "malignant")[malignant] if part == "Training" else str(float(malignant))
            lines.append(f"{name},{value}\n")
        if diagnoses:
            (root / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv").write_text("".join(lines), encoding="utf-8")
    return root


def _draw(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image `(H, W, 3)` and its mask `(H, W)` of 0 and 255, both uint8."""
    width, height = size
    rows, columns = np.mgrid[:height, :width].astype(float)
    rows -= height * rng.uniform(0.42, 0.58)
    columns -= width * rng.uniform(0.42, 0.58)
    angle = np.arctan2(rows, columns)
    radius = min(size) * rng.uniform(0.18, 0.32) * (1 + 0.12 * np.cos(2 * angle) + 0.06 * np.cos(5 * angle))
    lesion = np.hypot(rows, columns) < radius
    skin = np.array([222, 178, 152]) * rng.uniform(0.75, 1.1) + rng.uniform(-10, 10, 3)
    pigment = skin * np.array([0.55, 0.42, 0.36]) * rng.uniform(0.8, 1.2)
    texture = 25 * gaussian_filter(rng.normal(0, 1, (height, width)), 2) + rng.normal(0, 3, (height, width))
    # A soft border as a real lesion has, at the same place as the mask's.
    share = gaussian_filter(lesion.astype(float), 1.5)[..., None]
    image = skin * (1 - share) + pigment * share + texture[..., None]
    return image.clip(0, 255).astype(np.uint8), np.where(lesion, 255, 0).astype(np.uint8)
