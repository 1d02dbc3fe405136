"""ISIC 2016, from the unpacked archives to batches."""

from pathlib import Path

from torchvision.transforms.v2 import Transform

from anomalib_patchgan.data.prepare import OnError, Preparation
from anomalib_patchgan.data.prepare.first_tiles import TileCounts
from anomalib_patchgan.data.prepare.isic2016 import IsicProtocol, IsicSpec, plan_isic2016
from anomalib_patchgan.data.prepared_archive import STRATA, PreparedArchive, Stratum
from anomalib_patchgan.files import ReadLimits

_ID_PATTERNS = {
    # Published split: a tile is a sample of its own, and images are on both sides.
    "paper": ".+",
    "tiles": r"^(.+)_tile-\d+$",
    "images": r"^(.+?)(?:_side-\d)?$",
    "diagnosis": ".+",
}


class ISIC2016(PreparedArchive):
    r"""Dermoscopic photographs with lesion masks and diagnoses (Gutman et al., arXiv:1605.01397).

    Point `root` at the folder that holds the unpacked archives. Images are resized to a square of `image_size` and
    prepared once as 8-bit PNG into `cache_dir`. The official test part is the test, and validation images are taken
    out of the training part; no image is in two splits.

    Protocols:

    - `images`: localisation. Training sees the healthy skin on each side of a lesion, continued by reflection over the
      rest of the image, so that skin has one size in training and test; validation and test are whole images with
      masks, nearly all abnormal, so that pixel metrics count and the image AUROC says nothing.
    - `tiles`: the paper's 32x32 tiles: normal without any lesion, novel with at least 75 % (`stratum` large) or with
      5 to 30 % (small).
    - `paper`: tiles with at least 75 % only, of both parts together, and **the published split, which leaks**: the
      first tiles are the test, so that training and test share images. To repeat the paper, not as evidence.
    - `diagnosis`: whole images, benign is normal and malignant abnormal (Part 3); no masks.

    Args:
        root: Folder that holds `ISBI2016_ISIC_Part1_Training_Data` and the others, or its parent.
        protocol: See above.
        image_size: Height and width that images are resized to, before tiles are cut.
        color_constancy: Scale the channels of every image to the same 75th percentile before anything is cut,
            so that each knows how its colour differs from its image's skin; `paper` never does.
        stratum: `large` or `small` keeps one lesion size of the abnormal tiles; `None` keeps all.
        test_tiles: `paper`: normal test tiles, and novel ones.
        val_tiles: `paper`: the next ones, for validation; the paper has none, anomalib's threshold needs them.
        train_tiles: `paper`: training tiles; `None` for all others.
        val_split_ratio: Share of the training part's images for validation, in (0, 1).
        split_file: CSV file of `id,split` (train, val or test) that replaces parts and ratio.
        cache_dir: Folder that holds what is prepared.
        on_error: `stop` at an image that cannot be used, or `skip` it and list it in the manifest.
        limits: Bounds on what is read from a file.
        workers: Processes that prepare; `None` for one per core.
        train_batch_size: Images per training batch.
        eval_batch_size: Images per validation, test and prediction batch.
        num_workers: Loader processes.
        train_augmentations: Transforms of the training images.
        val_augmentations: Transforms of the validation images.
        test_augmentations: Transforms of the test images.
        augmentations: Transforms of every split that has none of its own.
        seed: Seed of the split: a hash of it with the image's id decides, so that images added later move none.

    Raises:
        ConfigurationError: An argument is out of its range.
        DatasetNotFoundError: When preparing, the archive or a part of it is not there.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = ISIC2016("./datasets/ISIC2016", protocol="diagnosis")
        >>> data.spec.image_size
        256
    """

    def __init__(
        self,
        root: str | Path = "./datasets/ISIC2016",
        protocol: IsicProtocol = "images",
        image_size: int = 256,
        color_constancy: bool = True,
        stratum: Stratum | None = None,
        test_tiles: int = 3000,
        val_tiles: int = 500,
        train_tiles: int | None = None,
        val_split_ratio: float = 0.15,
        split_file: str | Path | None = None,
        cache_dir: str | Path = "./datasets/prepared",
        on_error: OnError = "stop",
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
        self.spec = IsicSpec(
            protocol=protocol,
            image_size=image_size,
            color_constancy=color_constancy,
            tiles=TileCounts(test=test_tiles, val=val_tiles, train=train_tiles),
            val_split_ratio=val_split_ratio,
            split_file=Path(split_file).expanduser() if split_file else None,
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
        """Find the images and split them."""
        return plan_isic2016(self.archive, self.spec, self.limits)
