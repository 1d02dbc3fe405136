"""Cohorts of NIfTI volumes, in BIDS or in any other form, from their folder to batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.planes import Plane
from anomalib_patchgan.data.prepare.samples import CASE_OF_SLICE
from anomalib_patchgan.data.prepare.volume_folder.plan import plan_volume_folder
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec, VolumeProtocol
from anomalib_patchgan.data.prepare.volume_names import canonical_modality
from anomalib_patchgan.data.prepared_archive import STRATA, PreparedArchive


class VolumeFolder(PreparedArchive):
    r"""Slices or tiles of any cohort of NIfTI volumes, with or without lesion masks, split by patient.

    Slices are taken along an anatomical plane, whatever the order of the files' axes, and prepared once as 8-bit PNG
    into `cache_dir`. Files may be links to elsewhere, as DataLad keeps them; `.nii` and upper case are fine.

    Where the files are:

    - BIDS, without `image`: `sub-*/[ses-*/]anat/*_FLAIR.nii.gz` (`T1w`, `T2w` and others by `modalities`), and of
      `derivatives/` the `*_dseg.nii.gz` or `*_mask.nii.gz` whose name agrees with the image's; masks of the brain and
      its tissues are none of lesions. `participants.tsv` counts if it is there.
    - Patterns below `root`: `image="*/{case}_flair.nii.gz"`, `mask="*/{case}_seg.nii.gz"`. `*` and `?` stand for
      characters of a name, `**/` for any folders; `{case}` is where image and mask have the same word, the name of the
      scan; `{participant}`, where there is one, says whose several scans are; `{modality}` is needed for three.

    What is healthy:

    - A scan with a mask has healthy slices, those without a lesion; a mask of zeros says that all are. Every value of a
      mask above 0 is lesion.
    - `participants` is a CSV or TSV table with `participant_id`, `group` (`normal` or `abnormal`) and, if wanted,
      `split` (`train`, `val` or `test`). Scans of the group `normal` need no mask. Where there are such, only they
      train unless `split` says otherwise: healthy volunteers are the training set, patients validate and test.
    - Other scans without a mask are left out, which is warned of and listed in the manifest (`left_out`), as are scans
      that the table does not name. If no scan at all has a mask, all slices of `abnormal` ones count as abnormal.

    Protocols are `slices`, whole slices with the lesion as mask, without those that only graze it (under 20 mm2); and
    `tiles`, the 32x32 tiles of `BraTS` with their strata, of slices with lesion and of healthy scans.

    Intensities: within each volume, the value of the background to the 99.9th percentile of the foreground becomes 1 to
    255, and the background 0. In skull-stripped images it is what has the value of their border, such as 0, otherwise
    what Otsu's method and the largest component leave.

    Args:
        root: Folder of the cohort.
        image: Pattern of the images; `None` for BIDS.
        mask: Pattern of their masks; `None` for those of BIDS, or none. In BIDS, `{case}` is the name of an image
            without its suffix, such as `sub-01_ses-2`.
        protocol: See above.
        modalities: One, replicated to RGB, or three as red, green and blue: `flair`, `t1`, `t1ce`, `t2`, or a word of
            your own, in BIDS a suffix.
        participants: Table of participants, see above.
        plane: `axial` (counted from the bottom), `coronal` (from the front) or `sagittal` (from the right).
        skull_stripped: Whether the background is one value, such as 0, which is checked; otherwise the head is found,
            and skull and scalp belong to it.
        field_mm: Side of the square around the foreground that images show, and tiles are cut from, in millimetres.
        image_size: Height and width of this square in pixels; `None` for pixels of 1 mm.
        slice_range: First and last slice, counted from 0; `None` takes all.
            `volume` later takes what lies as far from the end of the brain, in millimetres.
        min_brain: Least foreground of a slice, as a share of the volume's largest cross-section, in (0, 1].
        val_split_ratio: Share of patients for validation, in (0, 1); where healthy ones train, share of these.
        test_split_ratio: Share of patients for the test, in (0, 1); where healthy ones train, share of these.
        split_file: CSV file of `id,split` (case or patient; train, val or test) that replaces all other splits.
        strict: NaN and infinite voxels are errors; otherwise they become background, with a warning.
        seed: Seed of the split: a hash of it with the patient's id decides, so that patients added later move none.
        kwargs: What all prepared archives have, from `cache_dir` to the batches: see `PreparedArchive`.

    Raises:
        ConfigurationError: An argument is out of its range, or when preparing, a pattern is not valid or no scan left.
        DatasetNotFoundError: When preparing, there is no image, table or split file.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = VolumeFolder("./datasets/cohort", image="*/{case}_flair.nii.gz", mask="*/{case}_seg.nii.gz")
        >>> data.spec.plane, data.spec.modalities
        ('axial', ('flair',))
    """

    def __init__(
        self,
        root: str | Path,
        image: str | None = None,
        mask: str | None = None,
        protocol: VolumeProtocol = "slices",
        modalities: str | Sequence[str] = ("flair",),
        participants: str | Path | None = None,
        plane: Plane = "axial",
        skull_stripped: bool = True,
        field_mm: float = 240.0,
        image_size: int | None = None,
        slice_range: tuple[int, int] | None = None,
        min_brain: float = 0.25,
        val_split_ratio: float = 0.15,
        test_split_ratio: float = 0.2,
        split_file: str | Path | None = None,
        strict: bool = False,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - those of `PreparedArchive`, where jsonargparse looks them up
    ) -> None:
        words = (modalities,) if isinstance(modalities, str) else modalities
        self.spec = VolumeFolderSpec(
            protocol=protocol,
            image=image,
            mask=mask,
            modalities=tuple(canonical_modality(word) for word in words),
            participants=Path(participants).expanduser() if participants else None,
            plane=plane,
            skull_stripped=skull_stripped,
            field_mm=field_mm,
            image_size=image_size,
            slice_range=slice_range,
            min_brain=min_brain,
            val_split_ratio=val_split_ratio,
            test_split_ratio=test_split_ratio,
            split_file=Path(split_file).expanduser() if split_file else None,
            strict=strict,
            seed=seed,
        )
        self.volumes_root = Path(root).expanduser()
        super().__init__(id_pattern=CASE_OF_SLICE, strata=STRATA.get(protocol, ()), seed=seed, **kwargs)

    def plan(self) -> Preparation:
        """Find the scans and split them."""
        return plan_volume_folder(self.volumes_root, self.spec, self.limits)
