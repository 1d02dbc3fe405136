"""What the name of a NIfTI file says: its ending, case, and what it holds; one rule for all who read names."""

import re
from dataclasses import dataclass

SUFFIXES = (".nii.gz", ".nii")
ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
# Modalities of the BraTS challenges to 2021, and their words since 2023.
MODALITIES = ("flair", "t1", "t1ce", "t2")
NEW_WORDS = {"t2f": "flair", "t1n": "t1", "t1c": "t1ce", "t2w": "t2"}
SEGMENTATION = "seg"
# Last words of the names of segmentations, and of the maps that are written here.
_NO_IMAGES = frozenset({
    SEGMENTATION, "segmentation", "dseg", "probseg", "mask", "label", "labels", "labelmap", "lesion", "lesions", "roi",
    "tumor", "tumour", "anomaly",
})  # fmt: skip
_WORDS = re.compile(r"(?P<case>.+?)[_.-](?P<word>[^_.-]+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class VolumeName:
    """What the name of a NIfTI file says.

    Args:
        case: The name without its ending and the word for what it holds.
        word: Modality under its name to 2021, or another last word, in lower case; empty if the name is one word.
    """

    case: str
    word: str

    @property
    def is_image(self) -> bool:
        """Whether it may be an image: segmentations and maps say what they are."""
        return self.word not in _NO_IMAGES


def parse_name(name: str) -> VolumeName | None:
    """Read the name of a file; `None` if it is none of NIfTI.

    Example:
        >>> parse_name("BraTS-GLI-00012-000-T2F.NII.gz")
        VolumeName(case='BraTS-GLI-00012-000', word='flair')
        >>> parse_name("scan.nii"), parse_name("a_flair.json"), parse_name("a_flair_seg.nii.gz").is_image
        (VolumeName(case='scan', word=''), None, False)
    """
    if not is_nifti(name):
        return None
    stem = ENDING.sub("", name)
    match = _WORDS.fullmatch(stem)
    if match is None:
        return VolumeName(case=stem, word="segmentation" if stem.lower() in _NO_IMAGES else "")
    return VolumeName(case=match["case"], word=canonical_modality(match["word"]))


def is_nifti(name: str) -> bool:
    """Tell whether a file name ends as NIfTI files do, in upper or lower case.

    Example:
        >>> is_nifti("a.NII.GZ"), is_nifti(".nii"), is_nifti("a.nii.zip")
        (True, False, False)
    """
    return bool(ENDING.search(name)) and bool(ENDING.sub("", name))


def canonical_modality(word: str) -> str:
    """Return the modality's name up to 2021; an unknown word stays as it is.

    Example:
        >>> canonical_modality("T2F"), canonical_modality("flair"), canonical_modality("pet")
        ('flair', 'flair', 'pet')
    """
    return NEW_WORDS.get(word.lower(), word.lower())


def words_for(modality: str) -> list[str]:
    """Return the words that a modality has in names of files.

    Example:
        >>> words_for("flair"), words_for("pet")
        (['flair', 't2f'], ['pet'])
    """
    return [modality, *(new for new, old in NEW_WORDS.items() if old == modality)]


def bids_participant(name: str) -> str | None:
    """Return the participant that a name in BIDS begins with; `None` if it begins otherwise.

    Example:
        >>> bids_participant("sub-01_ses-2_FLAIR"), bids_participant("case_2")
        ('sub-01', None)
    """
    match = re.match(r"sub-[^_]+", name)
    return match[0] if match else None
