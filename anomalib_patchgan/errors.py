"""Errors of the plugin: one line each, saying what was wrong, where, and what to do.

All derive from `PatchGanError`, so a caller can catch them together, and from the
built-in error that fits, so code that knows nothing of the plugin handles them too.
"""

import re

from anomalib_patchgan.renamed import say_new_name

# What jsonargparse says about a rejected value around the one line that tells what is wrong with it.
PARSER_NOISE = re.compile(
    r"Does not validate against any of the Union subtypes$|Subtypes: |Errors:$|Expected a <class 'NoneType'>"
    r"|Given value( type)?: "
)


class PatchGanError(Exception):
    """Base of every error the plugin raises on purpose."""


class DatasetNotFoundError(PatchGanError, FileNotFoundError):
    """A data folder, or a part of it that is needed, does not exist."""


class DataError(PatchGanError, ValueError):
    """A file was found but its content cannot be used."""


class ConfigurationError(PatchGanError, ValueError):
    """An argument, or a combination of arguments, cannot work."""


class TrainingDivergedError(PatchGanError, RuntimeError):
    """Training produced NaN or infinite values and was stopped."""


class UnsupportedVersionError(PatchGanError, ImportError):
    """An installed dependency is outside the supported range."""


def one_line(error: Exception) -> str:
    r"""Return the message of an error as one line.

    Args:
        error: An error of the plugin or of the argument parser.

    Example:
        >>> from anomalib_patchgan.errors import one_line
        >>> one_line(ValueError("first\n  second"))
        'first second'
    """
    name = type(error).__name__
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    lines = [line for line in lines if line and not PARSER_NOISE.match(line)]
    if lines and lines[0].startswith(f"Caught {name} in "):
        # torch puts the whole traceback of a data-loading process into the message; the error itself ends it.
        lines = [re.sub(rf"^\S*{name}: ", "", lines[-1])]
    return say_new_name(" ".join(lines))
