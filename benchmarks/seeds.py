"""Train one experiment config with several seeds and measure raw-score metrics on its test split.

    python benchmarks/seeds.py --config configs/experiment/lgg_flair.yaml --out benchmarks/results/lgg_flair

Each seed is one JSON file, written when it is done; a second start does what is missing. `summary.md` holds the table.
Metrics are scikit-learn's on the model's own scores and maps, before anomalib's thresholds and normalisation. The
trivial rules beside them see the same test slices and learn nothing.
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
import yaml
from anomalib.data import ImageBatch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomalib_patchgan import PatchGan
from anomalib_patchgan.anomalib_cli import PatchGanCLI

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "best_dice")


def measure(scores: NDArray, maps: NDArray, labels: NDArray, masks: NDArray) -> dict[str, float]:
    """Metrics without a threshold; the best Dice is over all thresholds on all pixels together."""
    truth, predicted = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(truth, predicted)
    dice = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "image_auroc": float(roc_auc_score(labels, scores)),
        "pixel_auroc": float(roc_auc_score(truth, predicted)),
        "pixel_ap": float(average_precision_score(truth, predicted)),
        "best_dice": float(dice.max()),
    }


def root_option(root: str | None) -> list[str]:
    """Command-line option for another data folder than the config's."""
    return ["--data.init_args.root", root] if root else []


def test_batches(config: Path, root: str | None, transform: torch.nn.Module) -> list[ImageBatch]:
    """Test split of the config's data module, at the model's size."""
    data = PatchGanCLI(["fit", "--config", str(config), *root_option(root)], run=False).datamodule
    data.prepare_data()
    data.setup()
    data.test_data.augmentations = transform
    return list(data.test_dataloader())


def middle_distance(paths: list[str]) -> NDArray:
    """Position rule: slices near the middle of a patient's test slices score high."""
    numbers = np.array([int("".join(filter(str.isdigit, Path(p).stem.rsplit("_", 1)[-1]))) for p in paths], float)
    patients = np.array([Path(p).stem.rsplit("_", 1)[0] for p in paths])
    score = np.zeros(len(paths))
    for patient in np.unique(patients):
        own = numbers[patients == patient]
        score[patients == patient] = -np.abs(own - (own.min() + own.max()) / 2) / max(np.ptp(own), 1)
    return score


def evaluate(checkpoint: Path, config: Path, root: str | None) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics of a checkpoint, and of the trivial rules on the same slices."""
    module = PatchGan.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    batches = test_batches(config, root, module.pre_processor.transform)
    with torch.inference_mode():
        outputs = [module.model(batch.image) for batch in batches]
    labels = torch.cat([batch.gt_label for batch in batches]).numpy().astype(int)
    masks = torch.cat([batch.gt_mask for batch in batches]).numpy().astype(bool)
    maps = torch.cat([output.anomaly_map for output in outputs]).squeeze(1).numpy()
    scores = torch.cat([output.pred_score for output in outputs]).numpy()
    grey = torch.cat([batch.image.mean(1) for batch in batches]).numpy()
    position = middle_distance([path for batch in batches for path in batch.image_path])
    rules = {
        "mean intensity": measure(grey.mean((1, 2)), grey, labels, masks),
        "max intensity": {"image_auroc": float(roc_auc_score(labels, grey.max((1, 2))))},
        "slice position": {"image_auroc": float(roc_auc_score(labels, position))},
    }
    return measure(scores, maps, labels, masks), rules


def run_seed(config: Path, seed: int, root: str | None, folder: Path) -> dict[str, object]:
    """Train with one seed through the command line, then measure the last checkpoint."""
    timing = folder / "seconds.txt"
    if not timing.exists():
        command = [sys.executable, "-m", "anomalib_patchgan", "fit", "--config", str(config)]
        command += ["--seed_everything", str(seed), "--default_root_dir", str(folder)]
        command += root_option(root)
        started = time.monotonic()
        subprocess.run(command, check=True)  # noqa: S603 - our own command line
        timing.write_text(f"{time.monotonic() - started:.0f}")
    checkpoint = max(folder.rglob("model.ckpt"), key=lambda path: path.stat().st_mtime)
    metrics, rules = evaluate(checkpoint, config, root)
    return {
        "config": str(config),
        "seed": seed,
        "training_seconds": int(timing.read_text()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("anomalib", "anomalib-patchgan", "torch", "lightning")},
        "metrics": metrics,
        "trivial_rules": rules,
    }


def summarise(results: list[dict], command: str) -> str:
    """Markdown table of all seeds, their mean and spread, and the trivial rules."""
    lines = [f"`{command}`", "", f"| | {' | '.join(METRICS)} | training s |", "|---" * (len(METRICS) + 2) + "|"]
    for result in results:
        cells = [f"{result['metrics'][name]:.3f}" for name in METRICS]
        lines.append(f"| seed {result['seed']} | {' | '.join(cells)} | {result['training_seconds']} |")
    if len(results) > 1:
        columns = [[result["metrics"][name] for result in results] for name in METRICS]
        cells = [f"**{statistics.mean(column):.3f}** ± {statistics.stdev(column):.3f}" for column in columns]
        lines.append(f"| mean ± sd | {' | '.join(cells)} | |")
    for rule, metrics in results[0]["trivial_rules"].items():
        cells = [f"{metrics[name]:.3f}" if name in metrics else "" for name in METRICS]
        lines.append(f"| {rule} | {' | '.join(cells)} | 0 |")
    return "\n".join([*lines, "", f"Machine: {results[0]['machine']}. Versions: {results[0]['versions']}.", ""])


def main() -> None:
    """Run what is missing, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="where trainings and checkpoints go; runs/<name of --out> by default")
    parser.add_argument("--root", help="data folder, if not the one in the config")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load(args.config.read_text())
    config["data"]["init_args"].pop("root", None)  # a path of one machine
    stored = args.out / "config.yaml"
    if stored.exists() and yaml.safe_load(stored.read_text()) != config:
        parser.error(f"{args.out} holds results of another config; give another --out")
    stored.write_text(yaml.safe_dump(config))
    # Named like the results: trainings of two configs must never be taken for each other.
    runs = args.runs or Path("runs") / args.out.name
    results = []
    for seed in args.seeds:
        path = args.out / f"seed-{seed}.json"
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.write_text(
                json.dumps(run_seed(args.config, seed, args.root, runs / f"seed-{seed}"), indent=2) + "\n"
            )
            temporary.replace(path)
        results.append(json.loads(path.read_text()))
    seeds = " ".join(map(str, args.seeds))
    command = f"python benchmarks/seeds.py --config {args.config} --seeds {seeds} --out {args.out}"
    summary = summarise(results, command)
    (args.out / "summary.md").write_text(summary)
    print(summary)


if __name__ == "__main__":
    main()
