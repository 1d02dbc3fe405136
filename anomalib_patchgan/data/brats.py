"""BraTS gliomas of 2018 to 2024, from the unpacked archives to batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from anomalib_patchgan.data.prepare.brats.plan import plan_brats
from anomalib_patchgan.data.prepare.brats.spec import BratsProtocol, BratsSpec
from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.samples import CASE_OF_SLICE
from anomalib_patchgan.data.prepare.tiles import TileCounts
from anomalib_patchgan.data.prepare.volume_names import canonical_modality
from anomalib_patchgan.data.prepared_archive import STRATA, PreparedArchive

_ID_PATTERNS = {
    # Published split: a tile is a sample of its own, and patients are on both sides.
    "paper": ".+",
    # Patients are looked up by the case afterwards.
    "tiles": CASE_OF_SLICE,
    "slices": CASE_OF_SLICE,
}


class BraTS(PreparedArchive):
    r"""Axial slices or tiles of skull-stripped MRI with gliomas (Menze et al., 2015; Bakas et al., 2017).

    Point `root` at an unpacked training archive, or at a folder that holds several years and anything else: cases are
    found by their names, up to six folders down, and all of them make one data set. Slices are taken along the
    anatomical axial axis, whatever the order of the file's axes, and prepared once as 8-bit PNG into `cache_dir`.

    - Names: `Brats18_*`, `BraTS19_*`, `BraTS20_Training_*`, `BraTS2021_*`, and `BraTS-GLI-xxxxx-yyy` of 2023 or, with a
      visit from 100 on, of 2024. `-t2f`, `-t1n`, `-t1c` and `-t2w` are `flair`, `t1`, `t1ce` and `t2`, and either name
      works for every year.
    - Lesion is every label above 0, whatever the year calls it, so that also the resection cavity of 2024 is
      abnormal: it is no healthy tissue. Masks of 0 and 1 are fine.
    - Patients: the visits of one patient are one patient, also where 2018 and 2019, or 2021 to 2024, number it alike.
      A `name_mapping.csv` beside or above the cases tells which patients of other years are the same, and the grades of
      a flat tree; of one scan under two names, the newer is kept and the manifest lists the other in `duplicates`.
      Years whose patients no table connects are warned of, because one patient may be in training and test.
    - Cases without segmentation in folders named after validation or test are left out.

    Protocols:

    - `slices`: whole axial slices with the whole lesion as mask. Normal is a slice without lesion and with enough brain
      (`min_brain`); slices that only graze the lesion (under 20 mm2) are left out. Split by patient. Images show
      `field_mm` around the middle of the brain: 192 pixels of the default 240 mm have 1.25 mm each.
    - `tiles`: the paper's 32x32 tiles of slices with tumour: normal without any tumour, novel with at least 75 %
      (`stratum` large) or with 5 to 30 % (small); with at most 10 background pixels. Split by patient.
    - `paper`: tiles with at least 75 % only, HGG only, and **the published split, which leaks**: the first tiles of
      the archive are the test, so that training and test share patients. To repeat the paper, not as evidence.

    Intensities: within each volume, 0 to the 99.9th percentile of the brain's voxels becomes 1 to 255, and the
    background stays exactly 0 (`paper`: the volume's minimum and maximum become 0 and 255). A few voxels far above the
    others, such as 32,767, become 255 and change nothing else; in `paper` they darken the volume, as published, and are
    warned of.

    Args:
        root: An archive, a folder that holds archives, or a list of such.
        protocol: See above.
        modalities: One of `flair`, `t1`, `t1ce`, `t2`, replicated to RGB, or three as red, green and blue.
        grades: `HGG`, `LGG` or both, which only 2018 to 2020 have; `None` takes all cases, and HGG for `paper`.
        image_size: Height and width of the images of `slices`, `None` for pixels of 1 mm; otherwise what whole slices
            are resized to before tiles are cut, `None` keeps 240.
        slice_range: First and last axial slice, counted from the bottom from 0; `None` takes all.
            `volume` later takes what lies as far from the end of the brain, in millimetres.
        min_brain: Least brain of a slice, as a share of the volume's largest cross-section, in (0, 1].
        test_tiles: `paper`: normal test tiles, and novel ones.
        val_tiles: `paper`: the next ones, for validation; the paper has none, anomalib's threshold needs them.
        train_tiles: `paper`: training tiles; `None` for all others.
        val_split_ratio: Share of patients for validation, in (0, 1).
        test_split_ratio: Share of patients for the test, in (0, 1).
        split_file: CSV file of `id,split` (case or patient; train, val or test) that replaces the two ratios.
        strict: NaN and infinite voxels are errors; otherwise they become background, with a warning.
        seed: Seed of the split: a hash of it with the patient's id decides, so that patients added later move none.
        field_mm: `slices`: side of the square that images show, in millimetres. It lies around the middle of the brain,
            the same for all slices of a scan, and `anomalib-patchgan volume` shows a model the same of any other scan.
        years: Years to read, of 2018, 2019, 2020, 2021, 2023 and 2024; `None` for those that are there.
        kwargs: What all prepared archives have, from `cache_dir` to the batches: see `PreparedArchive`.

    Raises:
        ConfigurationError: An argument is out of its range, or when preparing, a grade that is asked for is not known.
        DatasetNotFoundError: When preparing, an archive, a year or a grade is not there.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = BraTS("./datasets/BraTS", modalities=["t2f"], years=[2021, 2023])
        >>> data.spec.modalities
        ('flair',)
    """

    _name: Literal["brats", "brats2019"] = "brats"

    def __init__(
        self,
        root: str | Path | Sequence[str | Path] = "./datasets/BraTS",
        protocol: BratsProtocol = "slices",
        modalities: str | Sequence[str] = ("flair",),
        grades: str | Sequence[str] | None = None,
        image_size: int | None = None,
        slice_range: tuple[int, int] | None = None,
        min_brain: float = 0.25,
        test_tiles: int = 2200,
        val_tiles: int = 500,
        train_tiles: int | None = None,
        val_split_ratio: float = 0.15,
        test_split_ratio: float = 0.2,
        split_file: str | Path | None = None,
        strict: bool = False,
        seed: int = 0,
        field_mm: float = 240.0,
        years: int | Sequence[int] | None = None,
        **kwargs: Any,  # noqa: ANN401 - those of `PreparedArchive`, where jsonargparse looks them up
    ) -> None:
        words = (modalities,) if isinstance(modalities, str) else modalities
        self.spec = BratsSpec(
            name=self._name,
            years=(years,) if isinstance(years, int) else years if years is None else tuple(years),
            protocol=protocol,
            modalities=tuple(canonical_modality(word) for word in words),
            grades=(grades,) if isinstance(grades, str) else tuple(grades) if grades else None,
            field_mm=field_mm,
            image_size=image_size,
            slice_range=slice_range,
            min_brain=min_brain,
            tiles=TileCounts(test=test_tiles, val=val_tiles, train=train_tiles),
            val_split_ratio=val_split_ratio,
            test_split_ratio=test_split_ratio,
            split_file=Path(split_file).expanduser() if split_file else None,
            strict=strict,
            seed=seed,
        )
        self.archives = [Path(one).expanduser() for one in ([root] if isinstance(root, str | Path) else root)]
        super().__init__(id_pattern=_ID_PATTERNS[protocol], strata=STRATA.get(protocol, ()), seed=seed, **kwargs)

    def plan(self) -> Preparation:
        """Find the cases and split them."""
        return plan_brats(self.archives, self.spec, self.limits)


class BraTS2019(BraTS):
    """`BraTS` with the year fixed: the cases `BraTS19_*`, with the labels of that year, 0, 1, 2 and 4.

    Args:
        root: `MICCAI_BraTS_2019_Data_Training` or its parent.
        kwargs: As for `BraTS`.

    Raises:
        ConfigurationError: An argument is out of its range.
        DatasetNotFoundError: When preparing, the archive or a part of it is not there.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = BraTS2019("./datasets/MICCAI_BraTS_2019_Data_Training", protocol="tiles", stratum="small")
        >>> data.spec.protocol, data.spec.years
        ('tiles', (2019,))
    """

    _name = "brats2019"

    def __init__(
        self,
        root: str | Path = "./datasets/MICCAI_BraTS_2019_Data_Training",
        **kwargs: Any,  # noqa: ANN401 - those of `BraTS` but for `years`
    ) -> None:
        super().__init__(root, years=2019, **kwargs)
