"""What the paths of a cohort's volumes say: as BIDS has them, or as a pattern does, such as `*/{case}_flair.nii.gz`.

BIDS is the Brain Imaging Data Structure (https://bids-specification.readthedocs.io, version 1.10).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from anomalib_patchgan.data.prepare.volume_names import ENDING
from anomalib_patchgan.errors import ConfigurationError, DataError

_NAME = re.compile(r"sub-[a-z0-9+]+(?:_[a-z0-9]+-[a-z0-9+]+)*_[a-z0-9]+", re.IGNORECASE | re.ASCII)
# Suffix of the file, and whether it has the entity `ce`, for a contrast agent.
_SUFFIXES = {"flair": ("flair", None), "t1": ("t1w", False), "t1ce": ("t1w", True), "t2": ("t2w", None)}
_MASKS = frozenset({"dseg", "mask"})
# What is derived from the data, or was there before them.
DERIVATIVES = "derivatives"
_NOT_RAW = frozenset({DERIVATIVES, "sourcedata", "code", "phenotype", "stimuli"})
# Entities that say what a derivative is like, and not of which scan it is.
_DESCRIBING = frozenset({"space", "res", "den", "hemi", "label", "desc", "atlas", "seg", "from", "to", "mode", "mod"})
_OWN_SPACES = frozenset({"orig", "native", "individual", "scanner"})
# Masks and segmentations that are not of lesions: the standard's abbreviations, and the words of usual pipelines.
_HEALTHY = frozenset(
    {"bg", "gm", "wm", "csf", "b", "st", "nb", "cgm", "sgm", "bs", "cbm", "brain", "brainmask", "head", "skull"}
    | {"tissue", "bet", "synthstrip", "hdbet", "aseg", "aparcaseg", "ribbon", "cortex", "eyes", "ventricles"}
)
PLACEHOLDERS = ("participant", "case", "modality")
_TOKEN = re.compile(r"(\*\*/|\*+|\?|\{[^{}]*\})")
_WILD = {"**/": "(?:[^/]+/)*", "?": "[^/]"}


@dataclass(frozen=True, kw_only=True)
class BidsName:
    """What the name of a file says.

    Args:
        entities: Such as `sub` and `ses`, in their order.
        suffix: What the file holds, in lower case, such as `flair` or `dseg`.
    """

    entities: Mapping[str, str]
    suffix: str

    @property
    def case(self) -> str:
        """Name of the scan: the entities without `ce`, which differs between the modalities of a session."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if key != "ce")

    @property
    def session(self) -> str:
        """Participant, and session if there are several."""
        return "_".join(f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self.entities)

    @property
    def is_mask(self) -> bool:
        """Whether it is a mask or segmentation that may be of lesions."""
        words = {self.entities.get(key, "").lower() for key in ("label", "desc", "seg", "atlas")}
        return self.suffix in _MASKS and not words & _HEALTHY

    def holds(self, modality: str) -> bool:
        """Tell whether an image is of a modality, which is `flair`, `t1`, `t1ce`, `t2` or a suffix of BIDS."""
        suffix, contrast = _SUFFIXES.get(modality, (modality, None))
        return self.suffix == suffix and contrast in {None, "ce" in self.entities}

    def is_of(self, image: "BidsName") -> bool:
        """Tell whether a mask is of an image: what both names say about the scan agrees, and the spaces do."""
        own = {key: value for key, value in self.entities.items() if key not in _DESCRIBING}
        if any(image.entities.get(key) != value for key, value in own.items()) or self.session != image.session:
            return False
        if self.entities.get("mod", image.suffix).lower() != image.suffix:
            return False
        space, spaces = self.entities.get("space", ""), {"", *_OWN_SPACES, image.suffix}
        return space == image.entities["space"] if "space" in image.entities else space.lower() in spaces


