"""Writes tiny archives in the official layout of BraTS 2019: brains of noise and waves, with nested lesions."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

ARCHIVE = "MICCAI_BraTS_2019_Data_Training"
HGG = ("BraTS19_2013_1_1", "BraTS19_2013_2_1", "BraTS19_2013_3_1", "BraTS19_CBICA_AAB_1", "BraTS19_TCIA01_131_1")
LGG = ("BraTS19_TCIA09_141_1", "BraTS19_TCIA10_103_1")
MODALITIES = ("flair", "t1", "t1ce", "t2")
# Voxels lie in LPS order: the first axis runs from the patient's right to left, the second from front to back.
AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]], float)

# Brightness of healthy tissue, core (1), edema (2) and enhancing tumour (4), relative to the case's gain.
_CONTRAST = {
    "flair": {0: 1.0, 1: 1.3, 2: 1.8, 4: 1.6},
    "t1": {0: 1.0, 1: 0.6, 2: 0.8, 4: 0.7},
    "t1ce": {0: 1.0, 1: 0.6, 2: 0.8, 4: 1.9},
    "t2": {0: 1.0, 1: 1.6, 2: 1.7, 4: 1.5},
}


def write_brats2019(
    root: str | Path,
    *,
    hgg: Sequence[str] = HGG,
    lgg: Sequence[str] = LGG,
    modalities: Sequence[str] = MODALITIES,
    shape: tuple[int, int, int] = (96, 104, 24),
    seed: int = 0,
    suffix: str = ".nii.gz",
    name_mapping: bool = True,
) -> Path:
    """Write an archive as the organizers publish it.

    Images are int16, some hundreds in the brain and exactly 0 outside, brighter towards the patient's front and left,
    with another gain per case; segmentations are uint8 with the labels 0, 1, 2 and 4. With the default shape, the
    middle 32x32 tile of some axial slices is at least 75 % lesion, the lesion's rim reaches into its neighbours, and
    several slices above and below it are lesion-free; the first and the last slice are empty. A case's voxels
    depend on `seed` and its name only, and equal arguments give equal bytes.

    Args:
        root: Folder to write the archive into; made if missing.
        hgg: High-grade cases.
        lgg: Low-grade cases; none leaves out the folder.
        modalities: Images of each case, beside its segmentation.
        shape: Voxels `(X, Y, Z)` of 1 mm.
        seed: Seed of the voxels.
        suffix: `.nii.gz` or `.nii`.
        name_mapping: Also write `name_mapping.csv`.

    Returns:
        The folder `MICCAI_BraTS_2019_Data_Training`.
    """
    archive = Path(root) / ARCHIVE
    archive.mkdir(parents=True, exist_ok=True)
    for grade, names in {"HGG": hgg, "LGG": lgg}.items():
        for name in names:
            write_case(archive / grade / name, modalities=modalities, shape=shape, seed=seed, suffix=suffix)
    if name_mapping:
        lines = ["Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID"]
        lines += [f"{grade},NA,NA,NA,{name}" for grade, names in {"HGG": hgg, "LGG": lgg}.items() for name in names]
        (archive / "name_mapping.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return archive


def write_case(
    folder: Path,
    *,
    modalities: Sequence[str] = MODALITIES,
    shape: tuple[int, int, int] = (96, 104, 24),
    seed: int = 0,
    suffix: str = ".nii.gz",
    form: str = "{}_{}",
    words: Mapping[str, str] | None = None,
    labels: Mapping[int, int] | None = None,
    labels_type: type = np.uint8,
) -> Path:
    """Write one case into a folder that has its name; see `write_brats2019`.

    Args:
        folder: Folder of the case; made.
        modalities: Images, beside the segmentation.
        shape: Voxels `(X, Y, Z)` of 1 mm.
        seed: Seed of the voxels.
        suffix: Ending of the files.
        form: Makes the name of a file of the case's name and the word for what it holds.
        words: Other words than `MODALITIES`.
        labels: Other labels than 0, 1, 2 and 4, by these.
        labels_type: Type of the segmentation's voxels.
    """
    name = folder.name
    rng = np.random.default_rng([seed, *name.encode()])
    brain, segmentation = _segment(rng, shape)
    tissue = _tissue(rng, shape)
    table = np.array([(labels or {}).get(label, label) for label in range(5)], labels_type)
    folder.mkdir(parents=True)
    write_nifti(folder / f"{form.format(name, 'seg')}{suffix}", table[segmentation])
    for number, modality in enumerate(MODALITIES):
        if modality in modalities:
            noise = np.random.default_rng([seed, number, *name.encode()]).normal(0, 0.04, shape)
            image = tissue * _contrast(segmentation, modality) * (1 + noise)
            path = folder / f"{form.format(name, (words or {}).get(modality, modality))}{suffix}"
            write_nifti(path, np.where(brain, image, 0).astype(np.int16))
    return folder


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Write one volume with the header of the official files; the same voxels give the same bytes."""
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix.lower() == ".gz" else content)


def _offsets(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Return the distance of each voxel to the volume's middle along each axis, in voxels."""
    return [index - (size - 1) / 2 for index, size in zip(np.ogrid[tuple(map(slice, shape))], shape, strict=True)]


def _segment(rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the brain, `(X, Y, Z)` bool, and the lesion's labels, uint8."""
    x, y, z = _offsets(shape)
    # Squarer than an ellipsoid, so that whole tiles beside the middle one lie inside the brain.
    brain = (2 * x / shape[0]) ** 4 + (2 * y / shape[1]) ** 4 + (z / (0.45 * shape[2])) ** 4 < 1
    x, y, z = (offset - rng.uniform(-2, 2) * size / 96 for offset, size in zip((x, y, z), shape, strict=True))
    radius, height = 0.24 * min(shape[:2]), 0.22 * shape[2]
    wobble = 1 + 0.08 * np.cos(3 * np.arctan2(y, x) + rng.uniform(0, 6))
    distance = np.sqrt((x**2 + y**2) / (radius * wobble) ** 2 + (z / height) ** 2)
    labels = np.select([distance < 0.4, distance < 0.6, distance < 1], [4, 1, 2], 0).astype(np.uint8)
    return brain, labels


def _tissue(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Return healthy tissue of one brightness per case, `(X, Y, Z)` float."""
    x, y, z = _offsets(shape)
    waves = np.cos(x / 4 + rng.uniform(0, 6)) + np.cos(y / 5 + z / 2 + rng.uniform(0, 6))
    return rng.uniform(250, 700) * (1 + 0.06 * waves + 0.3 * (x / shape[0] - y / shape[1]))


def _contrast(labels: np.ndarray, modality: str) -> np.ndarray:
    table = np.ones(5)
    for label, value in _CONTRAST[modality].items():
        table[label] = value
    return table[labels]
