"""The options of `anomalib-patchgan edge` that make a bundle, checked before anything is exported."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True)
class BundlePlan:
    """The bundle that is wanted.

    Args:
        path: Where to.
        form: Which of the exports goes into it.
        key: Signs it; `None` for no signature.
        note: Under which terms the model may be used.
    """

    path: Path
    form: str
    key: "Ed25519PrivateKey | None"
    note: str

    def write(self, usable: Mapping[str, Path]) -> str:
        """Write the bundle and say so.

        Args:
            usable: XML file of each form that does not lose too much.

        Returns:
            Why there is none; an empty text if there is.
        """
        from anomalib_patchgan.deploy.bundle import write_bundle

        xml = usable.get(self.form)
        if xml is None:
            return f"{self.form} failed or loses too much: choose another --bundle_form"
        try:
            write_bundle(xml, self.path, key=self.key, note=self.note)
        except PatchGanError as error:
            return one_line(error)
        sys.stdout.write(f"bundle of {xml.parent.name}: {self.path}\n")
        return ""


def add_bundle_arguments(parser: argparse.ArgumentParser, forms: Sequence[str]) -> None:
    """Add the options.

    Args:
        parser: Parser of the command.
        forms: Forms of an export.
    """
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="also write a .zip bundle, which `volume` and `images` take as --model",
    )
    parser.add_argument(
        "--bundle_form", choices=forms, metavar="FORM", help="form to bundle, one of --compression (default: FP32)"
    )
    parser.add_argument(
        "--sign_key",
        type=Path,
        metavar="PEM",
        help="sign it with this private key (openssl genpkey -algorithm ed25519)",
    )
    parser.add_argument(
        "--licence_note", type=Path, metavar="FILE", help="text file with the terms under which the model may be used"
    )


def plan_bundle(args: argparse.Namespace) -> BundlePlan | None:
    """Check the options and read the key and the note.

    Args:
        args: The options.

    Returns:
        What is wanted; `None` without `--bundle`.

    Raises:
        ConfigurationError: The options cannot work together, or what signs is not installed.
        PatchGanError: A file is missing or cannot be used.
    """
    from anomalib_patchgan.deploy.bundle import NOTE, SUFFIX
    from anomalib_patchgan.deploy.signature import read_private_key
    from anomalib_patchgan.files import read_text

    if args.bundle is None:
        for name in ("bundle_form", "sign_key", "licence_note"):
            if getattr(args, name) is not None:
                msg = f"--{name} is of use with --bundle FILE only."
                raise ConfigurationError(msg)
        return None
    path = args.bundle.expanduser()
    if path.suffix != SUFFIX or path.is_dir():
        msg = f"--bundle must be a file that ends in {SUFFIX}, got {args.bundle}"
        raise ConfigurationError(msg)
    form = args.bundle_form or "FP32"
    # FP32 is always exported.
    if form not in {"FP32", *(args.compression or ())}:
        msg = f"--bundle_form {form} takes a --compression that names it, too."
        raise ConfigurationError(msg)
    return BundlePlan(
        path=path,
        form=form,
        key=None if args.sign_key is None else read_private_key(args.sign_key.expanduser()),
        note=NOTE if args.licence_note is None else read_text(args.licence_note.expanduser()),
    )
