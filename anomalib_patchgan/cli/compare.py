"""`anomalib-patchgan compare`: what a trained model reaches beside the best trivial rule, in a table and a picture."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.cli.loading import load_anomalib
from anomalib_patchgan.cli.options import add_renamed
from anomalib_patchgan.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from anomalib_patchgan.benchmark.beside_rules import BesideRules

RECORD = "compare.json"
SHEET = "sheet.png"
_EPILOG = """\
  anomalib-patchgan compare results/PatchGan/BrainPhantom/latest
A rule needs no training: how bright the image is, how much it varies, how it differs from its mirror image, where its
slice lies, how large its file is. The best one is chosen on the test images themselves. A model that is not above it
has shown nothing yet, which is said and is no error.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["results/PatchGan/BrainPhantom/latest"]).folder.name
        'latest'
    """
    parser.epilog = _EPILOG
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of a training's results, with its config.yaml"
    )
    add_renamed(
        parser,
        "--model",
        "--ckpt_path",
        type=Path,
        metavar="FILE",
        help="checkpoint (default: FOLDER/weights/lightning/model.ckpt)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="output folder (default: FOLDER/compare)")


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: The options.

    Returns:
        The exit code, 0, also where a rule is better.

    Raises:
        ConfigurationError: The folder holds no training that can be used, or `--out` cannot be written to.
        PatchGanError: The data or the checkpoint cannot be used.
    """
    load_anomalib()

    from rich.console import Console

    from anomalib_patchgan.benchmark.beside_rules import compare_with_rules, read_training
    from anomalib_patchgan.benchmark.report.figures import draw_examples, encode
    from anomalib_patchgan.deploy.model_card import installed_versions
    from anomalib_patchgan.files import hash_file, make_writable, write_atomically, write_json

    training = read_training(args.folder, args.model)
    out: Path = args.out or args.folder / "compare"
    make_writable(out)
    found = compare_with_rules(training)
    record = {
        "model": found.model,
        "checkpoint": {"file": training.checkpoint.name, "sha256": hash_file(training.checkpoint)},
        "images": {"normal": found.normal, "lesion": found.lesion},
        "metrics": found.metrics,
        "left_out": found.left_out,
        "examples": found.chosen,
        "versions": installed_versions(),
    }
    best = found.best_rule("pixel_AP")
    shown = {name: found.examples[name] for name in (found.model, *(best[:1] if best else ()))}
    try:
        write_json(out / RECORD, record)
        if found.chosen:
            write_atomically(out / SHEET, encode(draw_examples(shown, found.chosen, with_masks=True)))
        else:
            # That of a former run would be taken for one of this.
            (out / SHEET).unlink(missing_ok=True)
    except OSError as error:
        msg = f"{out} cannot be written to ({error.strerror}): give another --out."
        raise ConfigurationError(msg) from error
    Console().print(make_table(found))
    sys.stdout.write("".join(f"{line}\n" for line in conclude(found)))
    if found.chosen:
        sys.stdout.write(f"Open this first, the best, the median and the worst case: {(out / SHEET).absolute()}\n")
    return 0


def make_table(found: "BesideRules") -> "Table":
    """Make the table of the model and the best rule of each metric."""
    from rich.table import Table

    from anomalib_patchgan.benchmark.beside_rules import COMPARED
    from anomalib_patchgan.benchmark.report.tables import EMPTY, METRIC_NAMES

    table = Table(title=f"{found.normal} normal and {found.lesion} lesion test images")
    for head in ("", found.model, "best rule", "which"):
        table.add_column(head, justify="left" if head in {"", "which"} else "right")
    for metric in COMPARED:
        value, best = found.metrics[found.model][metric], found.best_rule(metric)
        if value is not None:
            rule = (EMPTY, EMPTY) if best is None else (f"{best[1]:.3f}", best[0])
            table.add_row(METRIC_NAMES[metric], f"{value:.3f}", *rule)
    return table


def conclude(found: "BesideRules") -> list[str]:
    """Say in words whether the model is above the rules, and what could not be measured."""
    from anomalib_patchgan.benchmark.beside_rules import COMPARED
    from anomalib_patchgan.benchmark.report.tables import METRIC_NAMES

    own = found.metrics[found.model]
    measured = [metric for metric in COMPARED if own[metric] is not None]
    lines = [
        f"{found.model} is not above a rule without training in {METRIC_NAMES[metric]}: {own[metric]:.3f} against "
        f"{best[1]:.3f} of {best[0]}."
        for metric in measured
        if found.not_above(metric) and (best := found.best_rule(metric)) is not None
    ]
    if measured and not lines:
        lines = [f"{found.model} is above every rule."]
    missing = ", ".join(METRIC_NAMES[metric] for metric in COMPARED if metric not in measured)
    if missing:
        lines.append(f"Not defined on these data, which lack masks, lesions or normal images: {missing}.")
    return [*lines, *(f"Left out: {rule}: {reason}" for rule, reason in found.left_out.items())]
