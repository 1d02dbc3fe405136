"""The paper's tiles with honest splits: both presets, several seeds, ranking on and off, both lesion strata.

    python benchmarks/tiles.py --data brats2019 --root ../shared/data/brats2019_sample
    python benchmarks/tiles.py --data isic2016 --root ../shared/data/isic2016_sample

BraTS: leave one patient out (another one validates, the others train); ISIC: the official test part. Each training is
one JSON file, written when it is done; a second start does what is missing. AUROCs are scikit-learn's on raw scores.
Ranking only changes how a trained model scores, so that both ways are measured on the same checkpoint. Trivial rules
see the same tiles; which side is abnormal (brighter or darker) they learn on the validation tiles.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from anomalib.data import AnomalibDataset
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader

from anomalib_patchgan import PatchGan
from anomalib_patchgan.anomalib_cli import PatchGanCLI
from anomalib_patchgan.models.patchgan.ranking import PatchRanking

PRESETS = {"default": "tiles", "paper": "tiles_paper_preset"}
STRATA = ("large", "small")


def write_folds(data: str, root: Path, folder: Path) -> dict[str, Path | None]:
    """Split files of leave-one-patient-out for BraTS; the official parts for ISIC."""
    if data == "isic2016":
        return {"official": None}
    cases = sorted(path.name for path in root.glob("**/[HL]GG/*") if path.is_dir())
    folder.mkdir(parents=True, exist_ok=True)
    folds: dict[str, Path | None] = {}
    for number, case in enumerate(cases):
        split = dict.fromkeys(cases, "train") | {cases[(number + 1) % len(cases)]: "val", case: "test"}
        path = folder / f"without-{case}.csv"
        path.write_text("id,split\n" + "".join(f"{name},{part}\n" for name, part in split.items()), encoding="utf-8")
        folds[case] = path
    return folds


def data_options(root: Path, split_file: Path | None) -> list[str]:
    """Command-line options of the data."""
    options = ["--data.init_args.root", str(root)]
    return options + (["--data.init_args.split_file", str(split_file)] if split_file else [])


def auroc(scores: NDArray, dataset: AnomalibDataset) -> dict[str, float]:
    """AUROC of each stratum against all normal tiles."""
    normal = (dataset.samples.label == "normal").to_numpy()
    strata = dataset.samples.stratum.to_numpy()
    return {
        name: float(roc_auc_score(~normal[keep], scores[keep]))
        for name in STRATA
        if (keep := normal | (strata == name))[~normal].any()
    }


def score(model: torch.nn.Module, dataset: AnomalibDataset) -> NDArray:
    """Raw scores of the tiles in the order of the sample table."""
    loader = DataLoader(dataset, batch_size=512, collate_fn=dataset.collate_fn)
    with torch.inference_mode():
        return torch.cat([model(batch.image).pred_score for batch in loader]).numpy()


def rules(val: AnomalibDataset, test: AnomalibDataset) -> dict[str, dict[str, float]]:
    """Trivial rules; the side that is abnormal comes from the validation tiles of both strata."""
    features = {}
    for name, dataset in (("val", val), ("test", test)):
        pixels = np.stack([dataset[index].image.numpy() for index in range(len(dataset))])
        features[name] = {"mean intensity": pixels.mean((1, 2, 3)), "standard deviation": pixels.std((1, 2, 3))}
    labels = (val.samples.label == "abnormal").to_numpy()
    return {
        rule: auroc(values if roc_auc_score(labels, features["val"][rule]) >= 0.5 else -values, test)  # noqa: PLR2004
        for rule, values in features["test"].items()
    }


def run_job(config: Path, options: list[str], seed: int, folder: Path) -> dict[str, object]:
    """Train with one seed through the command line, then measure the last checkpoint."""
    timing = folder / "seconds.txt"
    if not timing.exists():
        command = [sys.executable, "-m", "anomalib_patchgan", "fit", "--config", str(config)]
        command += ["--seed_everything", str(seed), "--default_root_dir", str(folder), *options]
        started = time.monotonic()
        subprocess.run(command, check=True)  # noqa: S603 - our own command line
        timing.write_text(f"{time.monotonic() - started:.0f}")
    checkpoint = max(folder.rglob("model.ckpt"), key=lambda path: path.stat().st_mtime)
    data = PatchGanCLI(["fit", "--config", str(config), *options], run=False).datamodule
    data.setup()
    module = PatchGan.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    ranked = auroc(score(module.model, data.test_data), data.test_data)
    module.model.ranking = PatchRanking(module.model.ranking.patch_size, None)
    return {
        "training_seconds": int(timing.read_text()),
        "tiles": {
            name: {part: int(count) for part, count in table.stratum.fillna("normal").value_counts().items()}
            for name, table in (("train", data.train_data.samples), ("test", data.test_data.samples))
        },
        "ranking on": ranked,
        "ranking off": auroc(score(module.model, data.test_data), data.test_data),
        "rules": rules(data.val_data, data.test_data),
    }


def spread(values: list[float]) -> str:
    """Mean and, of several values, standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def cell(results: list[dict], pick: tuple[str, ...], seeds: list[int]) -> str:
    """One figure of the table: the mean over folds per seed, then mean and spread over seeds."""
    per_seed = []
    for seed in seeds:
        values = []
        for result in results:
            value: object = result
            for key in pick:
                value = value.get(key) if isinstance(value, dict) else None
            if result["seed"] == seed and isinstance(value, float):
                values.append(value)
        if values:
            per_seed.append(statistics.mean(values))
    return spread(per_seed) if per_seed else ""


