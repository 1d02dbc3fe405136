r"""Which patient an image belongs to, by its name.

Without a pattern of the user's, these names are known, in this order:

- `P1/IM0001.png`, in a folder below `normal` or `abnormal`: that folder is the patient.
- `TCGA_CS_4942_05`: what stands before a trailing `_<number>`.
- `sub-01_ses-2_slice-003`: the subject of BIDS.
- `case_slice12`, `P1-slice-012`, `P1 frame 3`: what stands before the word for a slice and its number.
- `P1-001`, `P1.001`, `P1_IM0003`, `patient1 (3)`: what stands before the number, if it has a digit itself and most of
  these numbers occur with several patients, as slice numbers do. `LUNG1-001` to `LUNG1-422` are patients, and
  `benign (1)` and `malignant (1)` are photographs.

Any other image is a patient of its own.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from anomalib_patchgan.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

_SURE = (
    re.compile(r"^(.+)_\d+$"),
    re.compile(r"^(sub-[^_]+)_."),
    re.compile(r"^(.+?)(?:[ _.-]*slice|[ _.-]+(?:slc|frame|layer))[ _.#-]*\d+(?:[ _.-][a-z]\w*)?$", re.IGNORECASE),
)
_LIKELY = re.compile(r"^(.*?\d.*?)(?:[ .#-]+|[ _.-]+(?:image|img|im|sl|s|z)[ _.#-]*|[ _-]?\()(\d+)\)?$", re.IGNORECASE)
# A few images may well be of one patient each.
_FEW = 8
_MOST = 0.9


def find_patients(names: Sequence[str], id_pattern: str | None = None) -> list[str]:
    r"""Find the patient of each image of a folder.

    Args:
        names: Paths below `normal` or `abnormal`; a pattern is searched in them without their endings.
        id_pattern: Regular expression that is searched in each name; its group 1, or the whole match when it has no
            group, is the patient. `None` knows the names above, and warns if nearly every image became a patient of
            its own.

    Returns:
        Patient ids, in the order of the names.

    Raises:
        ConfigurationError: The pattern is no regular expression.
        DataError: It finds nothing in a name.

    Example:
        >>> find_patients(["P1-001.png", "P1-002.png", "P2-001.png", "case_slice12.png", "P3/IM0001.png", "ISIC.jpg"])
        ['P1', 'P1', 'P2', 'case', 'P3', 'ISIC']
        >>> find_patients(["P1-001.png", "P1-002.png"], ".+")
        ['P1-001', 'P1-002']
    """
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    if id_pattern is not None:
        pattern = _compile(id_pattern)
        return [_search(stem, pattern, name) for stem, name in zip(stems, names, strict=True)]
    known = {stem: _known(stem) for stem in stems}
    likely = {stem: match for stem in stems if known[stem] is None and (match := _LIKELY.match(stem))}
    if _are_slices(likely.values()):
        known |= {stem: match[1] for stem, match in likely.items()}
        first = next(iter(likely))
        logger.info("%s counts as an image of patient %s; id_pattern sets another rule", first, known[first])
    patients = [known[stem] or stem for stem in stems]
    _warn_of_singles(stems, patients)
    return patients


def _compile(id_pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(id_pattern)
    except re.error as error:
        msg = f"id_pattern {id_pattern!r} is no valid regular expression: {error}."
        raise ConfigurationError(msg) from error


def _search(stem: str, pattern: re.Pattern[str], name: str) -> str:
    match = pattern.search(stem)
    patient = (match.group(1) if pattern.groups else match.group()) if match else None
    if not patient:
        msg = f"id_pattern {pattern.pattern!r} finds no patient id in {name}: adapt the pattern to the file names."
        raise DataError(msg)
    return patient


def _known(stem: str) -> str | None:
    """Return the patient of a name that can mean one thing only."""
    folder, _, rest = stem.partition("/")
    if rest:
        return folder
    return next((match[1] for pattern in _SURE if (match := pattern.match(stem))), None)


def _are_slices(matches: Collection[re.Match[str]]) -> bool:
    """Whether most of the numbers at the end of the names occur with several patients."""
    patients: dict[int, set[str]] = defaultdict(set)
    for match in matches:
        patients[int(match[2])].add(match[1])
    shared = sum(len(patients[int(match[2])]) > 1 for match in matches)
    return len(matches) > 0 and shared >= len(matches) / 2


def _warn_of_singles(stems: Sequence[str], patients: Sequence[str]) -> None:
    """Say that the names did not tell the patients, and what would."""
    counts = Counter(patients)
    singles = [stem for stem, patient in zip(stems, patients, strict=True) if counts[patient] == 1]
    if len(stems) <= _FEW or len(singles) <= _MOST * len(stems):
        return
    separator = re.match(r"^.*[^\W_]([\W_]+)[^\W\d_]*\d+\D*$", singles[0])
    pattern = f"--data.id_pattern '^(.+){re.escape(separator[1])}', or " if separator else ""
    logger.warning(
        "%d of %d images, such as %s, count as a patient of their own, so that images of one patient may be in "
        "training and test. If patients have several, give %sput the images of each into a folder named after the "
        "patient; if not, --data.id_pattern '.+' says so.",
        len(singles),
        len(stems),
        singles[0],
        pattern,
    )
