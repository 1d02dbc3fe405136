"""`anomalib-patchgan report`: rebuilds the report of benchmark runs, also of several together."""

import argparse
import sys
from pathlib import Path

COMMAND = "report"
DESCRIPTION = "Write the report of benchmark runs again, of one or of several together."


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_report_arguments(parser)
        >>> parser.parse_args(["runs/benchmark/phantom", "--no-examples"]).no_examples
        True
    """
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="run folder, the --out of `benchmark`")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: the first run folder)")
    parser.add_argument("--reference", metavar="MODEL", help="test the other models against this one")
    parser.add_argument("--no-examples", action="store_true", help="no images of the data in the report")


def run_report(namespace: argparse.Namespace) -> int:
    """Run the command and print the path of the page.

    Args:
        namespace: The options.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: The runs contradict each other, or the reference is no model of theirs.
        PatchGanError: A run folder cannot be used.
    """
    from anomalib_patchgan.benchmark.report import lacks_figures, write_report

    out = namespace.out or namespace.runs[0]
    paths = write_report(namespace.runs, out, reference=namespace.reference, examples=not namespace.no_examples)
    if lacking := lacks_figures():
        sys.stderr.write(f"{lacking}\n")
    sys.stdout.write(f"{next(path for path in paths if path.suffix == '.html')}\n")
    return 0
