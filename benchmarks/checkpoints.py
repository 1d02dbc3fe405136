r"""Makes checkpoints of networks that a comparison has kept, to measure whole volumes or an export with them.

    python benchmarks/checkpoints.py runs/brats_slices --root ../shared/data --out runs/brats_slices/checkpoints

A comparison keeps the networks of a model that another row takes over (`networks_of`). They are calibrated on the same
images as in the comparison and validated, which stores the thresholds: `OUT/ID.ckpt` for each `RUN/networks/ID.pt`.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anomalib.engine import Engine
from lightning import seed_everything

from anomalib_patchgan.benchmark.build import build_data, build_model
from anomalib_patchgan.benchmark.rated import spec_of
from anomalib_patchgan.benchmark.results import JOBS, read_job
from anomalib_patchgan.benchmark.shared_networks import TakeNetworks
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import make_writable
from anomalib_patchgan.registry import register


def make_checkpoint(networks: Path, out: Path, root: Path | None) -> Path:
    """Write the checkpoint of one training.

    Args:
        networks: `RUN/networks/ID.pt`; the job's record is read from `RUN/jobs/ID.json`.
        out: Folder of the checkpoint.
        root: Where the data lie; `None` takes the folder that the job was run with.

    Returns:
        The checkpoint, which is kept if it is there.

    Raises:
        PatchGanError: The record, the networks or the data cannot be used.
    """
    target = out / f"{networks.stem}.ckpt"
    if target.exists():
        return target
    record = networks.parent.parent / JOBS / f"{networks.stem}.json"
    result = read_job(record)
    job = None if result is None else spec_of(result)
    if job is None:
        msg = f"{record} does not say how {networks} were trained: run the comparison again, or delete the networks."
        raise DataError(msg)
    if root is not None:
        arguments = {**(job.data_config.get("init_args") or {}), "root": str(root)}
        job = replace(job, data_config={**job.data_config, "init_args": arguments})
    seed_everything(job.seed, workers=True, verbose=False)
    model, data = build_model(job), build_data(job)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        engine = Engine(
            accelerator="cpu",
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            max_epochs=0,
            callbacks=[TakeNetworks(networks)],
        )
        engine.fit(model, datamodule=data)
        engine.validate(model, datamodule=data, verbose=False)
        written = Path(folder) / target.name
        engine.trainer.save_checkpoint(written)
        written.replace(target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all checkpoints of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a comparison, with networks/")
    parser.add_argument("--root", type=Path, help="where the data lie, if not where the comparison found them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    options = parser.parse_args(arguments)
    register()
    try:
        kept = sorted((options.run / "networks").glob("*.pt"))
        if not kept:
            msg = f"{options.run} keeps no networks: run a comparison in which a row has networks_of."
            raise DatasetNotFoundError(msg)
        make_writable(options.out)
        for networks in kept:
            sys.stdout.write(f"{make_checkpoint(networks, options.out, options.root)}\n")
    except PatchGanError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
