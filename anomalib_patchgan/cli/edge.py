"""`anomalib-patchgan edge`: exports a model to OpenVINO in several precisions and measures what each costs."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.cli.data_module import leave_data_options, make_data_module, set_up
from anomalib_patchgan.cli.edge_bundle import BundlePlan, add_bundle_arguments, plan_bundle
from anomalib_patchgan.cli.edge_rivals import plan_rivals
from anomalib_patchgan.cli.loading import load_anomalib
from anomalib_patchgan.cli.options import add_renamed
from anomalib_patchgan.deploy import COMPRESSIONS, QUANTIZED
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.failures import FAILURE
from anomalib_patchgan.processes import available_cores

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.edge_report import Row


_EPILOG = """\
Data are given as for `train`: the validation images calibrate INT8_PTQ and INT8_ACQ and decide whether these lose too
much; the test images show what compression costs. Without data, only FP32, FP16 and INT8 are exported and timed. A form
that cannot be made is left out with a remark, unless --compression names it:
  anomalib-patchgan edge --model CKPT --data PreparedFolder --data.root PATH --out edge
  anomalib-patchgan edge --model CKPT --compression FP32 --out edge
To time other models alongside, such as those of a benchmark with their results on the same test images:
  anomalib-patchgan edge --model CKPT --data PreparedFolder --data.root PATH --rivals RUN_FOLDER
A bundle is a single file with a form that does not lose too much. Anyone with the public key can check where it comes
from:
  anomalib-patchgan edge --model CKPT --compression FP32 --bundle model.zip --sign_key key.pem
  anomalib-patchgan volume --model model.zip --public_key pub.pem --input FOLDER --out out
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command itself; those of the data module are left to jsonargparse.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_known_args(["--model", "m.ckpt", "--data", "PreparedFolder"])[1]
        ['--data', 'PreparedFolder']
    """
    leave_data_options(parser)
    parser.usage = "%(prog)s --model CKPT [--config FILE] [--data CLASS_OR_FILE] [--data.OPTION VALUE ...] [options]"
    parser.epilog = _EPILOG
    add_renamed(
        parser,
        "--model",
        "--ckpt_path",
        required=True,
        type=Path,
        metavar="CKPT",
        help="checkpoint of PatchGan",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("edge"), metavar="FOLDER", help="output folder (default: edge)"
    )
    parser.add_argument(
        "--compression", nargs="+", choices=COMPRESSIONS, metavar="FORM", help=f"of {', '.join(COMPRESSIONS)}"
    )
    parser.add_argument(
        "--rivals",
        type=Path,
        metavar="FILE_OR_RUN",
        help="other models to time alongside: a YAML list, or a benchmark's run folder, which adds their quality",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side length of the timed image (default: the model's)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: one per core)")
    parser.add_argument("--repetitions", type=int, default=200, metavar="N", help="timed calls (default: 200)")
    add_bundle_arguments(parser, COMPRESSIONS)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: The options, and the `data_options`.

    Returns:
        The exit code: 0, or 1 when a form, its measurement or the bundle failed; the table of the others is written.

    Raises:
        ConfigurationError: The options cannot work together.
        PatchGanError: The checkpoint, the data or the output folder cannot be used.
    """
    from anomalib_patchgan.deploy.model_card import MAX_SIDE, describe

    for name in ("repetitions", "threads", "size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            msg = f"--{name} must be at least 1, got {value}"
            raise ConfigurationError(msg)
    if (args.size or 1) > MAX_SIDE:
        msg = f"--size must be at most {MAX_SIDE}, got {args.size}"
        raise ConfigurationError(msg)
    wanted = list(dict.fromkeys(args.compression or (COMPRESSIONS if args.data_options else COMPRESSIONS[:3])))
    if not args.data_options and set(QUANTIZED) & set(wanted):
        msg = "INT8_PTQ and INT8_ACQ need images to calibrate with: give --data, or other values of --compression."
        raise ConfigurationError(msg)

    bundle = plan_bundle(args)
    load_anomalib()

    from anomalib_patchgan.deploy.edge import export_and_profile
    from anomalib_patchgan.deploy.edge_forms import check_installed
    from anomalib_patchgan.deploy.predictor import load_checkpoint

    plan = plan_rivals(args.rivals, COMPRESSIONS, has_data=bool(args.data_options), side=args.size)
    check_installed(args.compression or [])
    module = load_checkpoint(args.model)
    # Says in a line that a model has no size of its own, before data are prepared.
    card = describe(module)
    data: Any = make_data_module(args.data_options) if args.data_options else None
    _check_folders(args.out, bundle)
    if data is not None:
        set_up(data)
    rivals, remarks = plan.choose(data, card.image_size)
    rows, exports = export_and_profile(
        module,
        data,
        args.out,
        compressions=wanted,
        named=args.compression is not None,
        rivals=rivals,
        remarks=remarks,
        side=args.size,
        threads=args.threads or available_cores(),
        repetitions=args.repetitions,
    )
    _show(rows, (args.out / "edge.md").read_text(encoding="utf-8"))
    failed = exports.failed
    if bundle is not None and (reason := bundle.write(exports.usable)):
        failed["bundle"] = reason
    for name, reason in failed.items():
        sys.stderr.write(f"failed {name}: {reason}\n")
    return FAILURE if failed else 0


def _show(rows: Mapping[str, "Row"], markdown: str) -> None:
    """Print the table: drawn on a terminal, otherwise as it is written."""
    from anomalib_patchgan.deploy.edge_report import text_table

    if not sys.stdout.isatty():
        sys.stdout.write(markdown)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headings, cells = text_table(rows)
    table = Table(box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right", overflow="fold")
    for line in cells:
        # As text, because a bracket in a name is no markup.
        table.add_row(*map(Text, line))
    Console().print(table)
    sys.stdout.writelines(f"{line}\n" for line in markdown.splitlines() if not line.startswith("|") and line)


def _check_folders(out: Path, bundle: BundlePlan | None) -> None:
    """Find out before any work whether everything can be written."""
    from anomalib_patchgan.files import make_writable

    make_writable(out)
    if bundle is not None:
        make_writable(bundle.path.parent)
    # Those of a former run, too, which may be another user's.
    for folder in out.iterdir():
        if folder.name.removesuffix("_NETWORKS") in {*COMPRESSIONS, "rivals"}:
            make_writable(folder)
