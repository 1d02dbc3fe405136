"""`anomalib-patchgan`: anomalib's command line with the plugin loaded, and the plugin's own subcommands.

Importing anomalib and torch takes about ten seconds, so this module imports neither: help, the version and
`configs` answer at once, `report`, `view`, and `volume` and `images` with an exported model need neither, `prepare`,
`benchmark`, `compare`, `edge` and those two with a checkpoint load them once their own options are valid, everything
else goes to `anomalib_patchgan.anomalib_cli`.
"""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path

from anomalib_patchgan.benchmark_command import COMMAND as BENCHMARK
from anomalib_patchgan.benchmark_command import DESCRIPTION as BENCHMARK_DESCRIPTION
from anomalib_patchgan.benchmark_command import add_benchmark_arguments, run_benchmark
from anomalib_patchgan.compare_command import COMMAND as COMPARE
from anomalib_patchgan.compare_command import DESCRIPTION as COMPARE_DESCRIPTION
from anomalib_patchgan.compare_command import add_compare_arguments, run_compare
from anomalib_patchgan.configs_command import run_configs
from anomalib_patchgan.console import make_printable, use_utf8
from anomalib_patchgan.edge_command import COMMAND as EDGE
from anomalib_patchgan.edge_command import DESCRIPTION as EDGE_DESCRIPTION
from anomalib_patchgan.edge_command import add_edge_arguments, run_edge
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR, describe
from anomalib_patchgan.images_command import COMMAND as IMAGES
from anomalib_patchgan.images_command import DESCRIPTION as IMAGES_DESCRIPTION
from anomalib_patchgan.images_command import add_images_arguments, run_images
from anomalib_patchgan.prepare_command import COMMAND as PREPARE
from anomalib_patchgan.prepare_command import DESCRIPTION as PREPARE_DESCRIPTION
from anomalib_patchgan.prepare_command import add_prepare_arguments, read_options, run_prepare
from anomalib_patchgan.report_command import COMMAND as REPORT
from anomalib_patchgan.report_command import DESCRIPTION as REPORT_DESCRIPTION
from anomalib_patchgan.report_command import add_report_arguments, run_report
from anomalib_patchgan.telemetry import block_telemetry
from anomalib_patchgan.version import __version__
from anomalib_patchgan.view_command import COMMAND as VIEW
from anomalib_patchgan.view_command import DESCRIPTION as VIEW_DESCRIPTION
from anomalib_patchgan.view_command import add_view_arguments, run_view
from anomalib_patchgan.volume_command import COMMAND as VOLUME
from anomalib_patchgan.volume_command import DESCRIPTION as VOLUME_DESCRIPTION
from anomalib_patchgan.volume_command import add_volume_arguments, run_volume

PROGRAM = "anomalib-patchgan"
DEBUG_VARIABLE = "ANOMALIB_PATCHGAN_DEBUG"

INTERRUPTED = 130

# Written out, because asking anomalib for them takes the ten seconds; a test compares them with anomalib's.
ANOMALIB_COMMANDS = {
    "train": "Fit a model, then test it.",
    "fit": "Fit a model.",
    "validate": "Evaluate a model on the validation set.",
    "test": "Evaluate a model on the test set and write heat-map images.",
    "predict": "Write heat maps of a folder of images or a data module.",
    "export": "Export a trained model to OpenVINO, ONNX or torch.",
    "install": "Install optional dependencies of anomalib.",
}

