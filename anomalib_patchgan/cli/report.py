"""`anomalib-patchgan report`: rebuilds the report of benchmark runs, also of several together."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["runs/benchmark/phantom", "--no-examples"]).no_examples
        True
    """
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="run folder, the --out of `benchmark`")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="output folder (default: the first run folder)")
    parser.add_argument("--reference", metavar="MODEL", help="test the other models against this one")
    parser.add_argument("--no-examples", action="store_true", help="leave images of the data out of the report")


def run(args: argparse.Namespace) -> int:
    """Run the command and print the path of the page.

    Args:
        args: The options.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: The runs contradict each other, or the reference is no model of theirs.
        PatchGanError: A run folder cannot be used.
    """
    from anomalib_patchgan.benchmark.report import lacks_figures, write_report

    out = args.out or args.runs[0]
    paths = write_report(args.runs, out, reference=args.reference, examples=not args.no_examples)
    if lacking := lacks_figures():
        sys.stderr.write(f"{lacking}\n")
    sys.stdout.write(f"{next(path for path in paths if path.suffix == '.html')}\n")
    return 0
