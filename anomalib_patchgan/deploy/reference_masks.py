"""Finds the reference masks of cases: one file, a folder of them, or a pattern of paths."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from anomalib_patchgan.data.prepare.volume_names import ENDING, VolumeName, is_nifti
from anomalib_patchgan.deploy.volume_files import VolumeCase, name_some, read_name
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError

OPTION = "--masks"
# Words of the maps that are written here, which are no references.
_ANOMALY = "anomaly"
_SPECIAL = re.compile(r"[*?{]")

logger = logging.getLogger(__name__)


def find_masks(source: str, cases: Sequence[VolumeCase], output: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the masks of cases.

    Args:
        source: What `--masks` got: the mask of a single case; a folder with masks at any depth, `<case>_seg.nii.gz` or
            another word for a mask, in BIDS those of the images by their names, or `<case>.nii.gz`; or a pattern such
            as `FOLDER/*/{case}_seg.nii.gz`, see `PathPattern`.
        cases: The cases.
        output: Folder of the results, whose masks are no references.

    Returns:
        The mask of each case, and why a case has none. Files of no case are named in a warning.

    Raises:
        DatasetNotFoundError: There is no such file or folder, or no mask of any case in it.
        ConfigurationError: One mask is given for several cases or is of another case by its name, or the pattern is
            not valid.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a_seg.nii.gz", "b_mask.nii", "b_seg.nii"):
        ...     (folder / name).touch()
        >>> cases = [VolumeCase(name=name, paths={}) for name in ("a", "b")]
        >>> masks, problems = find_masks(str(folder), cases, folder / "out")
        >>> {case: path.name for case, path in masks.items()}, list(problems)
        ({'a': 'a_seg.nii.gz'}, ['b'])
    """
    path = Path(source).expanduser()
    if path.is_file():
        return {cases[0].name: _single(path, cases)}, {}
    if path.is_dir():
        folder, found = path, _of_folder(path, cases, output)
    elif _SPECIAL.search(source):
        folder, found = _of_pattern(path, cases, output)
    else:
        msg = f"{path} does not exist: give a mask, a folder of masks or FOLDER/{{case}}_seg.nii.gz as {OPTION}."
        raise DatasetNotFoundError(msg)
    if not any(found.values()):
        first = f"{cases[0].name}_seg.nii.gz"
        msg = (
            f"{source} holds no mask of any case: name them after the cases, such as {first}, or give a pattern such "
            f"as {folder}/{{case}}_seg.nii.gz as {OPTION}."
        )
        raise DatasetNotFoundError(msg)
    problems = {}
    for name, paths in found.items():
        if not paths:
            problems[name] = (
                f"{name} has no mask in {source}: add it, of zeros for a healthy case, or leave the case out."
            )
        elif len(paths) > 1:
            problems[name] = f"{paths[0]} and {paths[1]} are both masks of {name}: choose by a pattern as {OPTION}."
    return {name: paths[0] for name, paths in found.items() if name not in problems}, problems


def _single(path: Path, cases: Sequence[VolumeCase]) -> Path:
    """Check that one file may be the mask of the only case."""
    if len(cases) > 1:
        msg = f"{path} is one mask, and there are {len(cases)} cases: give a folder or a pattern as {OPTION}."
        raise ConfigurationError(msg)
    name, case = read_name(path, path.parent), cases[0]
    if not is_nifti(path.name):
        msg = f"{path} is no NIfTI file by its name: give a mask that ends in .nii.gz or .nii as {OPTION}."
        raise ConfigurationError(msg)
    names_one = name is not None and _is_mask(name) and name.case != ENDING.sub("", path.name)
    own = re.search(rf"(?:^|[_.-]){re.escape(case.name)}[_.-]", path.name)
    # The name of a case of DICOM is made here, and nobody's masks have it.
    if name is not None and names_one and own is None and type(case) is VolumeCase:
        msg = f"{path} is the mask of {name.case} by its name, and the case is {case.name}: give its own as {OPTION}."
        raise ConfigurationError(msg)
    return path


def _of_folder(folder: Path, cases: Sequence[VolumeCase], output: Path) -> dict[str, list[Path]]:
    """Find the files of a folder that are masks of cases by their names, by case."""
    files = _list(folder, cases, output)
    named = {path: name for path, name in files.items() if _is_mask(name)}
    found: dict[str, list[Path]] = {}
    for case in cases:
        masks = [path for path, name in named.items() if name.case == case.name]
        masks = masks or [path for path in named if _is_of_image(path, case)]
        found[case.name] = masks or [path for path in files if ENDING.sub("", path.name) == case.name]
    _name_others(folder, [path for path in named if not any(path in paths for paths in found.values())])
    return found


def _of_pattern(path: Path, cases: Sequence[VolumeCase], output: Path) -> tuple[Path, dict[str, list[Path]]]:
    """Find the files that fit a pattern, by case, and the folder that it begins with."""
    # Here, since few runs need it and it takes a second.
    from anomalib_patchgan.data.prepare.volume_folder.names import PathPattern

    first = next(index for index, part in enumerate(path.parts) if _SPECIAL.search(part))
    folder, rest = Path(*path.parts[:first]), "/".join(path.parts[first:])
    pattern = PathPattern(rest, OPTION)
    if pattern.placeholders != ("case",):
        msg = f"{OPTION} {path} needs {{case}}, where the name of the case stands, and no other word in braces."
        raise ConfigurationError(msg)
    if not folder.is_dir():
        msg = f"{folder} does not exist: check the pattern that {OPTION} got."
        raise DatasetNotFoundError(msg)
    found: dict[str, list[Path]] = {case.name: [] for case in cases}
    others: list[Path] = []
    for file in _list(folder, cases, output):
        match = pattern.match(file.relative_to(folder).as_posix())
        if match is not None:
            found.get(match["case"], others).append(file)
    _name_others(folder, others)
    return folder, found


def _list(folder: Path, cases: Sequence[VolumeCase], output: Path) -> dict[Path, VolumeName]:
    """List the volumes below a folder that are neither images of the cases nor results."""
    images = {path.resolve() for case in cases for path in case.paths.values()}
    out = output.resolve()
    return {
        path: name
        for path in sorted(folder.rglob("*"))
        if (name := read_name(path, folder)) is not None
        and path.is_file()
        and (real := path.resolve()) not in images
        and real.parent != out
    }


def _is_mask(name: VolumeName) -> bool:
    return not name.is_image and name.word != _ANOMALY


def _is_of_image(path: Path, case: VolumeCase) -> bool:
    """Tell whether a mask is of an image of a case by the names that both have in BIDS."""
    if not path.name.startswith("sub-"):
        return False
    from anomalib_patchgan.data.prepare.volume_folder.names import parse_bids

    mask, images = parse_bids(path.name), [parse_bids(image.name) for image in case.paths.values()]
    return mask is not None and mask.is_mask and any(image is not None and mask.is_of(image) for image in images)


def _name_others(folder: Path, others: Sequence[Path]) -> None:
    if others:
        listing = name_some([path.relative_to(folder).as_posix() for path in others])
        logger.warning("%s: masks of no case here, left out: %s", folder, listing)
