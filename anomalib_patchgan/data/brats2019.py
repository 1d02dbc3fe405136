"""BraTS 2019, from the unpacked archive to batches."""

from collections.abc import Sequence
from pathlib import Path

from torchvision.transforms.v2 import Transform

from anomalib_patchgan.data.prepare import OnError, Preparation
from anomalib_patchgan.data.prepare.brats2019 import BratsProtocol, BratsSpec, plan_brats2019
from anomalib_patchgan.data.prepare.first_tiles import TileCounts
from anomalib_patchgan.data.prepare.nifti import ReadLimits
from anomalib_patchgan.data.prepared_archive import STRATA, PreparedArchive, Stratum

_ID_PATTERNS = {
    # Published split: a tile is a sample of its own, and patients are on both sides.
    "paper": ".+",
    # Without the visit, which ends a case's name.
    "tiles": r"^(.+?)(?:_\d+)?_slice-\d+",
    "slices": r"^(.+?)(?:_\d+)?_slice-\d+",
}


class BraTS2019(PreparedArchive):
    r"""Axial slices or tiles of skull-stripped MRI with tumours (Menze et al., 2015; Bakas et al., 2017).

    Point `root` at the unpacked training archive. Slices are taken along the anatomical axial axis, whatever the
    order of the file's axes, and prepared once as 8-bit PNG into `cache_dir`.

    Protocols:

    - `slices`: whole axial slices with the whole tumour (labels 1, 2, 4) as mask. Normal is a slice without tumour
      and with enough brain (`min_brain`); slices that only graze the tumour (under 20 mm2) are left out. Split by
      patient.
    - `tiles`: the paper's 32x32 tiles of slices with tumour: normal without any tumour, novel with at least 75 %
      (`stratum` large) or with 5 to 30 % (small); with at most 10 background pixels. Split by patient.
    - `paper`: tiles with at least 75 % only, HGG only, and **the published split, which leaks**: the first tiles of
      the archive are the test, so that training and test share patients. To repeat the paper, not as evidence.

    Intensities: within each volume, 0 to the 99.9th percentile of the brain's voxels becomes 1 to 255, and the
    background stays exactly 0 (`paper`: the volume's minimum and maximum become 0 and 255).

    Args:
        root: `MICCAI_BraTS_2019_Data_Training` or its parent.
        protocol: See above.
        modalities: One of `flair`, `t1`, `t1ce`, `t2`, replicated to RGB, or three as red, green and blue.
        grades: `HGG`, `LGG` or both; `None` takes those that are there, and HGG for `paper`.
        image_size: Height and width that slices are resized to, before tiles are cut; `None` keeps 240.
        slice_range: First and last axial slice, counted from the bottom from 0; `None` takes all.
        min_brain: Least brain of a slice, as a share of the volume's largest cross-section, in (0, 1].
        stratum: `large` or `small` keeps one lesion size of the abnormal tiles; `None` keeps all.
        test_tiles: `paper`: normal test tiles, and novel ones.
        val_tiles: `paper`: the next ones, for validation; the paper has none, anomalib's threshold needs them.
        train_tiles: `paper`: training tiles; `None` for all others.
        val_split_ratio: Share of patients for validation, in (0, 1).
        test_split_ratio: Share of patients for the test, in (0, 1).
        split_file: CSV file of `id,split` (case or patient; train, val or test) that replaces the two ratios.
        cache_dir: Folder that holds what is prepared.
        on_error: `stop` at a case that cannot be used, or `skip` it and list it in the manifest.
        strict: NaN and infinite voxels are errors; otherwise they become background, with a warning.
        limits: Bounds on what is read from a file.
        workers: Processes that prepare; `None` for one per core.
        train_batch_size: Images per training batch.
        eval_batch_size: Images per validation, test and prediction batch.
        num_workers: Loader processes.
        train_augmentations: Transforms of the training images.
        val_augmentations: Transforms of the validation images.
        test_augmentations: Transforms of the test images.
        augmentations: Transforms of every split that has none of its own.
        seed: Seed of the split: a hash of it with the patient's id decides, so that patients added later move none.

    Raises:
        ConfigurationError: An argument is out of its range.
        DatasetNotFoundError: When preparing, the archive or a part of it is not there.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = BraTS2019("./datasets/MICCAI_BraTS_2019_Data_Training", protocol="tiles", stratum="small")
        >>> data.spec.protocol
        'tiles'
    """

    def __init__(
        self,
        root: str | Path = "./datasets/MICCAI_BraTS_2019_Data_Training",
        protocol: BratsProtocol = "slices",
        modalities: str | Sequence[str] = ("flair",),
        grades: str | Sequence[str] | None = None,
        image_size: int | None = None,
        slice_range: tuple[int, int] | None = None,
        min_brain: float = 0.25,
        stratum: Stratum | None = None,
        test_tiles: int = 2200,
        val_tiles: int = 500,
        train_tiles: int | None = None,
        val_split_ratio: float = 0.15,
        test_split_ratio: float = 0.2,
        split_file: str | Path | None = None,
        cache_dir: str | Path = "./datasets/prepared",
        on_error: OnError = "stop",
        strict: bool = False,
        limits: ReadLimits | None = None,
        workers: int | None = None,
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 2,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        seed: int = 0,
    ) -> None:
        self.spec = BratsSpec(
            protocol=protocol,
            modalities=(modalities,) if isinstance(modalities, str) else tuple(modalities),
            grades=(grades,) if isinstance(grades, str) else tuple(grades) if grades else None,
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
        self.archive = Path(root).expanduser()
        self.limits = limits or ReadLimits()
        super().__init__(
            cache_dir=cache_dir,
            id_pattern=_ID_PATTERNS[protocol],
            stratum=stratum,
            strata=STRATA.get(protocol, ()),
            on_error=on_error,
            workers=workers,
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            seed=seed,
        )

    def plan(self) -> Preparation:
        """Find the cases and split them."""
        return plan_brats2019(self.archive, self.spec, self.limits)
