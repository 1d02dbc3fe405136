"""Loads anomalib with the plugin when a command needs it, and has messages printed once."""

import logging
import warnings
from pathlib import Path

KNOWN_WARNINGS = (
    # anomalib 2.7 still imports timm by its old name.
    r"Importing from timm\.models\.layers is deprecated",
    # anomalib 2.7's own Dinomaly imports anomalib's own deprecated package.
    r"The anomalib\.models\.components\.dinov2 package is deprecated",
    # lightning 2.6 asks torch's pytree in the old way.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


def show_messages() -> None:
    """Have every message printed once."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])


def load_anomalib() -> None:
    """Load anomalib with the plugin, which takes about ten seconds, and have every message printed once.

    Raises:
        UnsupportedVersionError: anomalib is not installed, or outside the supported range.
    """
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=FutureWarning)
    # Before lightning is imported: it then leaves its messages to this handler. anomalib's own set-up
    # (anomalib.loggers.configure_logger) installs two handlers and prints every message twice.
    show_messages()

    from anomalib_patchgan.registry import register

    register()
    # lightning gives this logger a handler of its own, too.
    logging.getLogger("lightning").handlers.clear()


def load_runtime(model: Path) -> None:
    """Load what runs a model: anomalib for a checkpoint only.

    Args:
        model: File of the model.

    Raises:
        PatchGanError: It is a checkpoint that is missing, or anomalib cannot be used.
    """
    if model.suffix == ".ckpt":
        from anomalib_patchgan.deploy.predictor import check_checkpoint

        check_checkpoint(model.expanduser())
        load_anomalib()
    else:
        show_messages()
