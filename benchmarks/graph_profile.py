r"""Times exports of one model, such as those that two versions made, in turns and operation by operation.

Export with each version, `anomalib-patchgan edge --model CKPT --compression FP32 --out before`, then:

    python benchmarks/graph_profile.py before=before/FP32/model.xml after=after/FP32/model.xml --size 256 \
        --out benchmarks/results/edge/graphs.json
"""

import argparse
import platform
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.files import write_json
from anomalib_patchgan.measure.cost import run_profile
from anomalib_patchgan.processes import available_cores

ROUNDS = 5
SHOWN = 12


def main() -> None:
    """Time all of them, print and write the milliseconds by kind of operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=XML", help="exports by the name that they get")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    models: dict[str, str] = {}
    for pair in args.models:
        name, _, xml = pair.partition("=")
        if not Path(xml).is_file():
            parser.error(f"{pair}: there is no such file: give NAME=XML of each export")
        models[name] = xml

    how = {"size": [args.size, args.size], "threads": available_cores(), "repetitions": args.repetitions}
    try:
        times = run_profile("latency", models=models, **how)
        # Several processes each, in turns: one may meet a slower moment of the machine.
        rounds = [
            {name: run_profile("operations", xml=xml, **how)["ms"] for name, xml in models.items()}
            for _ in range(ROUNDS)
        ]
    except PatchGanError as error:
        parser.error(one_line(error))
    kinds = {
        name: {kind: float(np.median([one[name].get(kind, 0.0) for one in rounds])) for kind in rounds[0][name]}
        for name in models
    }
    totals = {
        name: {"p50": float(np.median(times[name])), "all operations": sum(kinds[name].values())} for name in models
    }
    table = Table("ms", *models, title=f"{args.size}x{args.size}, batch 1")
    for kind in ("p50", "all operations"):
        table.add_row(kind, *(f"{totals[name][kind]:.2f}" for name in models))
    for kind in list(kinds[next(iter(models))])[:SHOWN]:
        table.add_row(kind, *(f"{kinds[name].get(kind, 0.0):.2f}" for name in models))
    Console().print(table)
    machine = f"{platform.machine()}, {how['threads']} threads"
    graphs = {name: {**totals[name], "operations": kinds[name]} for name in models}
    write_json(args.out, {"size": args.size, "repetitions": args.repetitions, "machine": machine, "graphs": graphs})


if __name__ == "__main__":
    main()
