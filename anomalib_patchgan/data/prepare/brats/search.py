"""Finding the folders of BraTS cases below a root that may hold anything else, too."""

import logging
import os
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from anomalib_patchgan.data.prepare.brats.names import GRADES, CaseName, parse_case
from anomalib_patchgan.data.prepare.csv_files import check_id
from anomalib_patchgan.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

# Levels of folders below the root that are listed: `collection/year/archive/HGG` is the deepest usual one.
MAX_DEPTH = 6
# The largest year has under 2,000 cases; a folder with more entries than this is another data set.
MAX_IN_FOLDER = 20_000
MAX_ENTRIES = 200_000
_MAPPING = re.compile(r"name_mapping.*\.csv", re.IGNORECASE)
# What macOS packs beside the files.
_RESOURCE_FORKS = "__MACOSX"


@dataclass(frozen=True, kw_only=True)
class CaseFolder:
    """Folder of one case.

    Args:
        name: Name of the case.
        path: The folder.
        archive: Folder that holds it, or its grade; symbolic links resolved.
        grade: `HGG` or `LGG` if the tree says so.
    """

    name: CaseName
    path: Path
    archive: Path
    grade: str | None


@dataclass(kw_only=True)
class Findings:
    """What was found below a root.

    Args:
        cases: Case folders.
        mappings: Files named as `name_mapping.csv`.
        grades: Folders named as a grade.
    """

    cases: list[CaseFolder] = field(default_factory=list)
    mappings: list[Path] = field(default_factory=list)
    grades: list[Path] = field(default_factory=list)


def search_cases(root: Path, years: Collection[int]) -> Findings:
    """Search a root, breadth first, for folders with the names of cases.

    Hidden folders, `__MACOSX`, whatever is not BraTS, and symbolic links further down than in the root itself are left
    out; a case's own folder is not looked into.

    Args:
        root: Folder to search.
        years: Years that count.

    Returns:
        What was found, in order of the paths.

    Raises:
        DataError: The root cannot be listed, or a case has a name that cannot be a file name.
        ConfigurationError: There is far too much below the root.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("a/BraTS2021_00003", "b/HGG/Brats18_2013_2_1", "b/__MACOSX/BraTS2021_00003", "c/photographs"):
        ...     (root / name).mkdir(parents=True)
        >>> [(case.name.name, case.grade) for case in search_cases(root, [2018, 2021]).cases]
        [('BraTS2021_00003', None), ('Brats18_2013_2_1', 'HGG')]
    """
    findings = Findings()
    queue = deque([(root, 0)])
    seen: set[Path] = set()
    looked_at = 0
    while queue:
        folder, depth = queue.popleft()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        entries = _list(folder, is_root=depth == 0)
        looked_at += len(entries)
        if looked_at > MAX_ENTRIES:
            msg = f"{root} holds more than {MAX_ENTRIES} files and folders: set root to the BraTS folders themselves."
            raise ConfigurationError(msg)
        is_grade = folder.name.upper() in GRADES
        if is_grade:
            findings.grades.append(folder)
        for path in _folders(folder, entries, findings):
            name = parse_case(path.name)
            if name is None:
                if depth < MAX_DEPTH and _may_follow(path, depth):
                    queue.append((path, depth + 1))
            elif name.year in years:
                check_id(name.name, folder)
                archive = (folder.parent if is_grade else folder).resolve()
                grade = folder.name.upper() if is_grade else None
                findings.cases.append(CaseFolder(name=name, path=path, archive=archive, grade=grade))
    return findings


def _folders(folder: Path, entries: list[os.DirEntry[str]], findings: Findings) -> Iterator[Path]:
    """Yield the folders among the entries, and note mapping files."""
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name == _RESOURCE_FORKS:
            continue
        if entry.is_dir():
            yield folder / entry.name
        elif _MAPPING.fullmatch(entry.name):
            findings.mappings.append(folder / entry.name)


def _list(folder: Path, *, is_root: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, MAX_IN_FOLDER + 1))
    except OSError as error:
        msg = f"{folder} cannot be listed ({error.strerror}): check its permissions and whether the disk is there."
        if is_root:
            raise DataError(msg) from error
        logger.warning("%s cannot be listed (%s) and is left out", folder, error.strerror)
        return []
    if len(found) > MAX_IN_FOLDER:
        logger.warning(
            "%s holds more than %d entries, more than any BraTS folder, and is left out", folder, MAX_IN_FOLDER
        )
        return []
    return found


def _may_follow(path: Path, depth: int) -> bool:
    """Tell whether to look into a folder: links count in the root, which is the user's, and not inside an archive."""
    # Files below a link that is a grade's folder are refused one by one, with a message.
    if depth == 0 or path.name.upper() in GRADES or not path.is_symlink():
        return True
    logger.warning("%s is a symbolic link and not followed: give the folder it leads to as a root of its own", path)
    return False
