"""Names of files on machines whose locale or console is not UTF-8."""

import io
import os
import sys


def make_printable() -> None:
    """Have characters that a console does not know printed as escapes, instead of failing once the work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def use_utf8() -> None:
    """Start the program again in Python's UTF-8 mode, if names of files are decoded as anything else.

    Python does so by itself in the locale `C`, but not in `de_DE.ISO-8859-1` or with `PYTHONUTF8=0`. There a name in
    UTF-8 would be characters that no result can hold.
    """
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8" and sys.executable:
        # For the processes that it starts; the option is for this one, which may have been told to ignore variables.
        os.environ["PYTHONUTF8"] = "1"
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - the same command
