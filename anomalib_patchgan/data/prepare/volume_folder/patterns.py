"""Patterns that say where in a folder the volumes of a cohort are: `*/{case}_flair.nii.gz`."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from anomalib_patchgan.data.prepare.volume_names import ENDING
from anomalib_patchgan.errors import ConfigurationError

PLACEHOLDERS = ("participant", "case", "modality")
_TOKEN = re.compile(r"(\*\*/|\*+|\?|\{[^{}]*\})")
_WILD = {"**/": "(?:[^/]+/)*", "?": "[^/]"}


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
