"""Options that several commands share, and the old names of renamed ones."""

import argparse
from pathlib import Path
from typing import Any


def add_renamed(
    parser: argparse.ArgumentParser,
    name: str,
    old: str,
    *,
    required: bool = False,
    **settings: Any,  # noqa: ANN401 - argparse's
) -> None:
    """Add an option that also answers to its old name, which the help does not show.

    Args:
        parser: Parser of the command.
        name: The option, such as `--out`.
        old: Its name in an earlier version.
        required: Whether it has to be given.
        settings: Further arguments of `add_argument`.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_renamed(parser, "--out", "--output", required=True)
        >>> parser.parse_args(["--output", "results"]).out
        'results'
    """
    # A group, because argparse asks for a required option by each of its names otherwise.
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(name, **settings)
    hidden = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS, "dest": name.removeprefix("--")}
    group.add_argument(old, **{**settings, **hidden})


def add_model_and_out(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model to run and the folder of its results.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        metavar="FILE",
        help="model.xml of an export, a bundle (.zip), or a checkpoint (.ckpt)",
    )
    parser.add_argument(
        "--public_key", type=Path, metavar="PEM", help="refuse bundles not signed with the matching private key"
    )
    add_renamed(parser, "--out", "--output", required=True, type=Path, metavar="FOLDER", help="output folder")
