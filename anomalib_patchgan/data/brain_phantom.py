"""Synthetic brains to try and test the plugin on, without a download."""

from pathlib import Path

from torchvision.transforms.v2 import Transform

from anomalib_patchgan.data.prepare import Preparation
from anomalib_patchgan.data.prepare.phantom import PhantomSpec, plan_phantom
from anomalib_patchgan.data.prepared_archive import PreparedArchive


class BrainPhantom(PreparedArchive):
    """Synthetic FLAIR-like axial brain slices with exact lesion masks; synthetic, so no clinical claim.

    Brains come from the ICBM 2009 templates that nilearn ships, each with its own pose, size, deformation, contrast,
    coil sensitivity and noise. Training subjects are healthy; validation and test subjects have two to four
    lesions: hyper- or hypo-intense, ring-shaped, or of other texture only, with radii of 4 to 18 mm. They are
    prepared once, as 8-bit PNG, into a folder of `cache_dir` whose name depends on the parameters; a second start
    reuses it and an interrupted one completes it.

    Args:
        cache_dir: Folder that holds the prepared phantoms.
        train_subjects: Healthy subjects for training.
        val_subjects: Subjects with lesions for validation.
        test_subjects: Subjects with lesions for testing.
        slices_per_subject: Axial slices per subject; those that only graze a lesion are left out.
        image_size: Height and width in pixels; the field of view is always 208 mm.
        seed: Seed of the phantom; the same seed gives the same files.
        workers: Processes that prepare; none for one per core.
        train_batch_size: Images per training batch.
        eval_batch_size: Images per validation, test and prediction batch.
        num_workers: Loader processes.
        train_augmentations: Transforms of the training images.
        val_augmentations: Transforms of the validation images.
        test_augmentations: Transforms of the test images.
        augmentations: Transforms of every split that has none of its own.

    Raises:
        ConfigurationError: A number is out of its range.

    Example:
        >>> import tempfile
        >>> data = BrainPhantom(
        ...     tempfile.mkdtemp(), train_subjects=2, val_subjects=1, test_subjects=1, image_size=64, num_workers=0
        ... )
        >>> data.prepare_data()
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).image.shape
        torch.Size([32, 3, 64, 64])
    """

    def __init__(
        self,
        cache_dir: str | Path = "./datasets/BrainPhantom",
        train_subjects: int = 24,
        val_subjects: int = 6,
        test_subjects: int = 12,
        slices_per_subject: int = 20,
        image_size: int = 128,
        seed: int = 0,
        workers: int | None = None,
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 2,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
    ) -> None:
        self.spec = PhantomSpec(
            train_subjects=train_subjects,
            val_subjects=val_subjects,
            test_subjects=test_subjects,
            slices_per_subject=slices_per_subject,
            image_size=image_size,
            seed=seed,
        )
        super().__init__(
            cache_dir=cache_dir,
            id_pattern=r"^sub-\d+",
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
        """Name the subjects."""
        return plan_phantom(self.spec)
