r"""Measures changes of PatchGan's training and score on patients held out of a training part, never on test patients.

    python benchmarks/directions.py --data lgg_flair --root ../shared/data --fold 1 --direction default shading \
      --steps 1400 --seed 0 --out runs/directions

Each run leaves `jobs/ID.json`: settings, commit, machine, and for each evidence alone and for their sum image AUROC,
pixel AP and best Dice. A run that has a result is done. Several directions, folds and seeds make several runs.
Directions that train no networks of their own take over the default's, which lie in `networks/` meanwhile. After every
run `directions.json` compares all runs of the folder with the default of the same data, fold, seed and steps;
`fill_numbers.py` makes the tables of it once it lies, with `jobs/`, in `results/directions`. The directions, each
with its reason, stand in `held_out/variants.py`, those that train nothing in `score_variants.py`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from held_out.data import FOLDS, OF_VOLUMES, SIDE, HeldOutData, load
from held_out.evaluation import evaluate
from held_out.results import Run, load_networks, read_result, save_networks, write_result, write_summary
from held_out.training import train
from held_out.variants import DIRECTIONS, settings_of
from lightning import seed_everything

from anomalib_patchgan import PatchGan
from anomalib_patchgan.benchmark.job import describe_machine
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.files import make_writable


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"error: {message}\n")


def perform(run: Run, data: HeldOutData, out: Path, accelerator: str) -> dict[str, Any]:
    """Train, or take over the default's networks, and measure.

    Args:
        run: What to do.
        data: Its data.
        out: Folder of the results.
        accelerator: `cpu` or `cuda`.

    Returns:
        The result, but for the run itself.

    Raises:
        ConfigurationError: The direction needs other data.
        TrainingDivergedError: A loss is not finite.
    """
    started = time.perf_counter()
    direction = DIRECTIONS[run.direction]()
    normal = direction.images(data.train)
    seed_everything(run.seed, verbose=False)
    module = PatchGan(image_size=(SIDE, SIDE), **direction.arguments).to(accelerator)
    if data.comparable_intensities:
        module.model.intensity_normalization = None  # as `PatchGan.setup` does
    machine = describe_machine(accelerator)
    evaluations: list[dict[str, Any]] = []

    def measure(step: int) -> None:
        module.model.eval()
        # The same whether the networks were trained here or taken over.
        with torch.random.fork_rng():  # of the CPU and of the GPUs
            torch.manual_seed(run.seed)
            direction.finish(module, normal, run.steps, run.batch_size)
        found = evaluate(module.model, direction, normal, data.held_out)
        evaluations.append({"steps": step, "seconds": round(time.perf_counter() - started, 1), "found": found})

    networks = module.trained_networks()
    trained_by = None if direction.trains else load_networks(out, run, networks)
    if trained_by is None:
        for step in train(module, normal, direction, steps=run.steps, batch_size=run.batch_size, seed=run.seed):
            if not direction.trains:
                save_networks(out, run, networks, machine["commit"])
            measure(step)
    else:
        measure(run.steps)
    images = {
        "train": len(normal),
        "held_out": len(data.held_out.labels),
        "held_out_with_lesion": int(data.held_out.labels.sum()),
        "held_out_patients": sorted(set(data.held_out.patients.tolist())),
    }
    settings = {"direction": settings_of(run.direction), "folds": FOLDS[run.data], "patchgan": dict(module.hparams)}
    return {
        "evaluations": evaluations,
        "images": images,
        "settings": settings,
        "networks_of_commit": trained_by,
        "environment": machine,
    }


def plan(args: argparse.Namespace) -> list[Run]:
    """Check the arguments and list the runs.

    Raises:
        ConfigurationError: One is out of its range.
    """
    for name, values, known in (
        ("direction", args.direction, DIRECTIONS),
        ("fold", args.fold, range(FOLDS[args.data])),
    ):
        if wrong := [value for value in values if value not in known]:
            msg = f"--{name} {wrong[0]}: there are {', '.join(map(str, known))}"
            raise ConfigurationError(msg)
    for name in args.direction:
        if DIRECTIONS[name].needs_volumes and args.data not in OF_VOLUMES:
            msg = f"{name} needs volumes with evenly spaced slices: --data {' or '.join(OF_VOLUMES)}"
            raise ConfigurationError(msg)
    for name, value, lowest in (
        ("steps", args.steps, 1),
        ("batch_size", args.batch_size, 1),
        ("seed", min(args.seed), 0),
    ):
        if value < lowest:
            msg = f"--{name} must be at least {lowest}, got {value}"
            raise ConfigurationError(msg)
    settings = {"data": args.data, "steps": args.steps, "batch_size": args.batch_size}
    if args.accelerator == "cuda" and not torch.cuda.is_available():
        msg = "--accelerator cuda: torch finds no such GPU here; leave it out to use the CPU"
        raise ConfigurationError(msg)
    runs = [
        Run(direction=direction, fold=fold, seed=seed, **settings)
        for fold in args.fold
        for seed in args.seed
        for direction in args.direction
    ]
    return [run for run in runs if read_result(args.out, run) is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is missing and write the summary."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=FOLDS, required=True)
    parser.add_argument("--root", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--fold", type=int, nargs="+", default=[0], help="which of the training patients are held out")
    parser.add_argument("--direction", nargs="+", required=True, help=f"of {', '.join(DIRECTIONS)}")
    parser.add_argument("--steps", type=int, default=1400, help="of the default; some directions take more")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/directions"))
    parser.add_argument("--cache_dir", type=Path, default=Path("datasets/prepared"), help="of prepared archives")
    args = parser.parse_args(arguments)
    try:
        make_writable(args.out)
        runs = plan(args)
        write_summary(args.out)
        read = cache(partial(load, args.data, args.root, cache_dir=args.cache_dir))
        for run in runs:
            read(fold=run.fold)  # refuses data before any training
        for number, run in enumerate(runs, 1):
            print(f"{number}/{len(runs)} {run.id}", flush=True)
            result = perform(run, read(fold=run.fold), args.out, args.accelerator)
            write_result(args.out, run, result)
            write_summary(args.out)
            print(result["evaluations"][-1]["found"], flush=True)
    except PatchGanError as error:
        parser.error(one_line(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
