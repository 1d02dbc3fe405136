"""Writes tiny archives of BraTS gliomas in the trees, names and labels that each year published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.brats2019 import write_case

# Archive, and the cases that are written by default; 2018 and 2019 by grade.
TREES: Mapping[int, tuple[str, Sequence[str]]] = {
    2018: (
        "MICCAI_BraTS_2018_Data_Training",
        ("HGG/Brats18_TCIA02_471_1", "HGG/Brats18_CBICA_AOO_1", "LGG/Brats18_2013_8_1"),
    ),
    2019: (
        "MICCAI_BraTS_2019_Data_Training",
        ("HGG/BraTS19_2013_2_1", "HGG/BraTS19_2013_2_2", "HGG/BraTS19_TCIA01_131_1", "LGG/BraTS19_TCIA10_103_1"),
    ),
    2020: (
        "BraTS2020_TrainingData/MICCAI_BraTS2020_TrainingData",
        ("BraTS20_Training_001", "BraTS20_Training_002", "BraTS20_Training_260"),
    ),
    2021: ("BraTS2021_Training_Data", ("BraTS2021_00000", "BraTS2021_00002", "BraTS2021_01482")),
    2023: (
        "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData",
        ("BraTS-GLI-00012-000", "BraTS-GLI-00018-000", "BraTS-GLI-00018-001", "BraTS-GLI-00019-000"),
    ),
    2024: (
        "BraTS2024-BraTS-GLI-TrainingData/training_data1_v2",
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "BraTS-GLI-00463-100", "BraTS-GLI-02073-100"),
    ),
}
_NEW = {"form": "{}-{}", "words": {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w"}}
_YEARS: Mapping[int, Mapping[str, Any]] = {
    # As shared in courses: the whole tumour, in float32.
    2018: {"labels": {2: 1, 4: 1}, "labels_type": np.float32},
    2020: {"suffix": ".nii"},
    2023: {**_NEW, "labels": {4: 3}},
    # The core is a cavity there.
    2024: {**_NEW, "labels": {4: 3, 1: 4, 2: 2}},
}


def write_brats(
    root: Path, year: int, cases: Sequence[str] | None = None, *, archive: str | None = None, **options: Any
) -> Path:
    """Write the archive of a year.

    Args:
        root: Folder that the archive is written into.
        year: Year of the challenge.
        cases: Folders of the cases below the archive.
        archive: Another name of the archive, or "" for none.
        options: Of `write_case`, instead of what the year has.

    Returns:
        The archive.
    """
    name, usual = TREES[year]
    folder = root / (name if archive is None else archive)
    for case in usual if cases is None else cases:
        write_case(
            folder / case, **{"modalities": ("flair",), "shape": (64, 64, 16), **_YEARS.get(year, {}), **options}
        )
    return folder


def write_name_mapping(archive: Path, rows: Sequence[str], *, year: int = 2020) -> Path:
    """Write `name_mapping.csv` of 2018, 2019 or 2020, whose last column is that year."""
    columns = ["Grade", "BraTS_2017_subject_ID", "BraTS_2018_subject_ID", "TCGA_TCIA_subject_ID"]
    columns += [f"BraTS_{later}_subject_ID" for later in range(2019, year + 1)]
    path = archive / "name_mapping.csv"
    path.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")
    return path