KNOWN_WARNINGS = (
    # anomalib 2.7 still imports timm by its old name.
    r"Importing from timm\.models\.layers is deprecated",
    # anomalib 2.7's own Dinomaly imports anomalib's own deprecated package.
    r"The anomalib\.models\.components\.dinov2 package is deprecated",
    # lightning 2.6 asks torch's pytree in the old way.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


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
        subcommand = next((f" {word}" for word in arguments if word in {*ANOMALIB_COMMANDS, PREPARE, EDGE}), "")
        # The light help takes no -v and is complete without.
        verbose = "" if subcommand.strip() in {PREPARE, EDGE} else " -vv"
        return _fail(f"{one_line(error)}; the options: {PROGRAM}{subcommand} --help{verbose}", USAGE_ERROR)
    except PatchGanError as error:
        if debug:
            raise
        return _fail(one_line(error), USAGE_ERROR if isinstance(error, ConfigurationError) else FAILURE)
    except Exception as error:
        # Whatever it is, the user gets one line, and a file with the rest where the line does not explain it.
        if debug:
            raise
        return _fail(*describe(error))


def light_parser() -> argparse.ArgumentParser:
    """Return the parser of what needs no anomalib; it lists anomalib's subcommands without their options.

    Example:
        >>> from anomalib_patchgan.cli import light_parser
        >>> light_parser().parse_args(["configs", "quickstart"]).name
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
    for name, description in ANOMALIB_COMMANDS.items():
        subcommands.add_parser(name, help=description, add_help=False)
    description = "List, print or copy the configurations that come with the package."
    configs = subcommands.add_parser("configs", help=description, description=description)
    configs.add_argument("name", nargs="?", metavar="NAME", help="print this configuration; without it, list all")
    configs.add_argument(
        "--copy", nargs="?", type=Path, const=Path(), metavar="FOLDER", help="copy it to FOLDER (default: here)"
    )
    configs.add_argument("--force", action="store_true", help="overwrite an existing file")
    # Without abbreviations, or it would take options of a data module for its own.
    prepare = subcommands.add_parser(
        PREPARE, help=PREPARE_DESCRIPTION, description=PREPARE_DESCRIPTION, allow_abbrev=False
    )
    add_prepare_arguments(prepare)
    benchmark = subcommands.add_parser(BENCHMARK, help=BENCHMARK_DESCRIPTION, description=BENCHMARK_DESCRIPTION)
    add_benchmark_arguments(benchmark)
    compare = subcommands.add_parser(COMPARE, help=COMPARE_DESCRIPTION, description=COMPARE_DESCRIPTION)
    add_compare_arguments(compare)
    report = subcommands.add_parser(REPORT, help=REPORT_DESCRIPTION, description=REPORT_DESCRIPTION)
    add_report_arguments(report)
    edge = subcommands.add_parser(EDGE, help=EDGE_DESCRIPTION, description=EDGE_DESCRIPTION, allow_abbrev=False)
    add_edge_arguments(edge)
    volume = subcommands.add_parser(VOLUME, help=VOLUME_DESCRIPTION, description=VOLUME_DESCRIPTION)
    add_volume_arguments(volume)
    images = subcommands.add_parser(IMAGES, help=IMAGES_DESCRIPTION, description=IMAGES_DESCRIPTION)
    add_images_arguments(images)
    view = subcommands.add_parser(VIEW, help=VIEW_DESCRIPTION, description=VIEW_DESCRIPTION)
    add_view_arguments(view)
    return parser


def _fail(message: str, code: int) -> int:
    """Say in one line why the program ends, and return the exit code."""
    sys.stderr.write(f"{PROGRAM}: error: {message}\n")
    return code


def _dispatch(arguments: list[str]) -> int:
    """Run a light command here, and hand everything else to anomalib's command line."""
    _check_config_files(arguments)
    first = arguments[0] if arguments else ""
    if first in ANOMALIB_COMMANDS or (first.startswith("-") and first not in {"-h", "--help", "--version"}):
        return _run_anomalib(arguments)
    parser = light_parser()
    namespace, others = parser.parse_known_args(arguments)
    if others and namespace.subcommand not in {PREPARE, EDGE}:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if namespace.subcommand is None:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    if namespace.subcommand == PREPARE:
        options = read_options(namespace)
        _load_anomalib()
        return run_prepare(others, options)
    if namespace.subcommand in {BENCHMARK, COMPARE, EDGE}:
        _load_anomalib()
    if namespace.subcommand in {VOLUME, IMAGES}:
        _prepare_to_run(namespace.model)
    commands: dict[str, Callable[[], int]] = {
        BENCHMARK: lambda: run_benchmark(namespace, arguments),
        COMPARE: lambda: run_compare(namespace),
        EDGE: lambda: run_edge(namespace, others),
        REPORT: lambda: run_report(namespace),
        VIEW: lambda: run_view(namespace),
        VOLUME: lambda: run_volume(namespace),
        IMAGES: lambda: run_images(namespace),
        "configs": lambda: run_configs(namespace.name, namespace.copy, force=namespace.force),
    }
    return commands[namespace.subcommand]()


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
    _load_anomalib()

    from anomalib_patchgan.anomalib_cli import PatchGanCLI

    PatchGanCLI(arguments)
    return 0


def _prepare_to_run(model: Path) -> None:
    """Load what runs a model: anomalib for a checkpoint only."""
    if model.suffix == ".ckpt":
        from anomalib_patchgan.deploy.predictor import check_checkpoint

        check_checkpoint(model.expanduser())
        _load_anomalib()
    else:
        _show_messages()


def _show_messages() -> None:
    """Have every message printed once."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])


def _load_anomalib() -> None:
    """Load anomalib with the plugin, and have every message printed once."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=FutureWarning)
    # Before lightning is imported: it then leaves its messages to this handler. anomalib's own set-up
    # (anomalib.loggers.configure_logger) installs two handlers and prints every message twice.
    _show_messages()

    from anomalib_patchgan.registry import register

    register()
    # lightning gives this logger a handler of its own, too.
    logging.getLogger("lightning").handlers.clear()


def _versions() -> str:
    """Return the versions of the plugin and of anomalib in one line."""
    try:
        anomalib = version("anomalib")
    except PackageNotFoundError:
        anomalib = "not installed"
    return f"{PROGRAM} {__version__} (anomalib {anomalib})"
