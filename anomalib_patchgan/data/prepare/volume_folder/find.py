"""The scans of a cohort: which files below a folder are images, which are masks, and which belong together."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from anomalib_patchgan.data.prepare.volume_folder.names import DERIVATIVES, BidsName, PathPattern, is_raw, parse_bids
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.data.prepare.volume_names import (
    ENDING,
    bids_participant,
    canonical_modality,
    parse_name,
    words_for,
)
from anomalib_patchgan.data.prepare.walk import WalkLimits, describe_missing, is_folder, walk
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import check_id

logger = logging.getLogger(__name__)

# `derivatives/pipeline/sub-01/ses-01/anat` is at 5.
LIMITS = WalkLimits(what="cohort's", depth=8, in_folder=200_000, entries=500_000)


@dataclass(kw_only=True)
class Scan:
    """One scan of a participant.

    Args:
        name: Name of the case.
        patient: The participant.
        images: File of each modality, relative to the folder.
        masks: Masks that may be its own; one at most is right.
        shared: A mask that may as well be another scan's.
        group: `normal` or `abnormal`; `None` where nothing says it. Set by `choose_scans`, as what follows is.
        split: Split of the participant, where the table says it.
        left_out: Why the scan cannot be used; empty if it can.
    """

    name: str
    patient: str
    images: dict[str, str] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)
    shared: str | None = None
    group: str | None = None
    split: str | None = None
    left_out: str = ""

    def problem(self, root: Path, spec: VolumeFolderSpec) -> PatchGanError | None:
        """Say what is wrong with the files; `None` for nothing."""
        missing = [name for name in spec.modalities if name not in self.images]
        if missing:
            there = root / next(iter(self.images.values()))
            return DatasetNotFoundError(f"{self.name} has no {' and no '.join(missing)} beside {there}: add the file.")
        if self.shared is not None:
            return DataError(
                f"{root / self.shared} may be of {self.name} or of another scan: give --data.image PATTERN."
            )
        if len(self.masks) > 1:
            first, second = (root / name for name in self.masks[:2])
            return DataError(f"{first} and {second} are both masks of {self.name}: choose with --data.mask PATTERN.")
        return None


def find_scans(root: Path, spec: VolumeFolderSpec) -> list[Scan]:
    """Find the scans below a folder.

    Args:
        root: The folder.
        spec: Patterns, or none for BIDS, and modalities.

    Returns:
        The scans by name.

    Raises:
        DatasetNotFoundError: There is no image.
        DataError: Two images are of one modality of a scan, or a name cannot be a file name.
        ConfigurationError: A pattern is not valid or takes all images for masks, or there is far too much below the
            root.
    """
    pattern, mask_pattern = _patterns(spec)
    files = _list_volumes(root) if root.is_dir() else []
    masks = {path: found for path in files if mask_pattern and (found := mask_pattern.match(path))}
    images = [path for path in files if path not in masks]
    scans: dict[str, Scan] = {}
    if pattern is not None:
        for path, found in _images_of_pattern(images, pattern):
            modality = canonical_modality(found.get("modality", spec.modalities[0]))
            _add(root, scans, Scan(name=_case(found), patient=_patient(found)), modality, path)
    else:
        named = {path: name for path in images if (name := parse_bids(path))}
        for path, name in named.items():
            modality = next((word for word in spec.modalities if name.holds(word)), "")
            if modality and is_raw(path):
                case = name.case if len(spec.modalities) == 1 else name.session
                _add(root, scans, Scan(name=case, patient=f"sub-{name.entities['sub']}"), modality, path)
        if mask_pattern is None:
            _add_bids_masks(scans, named)
    if not scans:
        taken = [path for path in masks if pattern is not None and pattern.match(path)]
        if taken:
            msg = (
                f"mask={spec.mask!r} takes the files that image={spec.image!r} fits, {len(taken)} such as {taken[0]}: "
                "give the masks a pattern that no image fits."
            )
            raise ConfigurationError(msg)
        raise DatasetNotFoundError(_describe_nothing(root, spec, files))
    if mask_pattern is not None:
        _add_masks(scans, masks)
    _join_spellings(scans.values())
    return [scans[key] for key in sorted(scans)]


def _patterns(spec: VolumeFolderSpec) -> tuple[PathPattern | None, PathPattern | None]:
    words = {word for modality in spec.modalities for word in words_for(modality)}
    image = None if spec.image is None else PathPattern(spec.image, "image", words)
    mask = None if spec.mask is None else PathPattern(spec.mask, "mask")
    if image and len(spec.modalities) > 1 and "modality" not in image.placeholders:
        msg = f"image={spec.image!r} needs {{modality}} for several modalities, such as */{{case}}_{{modality}}.nii.gz."
        raise ConfigurationError(msg)
    own = {"case"} if image is None else set(image.placeholders) - {"modality"}
    if mask and set(mask.placeholders) != own:
        there = " and ".join(f"{{{name}}}" for name in sorted(own))
        msg = f"mask={spec.mask!r} must have {there} as the images have, and no other placeholder."
        raise ConfigurationError(msg)
    return image, mask


def _list_volumes(root: Path) -> list[str]:
    """Return the NIfTI files below a folder; of two that differ in compression alone, the compressed one."""
    found: dict[str, str] = {}
    lost = []
    for folder, entries in walk(root, LIMITS):
        base = folder.relative_to(root)
        for entry in entries:
            if not ENDING.search(entry.name) or is_folder(entry):
                continue
            path = (base / entry.name).as_posix()
            key = ENDING.sub("", path)
            if not (root / path).is_file():
                lost.append(path)
            elif not found.get(key, "").lower().endswith(".gz"):
                found[key] = path
    if lost:
        message = "%d files such as %s are links to nothing or no regular files and are left out: fetch them first"
        logger.warning(message, len(lost), lost[0])
    return sorted(found.values())


def _images_of_pattern(files: Iterable[str], pattern: PathPattern) -> list[tuple[str, dict[str, str]]]:
    found = [(path, match) for path in files if (match := pattern.match(path))]
    names = {path: parse_name(PurePosixPath(path).name) for path, _ in found}
    masks = [path for path, name in names.items() if name and not name.is_image]
    if masks:
        logger.warning("%d files such as %s have names of masks and are no images", len(masks), masks[0])
    return [(path, match) for path, match in found if path not in set(masks)]


def _case(found: Mapping[str, str]) -> str:
    return "_".join(found[name] for name in ("participant", "case") if name in found)


def _patient(found: Mapping[str, str]) -> str:
    """Return the participant; without a word of its own, that of a name of BIDS, or the case."""
    if "participant" in found:
        return found["participant"]
    return bids_participant(found["case"]) or found["case"]


def _add(root: Path, scans: dict[str, Scan], new: Scan, modality: str, path: str) -> None:
    for name in (new.name, new.patient):
        check_id(name, root / path)
    # File systems of Windows and macOS take names that differ in case only for one.
    scan = scans.setdefault(new.name.casefold(), new)
    if modality in scan.images or scan.name != new.name:
        other = root / scan.images.get(modality, next(iter(scan.images.values())))
        msg = f"{other} and {root / path} are both the {modality} of {scan.name}: remove one, or change the pattern."
        raise DataError(msg)
    scan.images[modality] = path


def _join_spellings(scans: Iterable[Scan]) -> None:
    """Take `P1` and `p1` for one participant."""
    spelling: dict[str, str] = {}
    for scan in scans:
        scan.patient = spelling.setdefault(scan.patient.casefold(), scan.patient)


def _add_masks(scans: Mapping[str, Scan], masks: Mapping[str, dict[str, str]]) -> None:
    alone = []
    for path, found in masks.items():
        scan = scans.get(_case(found).casefold())
        if scan is None:
            alone.append(path)
        else:
            scan.masks.append(path)
    _warn_of_single_masks(alone, len(masks))


def _add_bids_masks(scans: Mapping[str, Scan], named: Mapping[str, BidsName]) -> None:
    masks = {path: name for path, name in named.items() if name.is_mask and DERIVATIVES in PurePosixPath(path).parts}
    # Masks of large cohorts are compared with the images of their own session only.
    images: dict[str, list[tuple[Scan, BidsName]]] = defaultdict(list)
    for scan in scans.values():
        for path in scan.images.values():
            images[named[path].session].append((scan, named[path]))
    alone = []
    for path, name in masks.items():
        owners = {scan.name: scan for scan, image in images[name.session] if name.is_of(image)}
        for scan in owners.values():
            scan.masks.append(path)
            scan.shared = path if len(owners) > 1 else scan.shared
        if not owners:
            alone.append(path)
    _warn_of_single_masks(alone, len(masks))


def _warn_of_single_masks(alone: list[str], number: int) -> None:
    if alone:
        logger.warning("%d of %d masks such as %s belong to no image and are left out", len(alone), number, alone[0])


def _describe_nothing(root: Path, spec: VolumeFolderSpec, files: list[str]) -> str:
    wanted = " or ".join(spec.modalities)
    expected = (
        f"{spec.image} below it"
        if spec.image
        else f"sub-*/[ses-*/]anat/*_SUFFIX.nii.gz with {wanted} as in BIDS; otherwise give --data.image PATTERN"
    )
    files = sorted(files, key=lambda path: (path.count("/"), path))
    there = f" Volumes there: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}." if files else ""  # noqa: PLR2004
    return f"{describe_missing(root, expected)}{there}"