def parse_bids(path: str) -> BidsName | None:
    """Read the name of a NIfTI file.

    Args:
        path: Path relative to the data set, with `/`.

    Returns:
        What it says; `None` if it is no name of BIDS.

    Raises:
        DataError: The file lies in the folder of another participant.

    Example:
        >>> parse_bids("sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz").case
        'sub-01_ses-2'
        >>> parse_bids("sub-01/anat/flair.nii.gz")
    """
    stem = ENDING.sub("", PurePosixPath(path).name)
    if _NAME.fullmatch(stem) is None:
        return None
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs)
    name = BidsName(entities={key.lower(): value for key, value in entities.items()}, suffix=suffix.lower())
    for key, folder in (("sub", part) for part in PurePosixPath(path).parts[:-1] if part.startswith("sub-")):
        if folder != f"{key}-{name.entities[key]}":
            msg = f"{path} lies in the folder of another participant: rename the file or move it."
            raise DataError(msg)
    return name


def is_raw(path: str) -> bool:
    """Tell whether a file is an anatomical image of the data set itself, and no derivative.

    Example:
        >>> is_raw("sub-01/anat/sub-01_FLAIR.nii.gz"), is_raw("derivatives/bet/sub-01/anat/sub-01_FLAIR.nii.gz")
        (True, False)
    """
    folders = PurePosixPath(path).parts[:-1]
    return folders[-1:] == ("anat",) and not _NOT_RAW & set(folders)


class PathPattern:
    """A pattern of paths below a folder, of volumes or their masks.

    `*` and `?` stand for any characters within a name, `**/` for any folders or none; `{case}` and `{participant}` for
    at least one character of a name, and for the same again where they stand again; `{modality}` for the words of the
    modalities. The earlier of two that meet takes as much as it can: `{participant}_{case}` takes `a_b_1` for the case
    `1` of `a_b`. Case does not count, and `.nii` and `.nii.gz` are the same.

    Args:
        text: The pattern, with `/` between folders.
        argument: Name of the argument, for messages.
        words: What `{modality}` may be.

    Raises:
        ConfigurationError: It has neither `{case}` nor `{participant}`, ends in neither `.nii` nor `.nii.gz`, leaves
            the folder, or has another placeholder.

    Example:
        >>> pattern = PathPattern("**/{case}/{case}_flair.nii.gz", "image")
        >>> pattern.match("HGG/P1/P1_FLAIR.NII")
        {'case': 'P1'}
        >>> pattern.match("P1/P2_flair.nii.gz")
    """

    def __init__(self, text: str, argument: str, words: Collection[str] = ()) -> None:
        self.text = text
        self._words = "|".join(map(re.escape, sorted(words)))
        self._argument = argument
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or "\\" in text or text.startswith("~"):
            self._refuse("it must be relative to root, with / between folders")
        if not ENDING.search(text):
            self._refuse("it must end in .nii.gz or .nii")
        stem = ENDING.sub("", path.as_posix())
        self.placeholders = tuple(name for name in PLACEHOLDERS if f"{{{name}}}" in stem)
        if not {"participant", "case"} & set(self.placeholders):
            self._refuse("it needs {case}, where the name of the case stands, or {participant}")
        self._seen: set[str] = set()
        self._regex = re.compile("".join(map(self._translate, _TOKEN.split(stem))), re.IGNORECASE)

    def match(self, path: str) -> dict[str, str] | None:
        """Return what stands for the placeholders in a path relative to the folder; `None` if it does not fit."""
        if not ENDING.search(path):
            return None
        found = self._regex.fullmatch(ENDING.sub("", path))
        return None if found is None else found.groupdict()

    def _translate(self, token: str) -> str:
        if token in _WILD:
            return _WILD[token]
        if token.startswith("*"):
            return "[^/]*"
        if _TOKEN.fullmatch(token) is None:
            if "{" in token or "}" in token:
                self._refuse("it has a brace without its other one")
            return re.escape(token)
        name = token[1:-1]
        if name not in PLACEHOLDERS:
            self._refuse(f"{token} is none of {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}")
        if name in self._seen:
            return f"(?P={name})"
        self._seen.add(name)
        return f"(?P<{name}>{self._words if name == 'modality' else '[^/]+'})"

    def _refuse(self, reason: str) -> None:
        msg = f"{self._argument}={self.text!r} is no pattern, {reason}: write for example */{{case}}_flair.nii.gz."
        raise ConfigurationError(msg)
