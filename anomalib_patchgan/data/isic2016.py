"""ISIC 2016, from the unpacked archives to batches."""

from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.isic2016 import IsicProtocol, IsicSpec, plan_isic2016
from anomalib_patchgan.data.prepare.tiles import TileCounts
from anomalib_patchgan.data.prepared_archive import STRATA, PreparedArchive

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
        test_tiles: `paper`: normal test tiles, and novel ones.
        val_tiles: `paper`: the next ones, for validation; the paper has none, anomalib's threshold needs them.
        train_tiles: `paper`: training tiles; `None` for all others.
        val_split_ratio: Share of the training part's images for validation, in (0, 1).
        split_file: CSV file of `id,split` (train, val or test) that replaces parts and ratio.
        seed: Seed of the split: a hash of it with the image's id decides, so that images added later move none.
        kwargs: What all prepared archives have, from `cache_dir` to the batches: see `PreparedArchive`.

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
        test_tiles: int = 3000,
        val_tiles: int = 500,
        train_tiles: int | None = None,
        val_split_ratio: float = 0.15,
        split_file: str | Path | None = None,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - those of `PreparedArchive`, where jsonargparse looks them up
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
        super().__init__(id_pattern=_ID_PATTERNS[protocol], strata=STRATA.get(protocol, ()), seed=seed, **kwargs)

    def plan(self) -> Preparation:
        """Find the images and split them."""
        return plan_isic2016(self.archive, self.spec, self.limits)
