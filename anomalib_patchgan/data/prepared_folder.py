"""Data module for any prepared folder of images, split by patient."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from anomalib.data import AnomalibDataModule, AnomalibDataset, DatasetItem
from anomalib.data.utils import Split, TestSplitMode, ValSplitMode
from torchvision.transforms.v2 import Transform

from anomalib_patchgan.data.prepare.folder import COMPARABLE, MANIFEST
from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.data.prepared_table import make_prepared_table
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import hash_file, read_json


class PreparedFolderDataset(AnomalibDataset):
    """One split of a prepared folder.

    Args:
        table: Sample table as `make_prepared_table` returns it.
        split: Split to keep.
        category: Name of the folder, for anomalib's result paths.
        augmentations: Transforms of image and mask while training or evaluating.

    Items are anomalib's `ImageItem`: image `(3, H, W)` float32 in [0, 1]; mask `(H, W)` of 0 and 1 when the folder
    has masks, all 0 for normal slices; label 0 or 1. Images of different sizes are batched
    at the size to which the model's pre-processor resizes them; without one they need a `Resize`, or anomalib stretches
    a batch to its largest image.

    Example:
        >>> import tempfile
        >>> from anomalib_patchgan import BrainPhantom
        >>> phantom = BrainPhantom(tempfile.mkdtemp(), train_subjects=2, val_subjects=1, test_subjects=1, image_size=64)
        >>> phantom.prepare_data()
        >>> table = make_prepared_table(phantom.root)
        >>> PreparedFolderDataset(table, "test")[0].image.shape
        torch.Size([3, 64, 64])
    """

    def __init__(
        self,
        table: pd.DataFrame,
        split: Split | str,
        category: str = "",
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(augmentations=augmentations)
        self.split = Split(split)
        self.category = category
        self.samples = table[table.split == self.split.value].reset_index(drop=True)

    def __getitem__(self, index: int) -> DatasetItem:
        """Read one item.

        Raises:
            DataError: If the pixels of the image or of its mask cannot be read; only headers were checked before.
        """
        try:
            return super().__getitem__(index)
        except OSError as error:
            row = self.samples.iloc[index]
            files = " or its mask ".join(filter(None, (row.image_path, row.mask_path)))
            msg = f"{files} cannot be read ({error}): replace the file by an intact copy."
            raise DataError(msg) from error


class PreparedFolder(AnomalibDataModule):
    r"""Slices or photographs in a prepared folder, with validation by patient.

    The folder holds `train/normal`, `test/normal`, `test/abnormal`, `test/mask`, and optionally `train/abnormal`
    with `train/mask`, and `val/normal`, `val/abnormal`, `val/mask`; each with images, or with a folder of images per
    patient. A mask has the stem (and folder) of its image; every value above 0 is lesion. Without `val/`, about
    `val_split_ratio` of the training patients become validation patients with all their slices, lesion slices
    included; the lesion slices of the remaining training patients are never used. The choice hashes `seed` and the
    patient's id, so a patient added later moves no other, and no patient is ever in two splits. Headers of images and
    pixels of masks are checked before training starts. A `samples.csv` with paths relative to the folder in its column
    `image` adds its further columns to the sample table.

    Args:
        root: Prepared folder.
        id_pattern: Regular expression searched in each file stem (with its folder, in a folder per patient); group 1,
            or the whole match when it has no group, is the patient id. `None` knows the usual names of slices, see
            `anomalib_patchgan.data.patient_ids`: `TCGA_CS_4942_19970222_05.png` is a slice of `TCGA_CS_4942_19970222`,
            and warns if nearly every image is a patient of its own. Use `.+` for independent images.
        train_batch_size: Images per training batch.
        eval_batch_size: Images per validation, test and prediction batch.
        num_workers: Loader processes. Prepared slices are small, two keep a CPU or one GPU busy.
        train_augmentations: Transforms of the training images.
        val_augmentations: Transforms of the validation images.
        test_augmentations: Transforms of the test images.
        augmentations: Transforms of every split that has none of its own.
        val_split_ratio: Share of training patients taken for validation, in (0, 1); unused when there is `val/`.
        seed: Chooses the validation patients.
        folds: Cross-validation by patient: pool the patients of all splits and test on one of this many equal parts
            of them, chosen by `seed`; `None` keeps the splits on disk.
        fold: Which part is the test split, from 0.

    Raises:
        DatasetNotFoundError: At setup, the folder or a needed part of it is missing or empty.
        DataError: At setup, a file cannot be used, a mask is missing, or a patient is in two splits.
        ConfigurationError: At setup, `id_pattern`, `val_split_ratio`, `folds` or `fold` is not valid.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/normal/P1_01", "train/normal/P2_01", "test/normal/P3_01"):
        ...     path = root / f"{name}.png"
        ...     path.parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("L", (64, 64)).save(path)
        >>> data = PreparedFolder(root, num_workers=0)
        >>> data.setup()
        >>> len(data.train_data), len(data.val_data), len(data.test_data)
        (1, 1, 1)
    """

    def __init__(
        self,
        root: str | Path,
        id_pattern: str | None = None,
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 2,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        val_split_ratio: float = 0.2,
        seed: int = 0,
        folds: int | None = None,
        fold: int = 0,
    ) -> None:
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            val_split_mode=ValSplitMode.FROM_DIR,
            test_split_mode=TestSplitMode.FROM_DIR,
            seed=seed,
        )
        self.root = Path(root).expanduser()
        self.id_pattern = id_pattern
        # Set here because the base class would turn a ratio of 0 into 0.5.
        self.val_split_ratio = val_split_ratio
        self.folds = folds
        self.fold = fold
        self.category = self.root.absolute().name
        # Reading them all takes a while, and every checkpoint asks.
        self._training_images: dict[str, Any] | None = None

    @property
    def volume_recipe(self) -> dict[str, Any] | None:
        """How volumes became these images, for a model to remember; `None` where the manifest does not say."""
        recipe = VolumeRecipe.from_manifest(read_json(self.root / MANIFEST))
        return None if recipe is None else recipe.as_dict()

    @property
    def training_images(self) -> dict[str, Any] | None:
        """Fingerprint of the training images, for a model to remember; `None` before `setup`.

        `count` is their number and `sha256` the SHA-256 of their SHA-256s, sorted and written in hexadecimal digits one
        after the other: it tells whether two models had the same images, whatever their names, and nothing else.
        """
        if self._training_images is None and hasattr(self, "train_data"):
            digests = sorted(hash_file(Path(path)) for path in self.train_data.samples.image_path)
            text = "".join(digests).encode()
            self._training_images = {"count": len(digests), "sha256": hashlib.sha256(text).hexdigest()}
        return None if self._training_images is None else dict(self._training_images)

    @property
    def comparable_intensities(self) -> bool:
        """Whether the same value means the same tissue in all images, because preparation saw more than one of them.

        True for tiles, whose whole image or volume was looked at, and photographs of balanced colours: to scale each
        image by itself would lose what is bright or dark as a whole.
        """
        manifest = read_json(self.root / MANIFEST)
        return bool(manifest and manifest.get(COMPARABLE))

    def _setup(self, _stage: str | None = None) -> None:
        table = make_prepared_table(
            self.root,
            id_pattern=self.id_pattern,
            val_split_ratio=self.val_split_ratio,
            seed=self.seed or 0,
            folds=self.folds,
            fold=self.fold,
        )
        table = self._select(table)
        self._training_images = None
        self.train_data = PreparedFolderDataset(table, Split.TRAIN, self.category)
        self.val_data = PreparedFolderDataset(table, Split.VAL, self.category)
        self.test_data = PreparedFolderDataset(table, Split.TEST, self.category)

    def _select(self, table: pd.DataFrame) -> pd.DataFrame:
        """Choose among the samples; all of them here."""
        return table

    def _create_test_split(self) -> None:
        """Keep the test split as it is on disk.

        anomalib would move half of the training slices into a test split that holds no normal ones.
        """