def summarise(results: list[dict], command: str) -> str:
    """Markdown table, AUROC of the two strata."""
    seeds = sorted({result["seed"] for result in results})
    lines = [f"`{command}`", "", "| | lesion ≥ 75 % | lesion 5-30 % | training s |", "|---|---|---|---|"]
    for preset in PRESETS:
        own = [result for result in results if result["preset"] == preset]
        for way in ("ranking on", "ranking off"):
            cells = [cell(own, (way, stratum), seeds) for stratum in STRATA]
            seconds = statistics.mean(result["training_seconds"] for result in own)
            lines.append(f"| {preset} preset, {way} | {' | '.join(cells)} | {seconds:.0f} |")
    for rule in results[0]["rules"]:
        cells = [cell(results, ("rules", rule, stratum), seeds[:1]) for stratum in STRATA]
        lines.append(f"| {rule} | {' | '.join(cells)} | 0 |")
    folds = sorted({result["fold"] for result in results})
    lines += ["", f"AUROC, mean ± sd over seeds {seeds}; folds: {', '.join(folds)}.", ""]
    if len(folds) > 1:
        lines += ["By test patient (mean over seeds), small stratum:", "", "| | " + " | ".join(folds) + " |"]
        lines += ["|---" * (len(folds) + 1) + "|"]
        for preset in PRESETS:
            for way in ("ranking on", "ranking off"):
                cells = []
                for fold in folds:
                    own = [r for r in results if r["preset"] == preset and r["fold"] == fold and "small" in r[way]]
                    cells.append(f"{statistics.mean(r[way]['small'] for r in own):.3f}" if own else "")
                lines.append(f"| {preset}, {way} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, f"Machine: {results[0]['machine']}. Versions: {results[0]['versions']}.", ""])


def main() -> None:
    """Run what is missing, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["brats2019", "isic2016"], required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--out", type=Path, help="benchmarks/results/tiles_<data> by default")
    args = parser.parse_args()
    out = args.out or Path("benchmarks/results") / f"tiles_{args.data}"
    runs = Path("runs") / out.name
    out.mkdir(parents=True, exist_ok=True)
    folds = write_folds(args.data, args.root, runs / "folds")
    for seed in args.seeds:
        for preset in args.presets:
            for fold, split_file in folds.items():
                path = out / f"{preset}-{fold}-seed-{seed}.json"
                if path.exists():
                    continue
                config = Path(f"configs/experiment/{args.data}_{PRESETS[preset]}.yaml")
                head = {"config": str(config), "preset": preset, "fold": fold, "seed": seed}
                head["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
                head["versions"] = {n: version(n) for n in ("anomalib", "anomalib-patchgan", "torch", "lightning")}
                result = run_job(config, data_options(args.root, split_file), seed, runs / path.stem)
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps(head | result, indent=2) + "\n")
                temporary.replace(path)
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*-seed-*.json"))]
    summary = summarise(results, f"python benchmarks/tiles.py --data {args.data} --root {args.root}")
    (out / "summary.md").write_text(summary)
    print(summary)


if __name__ == "__main__":
    main()
