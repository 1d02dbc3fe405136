"""`anomalib-patchgan prepare`: prepares the data of a data module ahead of a training, whole or in shards."""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from anomalib_patchgan.cli.data_module import leave_data_options, make_data_module
from anomalib_patchgan.cli.loading import load_anomalib
from anomalib_patchgan.errors import ConfigurationError

PREVIEW = "preview.png"

_EPILOG = """\
The data are given as for `train`, by class or by file:
  anomalib-patchgan prepare --data BraTS2019 --data.root PATH --data.protocol tiles
  anomalib-patchgan prepare --data BraTS --data.root PATH --data.years "[2020, 2021]"
  anomalib-patchgan prepare --data VolumeFolder --data.root PATH --data.image '*/{case}_flair.nii.gz'
  anomalib-patchgan prepare --data configs/data/brats2019.yaml --data.init_args.root PATH
  anomalib-patchgan prepare --config configs/experiment/NAME.yaml --data.init_args.root PATH
Options of a data module: anomalib-patchgan prepare --data.help BraTS2019
"""
_NAMES_SHOWN = 5


class PrepareOptions(NamedTuple):
    """The options of the command itself.

    Attributes:
        workers: Processes; `None` for those that the data module is given.
        shard: `(i, n)`, the i-th of n shards, from 1.
        preview: Draw a preview.
        preview_path: Where to; `None` for `preview.png` in the prepared folder.
    """

    workers: int | None
    shard: tuple[int, int] | None
    preview: bool
    preview_path: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command itself; those of the data module are left to jsonargparse.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_known_args(["--shard", "1/4", "--data", "BraTS2019"])[1]
        ['--data', 'BraTS2019']
    """
    leave_data_options(parser)
    parser.usage = "%(prog)s [--config FILE] [--data CLASS_OR_FILE] [--data.OPTION VALUE ...] [options]"
    parser.epilog = _EPILOG
    # Texts, because argparse reports a wrong number over several lines.
    parser.add_argument("--workers", metavar="N", help="processes (default: one per core)")
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="prepare only every N-th case, starting with the I-th: one shard for each of N jobs",
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        const="",
        metavar="FILE",
        help=f"draw samples of every split and label as a PNG file (default: {PREVIEW} in the prepared folder)",
    )


def read_options(args: argparse.Namespace) -> PrepareOptions:
    """Check the options of the command itself, which takes no anomalib.

    Args:
        args: Holds `workers`, `shard` and `preview`: texts, or `None` where not given.

    Raises:
        ConfigurationError: An option is not valid.

    Example:
        >>> read_options(argparse.Namespace(workers="2", shard="1/4", preview=None)).shard
        (1, 4)
    """
    shard = None
    if args.shard is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", args.shard, re.ASCII)
        shard = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= shard[0] <= shard[1]:
            msg = f"--shard must be I/N with 1 <= I <= N, such as 1/4, got {args.shard}"
            raise ConfigurationError(msg)
    if args.workers is not None and not (args.workers.isascii() and args.workers.isdecimal() and int(args.workers)):
        msg = f"--workers must be a whole number, at least 1, got {args.workers}"
        raise ConfigurationError(msg)
    path = Path(args.preview).expanduser() if args.preview else None
    if path is not None and path.suffix.lower() != ".png":
        # Found out now, not after hours of preparing.
        msg = f"--preview writes a PNG file, got {path}: give it a name that ends in .png."
        raise ConfigurationError(msg)
    workers = None if args.workers is None else int(args.workers)
    return PrepareOptions(workers, shard, args.preview is not None, path)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand: make the data module, prepare, and say what came out.

    Args:
        args: The options, and the `data_options`.

    Returns:
        The exit code, 0; also when other shards are missing.

    Raises:
        argparse.ArgumentError: The arguments or a configuration file are wrong.
        ConfigurationError: They ask for something that cannot work, or the data need no preparing.
        PatchGanError: A source is missing or cannot be used.

    Example:
        >>> import contextlib, io, tempfile
        >>> words = ["--data", "BrainPhantom", "--data.cache_dir", tempfile.mkdtemp(), "--data.image_size", "32"]
        >>> for split in ("train", "val", "test"):
        ...     words += [f"--data.{split}_subjects", "1"]
        >>> words += ["--data.slices_per_subject", "1"]
        >>> args = argparse.Namespace(data_options=words, workers="1", shard=None, preview=None)
        >>> with contextlib.redirect_stdout(io.StringIO()) as text:
        ...     code = run(args)
        >>> code, "abnormal" in text.getvalue()
        (0, True)
    """
    options = read_options(args)
    load_anomalib()
    # No base class of its own: whatever can prepare is prepared.
    data: Any = make_data_module(args.data_options)
    if not callable(getattr(data, "prepare", None)):
        msg = f"{type(data).__name__} needs no preparing: it reads its files as they are; train on it directly."
        raise ConfigurationError(msg)
    manifest = data.prepare(workers=options.workers, shard=options.shard)
    root = data.prepared_root
    _print_manifest(root, manifest)
    if options.preview:
        # The first shard may have had nothing to make, which is no failure of it.
        if manifest["missing"] and not manifest["counts"]:
            sys.stdout.write("no preview: nothing is prepared yet\n")
        else:
            from anomalib_patchgan.data.prepare.preview import write_preview

            sys.stdout.write(f"preview: {write_preview(root, options.preview_path or root / PREVIEW)}\n")
    return 0


def _print_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    """Print what is in the prepared folder, what was skipped and what is still missing."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from anomalib_patchgan.data.prepare.splits import SPLITS

    counts: Mapping[str, Mapping[str, int]] = manifest["counts"]
    table = Table("split", box=box.SIMPLE)
    labels = [label for label in ("normal", "abnormal", "mask") if any(label in row for row in counts.values())]
    for label in labels:
        table.add_column(label, justify="right")
    for split in sorted(counts, key=SPLITS.index):
        table.add_row(split, *(str(counts[split].get(label, 0)) for label in labels))
    # Lines of its own for everything else, because rich would wrap them.
    sys.stdout.write(f"{root}\n")
    if counts:
        Console(file=sys.stdout).print(table)
    if "warning" in manifest:
        sys.stdout.write(f"warning: {manifest['warning']}\n")
    sys.stdout.writelines(f"skipped {case}: {reason}\n" for case, reason in manifest["skipped"].items())
    missing = manifest["missing"]
    if missing:
        names = ", ".join([*missing[:_NAMES_SHOWN], *(["..."] if len(missing) > _NAMES_SHOWN else [])])
        sys.stdout.write(f"missing {len(missing)} of {len(manifest['cases'])} cases, left to other shards: {names}\n")
