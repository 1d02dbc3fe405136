"""Synthetic brains to try and test the plugin on, without a download."""

from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.phantom.subjects import PhantomSpec, plan_phantom
from anomalib_patchgan.data.prepared_archive import PreparedArchive


class BrainPhantom(PreparedArchive):
    """Synthetic FLAIR-like axial brain slices with exact lesion masks; synthetic, so no clinical claim.

    Brains come from the ICBM 2009 templates that nilearn ships, each with its own pose, size, deformation and
    ventricles; contrast, coil sensitivity and noise differ as scans of one protocol do. Training subjects are healthy;
    validation and test subjects have one to three lesions: hyper- or hypo-intense, ring-shaped, or of other texture
    only, with radii of 7 to 18 mm. A slice is abnormal with a lesion that a reader would see: a cross-section of at
    least 79 mm2 and a contrast of at least 5 times the noise (sources in `prepare.phantom.lesions`). Slices with
    fainter or smaller ones only are left out; beside a visible one they belong to the mask. The sample table has the
    kind of the largest visible lesion as `stratum`.

    Slices are prepared once, as 8-bit PNG, into a folder of `cache_dir` whose name depends on the parameters; a second
    start reuses it and an interrupted one completes it.

    Args:
        cache_dir: Folder that holds the prepared phantoms.
        train_subjects: Healthy subjects for training.
        val_subjects: Subjects with lesions for validation.
        test_subjects: Subjects with lesions for testing.
        slices_per_subject: Axial slices per subject; those with lesions that nobody would report are left out.
        image_size: Height and width in pixels; the field of view is always 208 mm.
        seed: Seed of the phantom; the same seed gives the same files.
        kwargs: Processes that prepare and what the batches are like: see `PreparedArchive`.

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
        train_subjects: int = 60,
        val_subjects: int = 8,
        test_subjects: int = 16,
        slices_per_subject: int = 20,
        image_size: int = 192,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - those of `PreparedArchive`, where jsonargparse looks them up
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
            seed=seed,
            # Nothing is read that could be unusable.
            on_error="stop",
            limits=None,
            stratum=None,
            strata=(),
            **kwargs,
        )

    def plan(self) -> Preparation:
        """Name the subjects."""
        return plan_phantom(self.spec)
