"""What the runs leave behind: a JSON file of each, trained networks for those that share them, and a summary of all."""

import io
import pickle
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anomalib_patchgan import PatchGan
from anomalib_patchgan.benchmark.code import code_of
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import read_json, write_atomically, write_json
from anomalib_patchgan.measure.curves import require_finite
from held_out.direction import SUM
from held_out.variants import DIRECTIONS

JOBS, NETWORKS, SUMMARY = "jobs", "networks", "directions.json"
DEFAULT = "default"
# Metrics of each evidence and of their sum.
Found = dict[str, dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run was asked to do.

    Args:
        direction: One of `DIRECTIONS`.
        data: One of the data sets.
        fold: Which patients are held out.
        seed: Seed of the training.
        steps: Steps of the default.
        batch_size: Images per step.
    """

    direction: str
    data: str
    fold: int
    seed: int
    steps: int
    batch_size: int

    @property
    def id(self) -> str:
        """Name of its files."""
        return f"{self.data}-fold-{self.fold}-seed-{self.seed}-steps-{self.steps}-{self.direction}"

    @property
    def place(self) -> str:
        """What a direction and the default must share to be compared, but for the seed."""
        return f"{self.data}/{self.fold}/{self.steps}"


def read_result(out: Path, run: Run) -> dict[str, Any] | None:
    """Read the result of a run; `None` if there is none, or after a crash of the machine not a whole one.

    Raises:
        DataError: It was made with other settings.
    """
    path = out / JOBS / f"{run.id}.json"
    found = read_json(path)
    if found is not None and found.get("run") != asdict(run):
        msg = f"{path} was made with other settings, {found.get('run')}: give another --out, or delete it"
        raise DataError(msg)
    return found


def write_result(out: Path, run: Run, numbers: Mapping[str, Any]) -> None:
    """Write the result of a run."""
    write_json(out / JOBS / f"{run.id}.json", {"run": asdict(run), **numbers})


def save_networks(out: Path, run: Run, networks: Sequence[nn.Module], commit: str | None) -> None:
    """Keep the default's networks, for the directions that train none of their own."""
    buffer = io.BytesIO()
    states = [network.state_dict() for network in networks]
    torch.save({"of": _identity(run), "commit": commit, "networks": states}, buffer)
    write_atomically(_path(out, run), buffer.getvalue())


def load_networks(out: Path, run: Run, networks: Sequence[nn.Module]) -> str | None:
    """Load the default's networks if they were trained with the same settings and the same code of the model.

    Returns:
        The commit that they were trained with, "" where it is not known; `None` if there are none.
    """
    try:
        found = torch.load(_path(out, run), map_location="cpu", weights_only=True)
        if found["of"] != _identity(run):
            return None
        for network, state in zip(networks, found["networks"], strict=True):
            network.load_state_dict(state)
    # A file that is not there, not whole or of other networks: they are trained again.
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError):
        return None
    return str(found["commit"] or "")


def _path(out: Path, run: Run) -> Path:
    return out / NETWORKS / f"{replace(run, direction=DEFAULT).id}.pt"


def _identity(run: Run) -> dict[str, Any]:
    return asdict(replace(run, direction=DEFAULT)) | {"code": code_of(PatchGan)}


def summarise(out: Path) -> dict[str, Any]:
    """Compare all runs of a folder with the default of the same data, fold, seed, steps and accelerator.

    Returns:
        `default`: for `DATA/FOLD/STEPS` the means over seeds of the default's metrics, and of the pixel AP of each of
        its evidences alone; `rows`: for each other direction that was run beside the default, under
        `DATA/FOLD/STEPS/METRIC`, the mean difference of the sum to it, of the last step of each run. Both count the
        seeds.

    Raises:
        DataError: A file is no result, or runs that would be compared took batches of different sizes.
    """
    sizes: dict[str, int] = {}
    # A seed draws other numbers on another accelerator.
    runs: dict[str, dict[str, dict[tuple[int, str], Found]]] = {}
    for run, accelerator, found in _results(out):
        if sizes.setdefault(run.place, run.batch_size) != run.batch_size:
            msg = (
                f"{out / JOBS / run.id}.json has batches of {run.batch_size} images, others of {run.place} have "
                f"{sizes[run.place]}: runs are compared with the default of the same size; give another --out"
            )
            raise DataError(msg)
        runs.setdefault(run.place, {}).setdefault(run.direction, {})[run.seed, accelerator] = found
    default: dict[str, dict[str, float | int]] = {}
    rows: dict[str, dict[str, float | int]] = {}
    for place, of in sorted(runs.items()):
        base = of.pop(DEFAULT, {})
        if base:
            default[place] = {"seeds": len(base)} | _means([_flat(found) for found in base.values()])
        for direction, own in of.items():
            seeds = own.keys() & base.keys()
            if seeds:
                ours, theirs = (_means([one[seed][SUM] for seed in sorted(seeds)]) for one in (own, base))
                numbers = {"seeds": len(seeds)} | {name: ours[name] - theirs[name] for name in ours}
                rows.setdefault(direction, {}).update({f"{place}/{key}": value for key, value in numbers.items()})
    return {"default": default, "rows": {name: rows[name] for name in DIRECTIONS if name in rows}}


def _flat(found: Found) -> dict[str, float | None]:
    """Metrics of the sum, and the pixel AP of each evidence alone by its name."""
    return found[SUM] | {name: one["pixel_AP"] for name, one in found.items() if name != SUM}


def _means(numbers: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Mean of each number that is known of all."""
    columns = {key: [one[key] for one in numbers] for key in numbers[0]}
    return {key: statistics.mean(values) for key, values in columns.items() if None not in values}


def write_summary(out: Path) -> None:
    """Write what `summarise` finds, for the tables of the documentation."""
    write_json(out / SUMMARY, summarise(out))


def _results(out: Path) -> Iterator[tuple[Run, str, Found]]:
    """Yield every run, its accelerator and its last numbers; a file that a crash cut off counts as not there."""
    for path in sorted((out / JOBS).glob("*.json")):
        content = read_json(path)
        if content is None:
            continue
        try:
            run, last = Run(**content["run"]), content["evaluations"][-1]["found"]
            last[SUM]
            metrics = [value for found in last.values() for value in found.values() if value is not None]
            require_finite(np.array(metrics), "metrics")
            accelerator = content["environment"]["accelerator"]
        except (TypeError, KeyError, IndexError, DataError) as error:
            msg = f"{path} is no whole result of a direction ({error!r}): delete it and run that again"
            raise DataError(msg) from error
        yield run, accelerator, last
