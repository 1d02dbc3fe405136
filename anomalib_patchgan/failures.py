"""What the command line says when lightning, anomalib, torch or Python raise: one line, and where the traceback is.

Imports nothing heavy: the light commands end through it, too.
"""

import os
import tempfile
import traceback
from types import TracebackType

from anomalib_patchgan.errors import one_line

FAILURE = 1
USAGE_ERROR = 2

# What lightning calls the work on a batch and what follows it: an error from there is no refusal of a setting.
_WORK = frozenset({"advance", "on_advance_end", "_evaluation_step", "_predict_step"})
# By name, because importing torch and lightning for them takes seconds. They explain themselves wherever they occur.
_REFUSALS = frozenset({"MisconfigurationException", "OutOfMemoryError", "UnpicklingError"})
# lightning and torch raise a bare RuntimeError for these, in the middle of the work.
_REFUSAL_TEXTS = (
    "Early stopping conditioned on metric",
    "PytorchStreamWriter failed",
    "out of memory",
    "No space left",
)


def describe(error: Exception) -> tuple[str, int]:
    """Explain an error that is none of the plugin's own.

    Args:
        error: The error, as caught.

    Returns:
        One line for the user and the exit code. When the error is no refusal of an argument, a file or the machine,
        but comes from inside the work or from a mistake in the program, its traceback is kept in a file that the line
        names.

    Example:
        >>> from anomalib_patchgan.failures import describe
        >>> describe(FileNotFoundError(2, "No such file or directory", "a.csv"))
        ('a.csv: No such file or directory', 1)
    """
    if isinstance(error, OSError) and error.strerror:
        # Of two files, the second is the one that was to be written.
        name = error.filename if error.filename2 is None else error.filename2
        where = "" if name is None else f"{name}: "
        return f"{where}{error.strerror}", FAILURE
    name, message = type(error).__name__, one_line(error)
    if message == "Could not determine home directory.":
        return "a path begins with ~, and there is no home folder: write it out, or set HOME", FAILURE
    if is_refusal(error):
        if name == "UnpicklingError":
            # torch's message goes on for ten lines about how to turn the protection off.
            message = "the file is no checkpoint of a training, or holds code, which is never loaded; give another"
        return message or name, USAGE_ERROR if name == "MisconfigurationException" else FAILURE
    return f"{name}: {message}".removesuffix(": ") + f" ({_keep_traceback(error)})", FAILURE


def is_refusal(error: Exception) -> bool:
    """Whether an error says no to a setting, a file or the machine, rather than that something broke in the work.

    Example:
        >>> from anomalib_patchgan.failures import is_refusal
        >>> is_refusal(ValueError("max_epochs must be positive")), is_refusal(KeyError("image"))
        (True, False)
    """
    if isinstance(error, (OSError, ImportError, MemoryError)) or type(error).__name__ in _REFUSALS:
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _REFUSAL_TEXTS):
        return True
    return isinstance(error, (ValueError, RuntimeError)) and not _in_work(error.__traceback__)


def _in_work(frames: TracebackType | None) -> bool:
    """Whether lightning was working on batches."""
    return any(frame.f_code.co_name in _WORK for frame, _ in traceback.walk_tb(frames))


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file of its own, and say where it is."""
    text = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(prefix="anomalib-patchgan-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as reason:
        return f"its traceback could not be kept: {reason}"
    return f"traceback: {path}"
