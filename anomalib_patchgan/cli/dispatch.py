"""The table of the commands, and the entry point that runs one of them.

Importing anomalib and torch takes about ten seconds, so this module imports neither, and a command's module is imported
only when it is asked for: help, the version, `configs`, `report`, `view`, and `volume` and `images` with an exported
model need neither; the others load them once their own options are valid.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from anomalib_patchgan.cli.console import make_printable, use_utf8
from anomalib_patchgan.cli.loading import load_anomalib
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR, describe
from anomalib_patchgan.telemetry import block_telemetry
from anomalib_patchgan.version import __version__

PROGRAM = "anomalib-patchgan"
DEBUG_VARIABLE = "ANOMALIB_PATCHGAN_DEBUG"

INTERRUPTED = 130


class Command(NamedTuple):
    """A command.

    Attributes:
        summary: What it does, in a line.
        module: Module of `anomalib_patchgan.cli` with its `add_arguments` and `run`; `anomalib` for a command of
            anomalib, which reads its own options.
    """

    summary: str
    module: str


COMMANDS = {
    # Written out, because asking anomalib for its commands takes the ten seconds; a test compares them with anomalib's.
    "train": Command("Fit a model, then test it.", "anomalib"),
    "fit": Command("Fit a model.", "anomalib"),
    "validate": Command("Evaluate a model on the validation set.", "anomalib"),
    "test": Command("Evaluate a model on the test set and write heat-map images.", "anomalib"),
    "predict": Command("Write heat maps of a folder of images or a data module.", "anomalib"),
    "export": Command("Export a trained model to OpenVINO, ONNX or torch.", "anomalib"),
    "install": Command("Install optional dependencies of anomalib.", "anomalib"),
    "configs": Command("List, print or copy the configurations shipped with the package.", "configs"),
    "prepare": Command("Prepare data ahead of training, whole or in shards, and preview the result.", "prepare"),
    "benchmark": Command(
        "Compare models: train, test and measure each with several seeds, then write a report.", "benchmark"
    ),
    "compare": Command(
        "Compare a trained model with trivial rules on its test images, and draw its best, median and worst cases.",
        "compare",
    ),
    "report": Command("Rewrite the report of one or several benchmark runs.", "report"),
    "edge": Command(
        "Export a trained PatchGan to OpenVINO in several precisions, and measure the speed and accuracy of each.",
        "edge",
    ),
    "volume": Command(
        "Find lesions in NIfTI volumes or DICOM series: a heat map, a mask and the scores of each case.", "volume"
    ),
    "images": Command(
        "Find lesions in PNG or JPEG images: a heat map over each, and one table of their scores.", "images"
    ),
    "view": Command("Write an HTML page for each case in a folder, to browse its image and heat map.", "view"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: The arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 1 when the work failed, 2 when the arguments or a configuration are wrong,
        130 when interrupted.

    Raises:
        SystemExit: After `--help` and `--version`, and on arguments that argparse itself rejects.
        Exception: Instead of the one-line message if the environment sets `ANOMALIB_PATCHGAN_DEBUG=1`.

    Example:
        >>> from anomalib_patchgan.cli import main
        >>> main(["configs", "no-such-name"])
        2
    """
    if args is None:
        use_utf8()
    make_printable()
    block_telemetry()
    arguments = list(sys.argv[1:] if args is None else args)
    debug = os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except argparse.ArgumentError as error:
        if debug:
            raise
        command = next((word for word in arguments if word in COMMANDS), "")
        # The light help takes no -v and is complete without.
        words = (PROGRAM, command, "--help", "-vv" if not command or _is_anomalibs(command) else "")
        return _fail(f"{one_line(error)}; the options: {' '.join(filter(None, words))}", USAGE_ERROR)
    except PatchGanError as error:
        if debug:
            raise
        return _fail(one_line(error), USAGE_ERROR if isinstance(error, ConfigurationError) else FAILURE)
    except Exception as error:
        # Whatever it is, the user gets one line, and a file with the rest where the line does not explain it.
        if debug:
            raise
        return _fail(*describe(error))


def make_parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of what needs no anomalib; it lists every command.

    Args:
        command: The command whose options it reads; none are imported for the others.

    Example:
        >>> from anomalib_patchgan.cli.dispatch import make_parser
        >>> make_parser("configs").parse_args(["configs", "quickstart"]).name
        'quickstart'
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Unsupervised lesion detection in medical images: anomalib with the PatchGan plugin loaded.",
        epilog=f"Options of a subcommand: {PROGRAM} SUBCOMMAND --help -v (-vv for all of them). "
        f"Set {DEBUG_VARIABLE}=1 to see the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=_versions())
    subcommands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", title="subcommands")
    for name, (summary, module) in COMMANDS.items():
        subparser = subcommands.add_parser(
            name,
            help=summary,
            description=summary,
            # The epilogs are examples, a line each.
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=not _is_anomalibs(name),
        )
        if name == command:
            import_module(f"anomalib_patchgan.cli.{module}").add_arguments(subparser)
    return parser


def _is_anomalibs(name: str) -> bool:
    """Whether a command is one of anomalib's own."""
    return COMMANDS[name].module == "anomalib"


def _fail(message: str, code: int) -> int:
    """Say in one line why the program ends, and return the exit code."""
    sys.stderr.write(f"{PROGRAM}: error: {message}\n")
    return code


def _dispatch(arguments: list[str]) -> int:
    """Run a command of the plugin here, and hand everything else to anomalib's command line."""
    _check_config_files(arguments)
    first = arguments[0] if arguments else ""
    if first.startswith("-") and first not in {"-h", "--help", "--version"}:
        return _run_anomalib(arguments)
    if first in COMMANDS and _is_anomalibs(first):
        return _run_anomalib(arguments)
    parser = make_parser(first)
    args, others = parser.parse_known_args(arguments)
    if args.subcommand is None:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    if "data_options" in args:
        args.data_options = others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    args.command_line = shlex.join([PROGRAM, *arguments])
    return import_module(f"anomalib_patchgan.cli.{COMMANDS[first].module}").run(args)


def _check_config_files(arguments: list[str]) -> None:
    """Refuse a configuration that is no text, which jsonargparse reads without saying which file it was."""
    for option, value in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, _, rest = option.partition("=")
        path = Path(rest or value)
        if name in {"-c", "--config"} and path.is_file():
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                msg = f"{path} is no configuration: it is not text in UTF-8 (byte {error.start})"
                raise ConfigurationError(msg) from error


def _run_anomalib(arguments: list[str]) -> int:
    """Load anomalib with the plugin and run its command line."""
    load_anomalib()

    from anomalib_patchgan.cli.anomalib import PatchGanCLI

    PatchGanCLI(arguments)
    return 0


def _versions() -> str:
    """Return the versions of the plugin and of anomalib in one line."""
    try:
        anomalib = version("anomalib")
    except PackageNotFoundError:
        anomalib = "not installed"
    return f"{PROGRAM} {__version__} (anomalib {anomalib})"
