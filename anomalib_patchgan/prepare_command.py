"""`anomalib-patchgan prepare`: prepares the data of a data module ahead of a training, whole or in shards."""

import argparse
import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.errors import ConfigurationError, one_line

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule
    from jsonargparse import ArgumentParser

COMMAND = "prepare"
DESCRIPTION = "Prepare the data of a training ahead of it, whole or in shards, and show what came out."
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
_NO_DATA = "nothing says which data to prepare: give --data CLASS, --data FILE, or --config FILE with a `data` part"
_NAMES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """The options of the command itself.

    Args:
        workers: Processes; `None` for those that the data module is given.
        shard: `(i, n)`, the i-th of n shards, from 1.
        preview: Draw a preview.
        preview_path: Where to; `None` for `preview.png` in the prepared folder.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    workers: int | None = None
    shard: tuple[int, int] | None = None
    preview: bool = False
    preview_path: Path | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.workers is not None and self.workers < 1:
            msg = f"--workers must be at least 1, got {self.workers}"
            raise ConfigurationError(msg)
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            msg = f"--shard must be I/N with 1 <= I <= N, such as 1/4, got {self.shard[0]}/{self.shard[1]}"
            raise ConfigurationError(msg)


def add_prepare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command itself; those of the data module are left to jsonargparse.

    Args:
        parser: Parser of the command; it must not take abbreviations, or it would take the data module's options.

    Example:
        >>> parser = argparse.ArgumentParser(allow_abbrev=False)
        >>> add_prepare_arguments(parser)
        >>> parser.parse_known_args(["--shard", "1/4", "--data", "BraTS2019"])[1]
        ['--data', 'BraTS2019']
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "%(prog)s [--config FILE] [--data CLASS_OR_FILE] [--data.OPTION VALUE ...] [options]"
    parser.epilog = _EPILOG
    # Texts, because argparse reports a wrong number over several lines.
    parser.add_argument("--workers", metavar="N", help="processes (default: one per core)")
    parser.add_argument(
        "--shard", metavar="I/N", help="make every N-th case only, from the I-th; each job of N makes one shard"
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        const="",
        metavar="FILE",
        help=f"draw samples of every split and label to a PNG file (default: {PREVIEW} in the prepared folder)",
    )


def read_options(namespace: argparse.Namespace) -> PrepareOptions:
    """Check the options of the command itself, which takes no anomalib.

    Args:
        namespace: Holds `workers`, `shard` and `preview`: texts, or `None` where not given.

    Raises:
        ConfigurationError: An option is not valid.

    Example:
        >>> read_options(argparse.Namespace(workers="2", shard="1/4", preview=None)).shard
        (1, 4)
    """
    shard = None
    if namespace.shard is not None:
        match = re.fullmatch(r"(\d+)/(\d+)", namespace.shard, re.ASCII)
        if match is None:
            msg = f"--shard must be I/N with 1 <= I <= N, such as 1/4, got {namespace.shard}"
            raise ConfigurationError(msg)
        shard = int(match[1]), int(match[2])
    if namespace.workers is not None and re.fullmatch(r"-?\d+", namespace.workers, re.ASCII) is None:
        msg = f"--workers must be a whole number, at least 1, got {namespace.workers}"
        raise ConfigurationError(msg)
    path = Path(namespace.preview).expanduser() if namespace.preview else None
    if path is not None and path.suffix.lower() != ".png":
        # Found out now, not after hours of preparing.
        msg = f"--preview writes a PNG file, got {path}: give it a name that ends in .png"
        raise ConfigurationError(msg)
    return PrepareOptions(
        workers=None if namespace.workers is None else int(namespace.workers),
        shard=shard,
        preview=namespace.preview is not None,
        preview_path=path,
    )


def run_prepare(arguments: Sequence[str], options: PrepareOptions) -> int:
    """Run the subcommand: make the data module, prepare, and say what came out.

    Args:
        arguments: `--data`, `--data.OPTION` and `--config`, as for `train`.
        options: The options of the command itself.

    Returns:
        The exit code, 0; also when other shards are missing.

    Raises:
        argparse.ArgumentError: The arguments or a configuration file are wrong.
        ConfigurationError: They ask for something that cannot work, or the data need no preparing.
        PatchGanError: A source is missing or cannot be used.

    Example:
        >>> import contextlib, io, tempfile
        >>> arguments = ["--data", "BrainPhantom", "--data.cache_dir", tempfile.mkdtemp(), "--data.image_size", "32"]
        >>> for split in ("train", "val", "test"):
        ...     arguments += [f"--data.{split}_subjects", "1"]
        >>> with contextlib.redirect_stdout(io.StringIO()) as text:
        ...     code = run_prepare([*arguments, "--data.slices_per_subject", "1"], PrepareOptions(workers=1))
        >>> code, "abnormal" in text.getvalue()
        (0, True)
    """
    # No base class of its own: whatever can prepare is prepared.
    data: Any = make_data_module(arguments)
    if not callable(getattr(data, "prepare", None)):
        msg = f"{type(data).__name__} needs no preparing: it reads its files as they are; train on it directly"
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


def make_data_module(arguments: Sequence[str]) -> "AnomalibDataModule":
    """Make a data module as `train` does, without the model.

    Args:
        arguments: `--data`, `--data.OPTION` and `--config`; of a configuration only the data part is read.

    Raises:
        argparse.ArgumentError: The arguments or a configuration file are wrong.
        ConfigurationError: There is no data part, or the data module refuses its arguments.

    Example:
        >>> type(make_data_module(["--data", "PreparedFolder", "--data.root", "slices"])).__name__
        'PreparedFolder'
    """
    parser = _data_parser()
    config = parser.parse_args(list(arguments))
    if config.get("data") is None:
        raise ConfigurationError(_NO_DATA)
    try:
        return parser.instantiate_classes(config)["data"]
    except ValueError as error:
        # jsonargparse takes an error of a constructor for a value of the wrong type, and wraps it so.
        if not str(error).startswith("Does not validate against any of the Union subtypes"):
            raise
        raise ConfigurationError(one_line(error)) from error


def _data_parser() -> "ArgumentParser":
    """Return a parser of the data part of `train`'s arguments."""
    import yaml
    from anomalib.data import AnomalibDataModule
    from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

    class DataParser(ArgumentParser):
        """Reads of a configuration file its data part only."""

        def parse_string(self, cfg_str: str, *args: Any, **kwargs: Any) -> Namespace:  # noqa: ANN401 - jsonargparse's
            # What is no YAML is left to jsonargparse, which says why. Nodes and not values, because jsonargparse
            # reads some values in its own way, such as 1e-3.
            with contextlib.suppress(yaml.YAMLError):
                root = yaml.compose(cfg_str, yaml.SafeLoader)
                if isinstance(root, yaml.MappingNode):
                    root.value = [(key, value) for key, value in root.value if key.value == "data"]
                    cfg_str = yaml.serialize(root)
            return super().parse_string(cfg_str, *args, **kwargs)

    parser = DataParser(prog=f"anomalib-patchgan {COMMAND}", exit_on_error=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile)
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    return parser


def _print_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    """Print what is in the prepared folder, what was skipped and what is still missing."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    counts: Mapping[str, Mapping[str, int]] = manifest["counts"]
    table = Table("split", box=box.SIMPLE)
    labels = [label for label in ("normal", "abnormal", "mask") if any(label in row for row in counts.values())]
    for label in labels:
        table.add_column(label, justify="right")
    for split in sorted(counts, key=("train", "val", "test").index):
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
