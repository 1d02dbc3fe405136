"""`anomalib-patchgan volume --watch`: processes the cases of a folder as they arrive."""

import argparse
import math
import os
import sys
from typing import TYPE_CHECKING

from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError, PatchGanError, one_line

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.watch.lock import FolderLock
    from anomalib_patchgan.deploy.watch.status import Status
    from anomalib_patchgan.deploy.watch.stopping import Stopping

_SETTLE_S, _INTERVAL_S = 10.0, 5.0


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a watch beside `--watch` itself.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--settle",
        type=float,
        metavar="SECONDS",
        help=f"with --watch: how long a case must be unchanged before it is processed (default: {_SETTLE_S:g})",
    )
    parser.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help=f"with --watch: time between two scans of the folder (default: {_INTERVAL_S:g})",
    )


def check_watch_options(args: argparse.Namespace) -> None:
    """Refuse options that make no sense with, or without, `--watch`.

    Raises:
        ConfigurationError: There is one.

    Example:
        >>> check_watch_options(argparse.Namespace(watch=None, settle=3.0, interval=None))
        Traceback (most recent call last):
        anomalib_patchgan.errors.ConfigurationError: --settle is of --watch: leave it out with --input.
    """
    if args.watch is None:
        for name in ("settle", "interval"):
            if getattr(args, name) is not None:
                msg = f"--{name} is of --watch: leave it out with --input."
                raise ConfigurationError(msg)
        return
    if args.force:
        msg = "--force would do all cases again at each start of a watch: leave it out, or give another --out."
        raise ConfigurationError(msg)
    if args.masks:
        msg = "--masks sums up a cohort, and a watch has no end: run `volume --input` with --masks on the same --out."
        raise ConfigurationError(msg)
    if args.settle is not None and not 0 <= args.settle < math.inf:
        msg = f"--settle must be a number of seconds, 0 or more, got {args.settle:g}."
        raise ConfigurationError(msg)
    if args.interval is not None and not 0 < args.interval < math.inf:
        msg = f"--interval must be a number of seconds above 0, got {args.interval:g}."
        raise ConfigurationError(msg)
    if os.name != "posix":
        msg = "--watch needs locks and signals that Windows has not: run it on Linux or macOS."
        raise ConfigurationError(msg)


def run_watch(args: argparse.Namespace) -> int:
    """Watch a folder until SIGTERM or SIGINT.

    Args:
        args: The options, checked.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: Another watch writes to the same folder, or the options contradict the model.
        PatchGanError: The model or one of the folders cannot be used.
    """
    from anomalib_patchgan.deploy.watch.lock import FolderLock
    from anomalib_patchgan.deploy.watch.status import Status, check_no_case
    from anomalib_patchgan.deploy.watch.stopping import Stopping
    from anomalib_patchgan.files import make_writable

    watched, out, model = (getattr(args, name).expanduser() for name in ("watch", "out", "model"))
    if not watched.is_dir():
        msg = f"--watch {watched} is no folder: make it, or mount its disk first."
        raise DatasetNotFoundError(msg)
    if not model.is_file():
        msg = f"{model} does not exist: give the model.xml of an export, a bundle (.zip), or a checkpoint (.ckpt)."
        raise DatasetNotFoundError(msg)
    if out.resolve() == watched.resolve():
        msg = f"--out is the folder that is watched, {watched}: give another one."
        raise ConfigurationError(msg)
    # From here on, so that a service that is stopped while it starts is no failure.
    with Stopping() as stopping:
        make_writable(out)
        check_no_case(out)
        lock = FolderLock(out)
        lock.acquire()
        try:
            status = Status(out, watched)
            status.recall()
            _watch(args, status, lock, stopping)
        finally:
            lock.release()
    return 0


def _watch(args: argparse.Namespace, status: "Status", lock: "FolderLock", stopping: "Stopping") -> None:
    """Load the model once, and work until it is time to stop."""
    from anomalib_patchgan.deploy.dicom.studies import DicomOptions, wanted_series
    from anomalib_patchgan.deploy.volume import VolumeInferencer, describe_basis
    from anomalib_patchgan.deploy.watch.inbox import WatchOptions
    from anomalib_patchgan.deploy.watch.service import Watch

    _say(status)
    try:
        inferencer = VolumeInferencer(args.model, batch_size=args.batch_size, public_key=args.public_key)
        wanted_series(args.series, inferencer.modalities)
    except PatchGanError as error:
        status.state, status.problem = "stopped", one_line(error)
        _say(status)
        raise
    options = WatchOptions(
        watched=status.watched,
        dicom=DicomOptions(status.folder, tuple(args.series), keep_identity=args.keep_identity),
        map_type=args.map_type,
        settle_s=_SETTLE_S if args.settle is None else args.settle,
        interval_s=_INTERVAL_S if args.interval is None else args.interval,
    )
    status.model = inferencer.predictor.identity
    sys.stderr.write(f"{describe_basis(inferencer)}\n")
    Watch(inferencer, options, lock, status, stopping).run()


def _say(status: "Status") -> None:
    """Write the status, unless the disk is full: the watch waits for space then."""
    try:
        status.write()
    except OSError as error:
        sys.stderr.write(f"{status.folder} cannot be written to: {error.strerror}\n")
