"""Small comparisons of the benchmark that really run, and what they leave behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

SIZE = [64, 64]
PATCHGAN = {"class_path": "PatchGan", "init_args": {"image_size": SIZE, "depth": 2, "downscale": 1, "width": 8}}
# Nothing to train, so nearly all of the time is that of the benchmark itself.
MEAN = {"class_path": "MeanIntensity", "init_args": {"image_size": SIZE}}
# anomalib's own data module on a prepared folder.
FOLDER = {"name": "discs", "normal_dir": "train/normal", "abnormal_dir": "test/abnormal", "num_workers": 0}


def write_comparison(
    path: Path,
    root: Path,
    models: Sequence[Mapping[str, Any]],
    *,
    seed: object = 0,
    folder: Mapping[str, Any] | None = None,
    validate_every: int = 1,
    **data: object,
) -> Path:
    """Write the YAML of a comparison.

    Args:
        path: File to write.
        root: Prepared folder.
        models: The models.
        seed: Seed, or a grid of them.
        folder: Arguments of anomalib's `Folder`, which then reads the data.
        validate_every: After how many of the two epochs the models are validated.
        data: Arguments of `PreparedFolder`, beside those that all have.

    Returns:
        The file.
    """
    arguments = {"root": str(root), "train_batch_size": 8, "num_workers": 0, "val_split_ratio": 0.4, **data}
    source: dict[str, Any] = {"name": "discs", "class_path": "PreparedFolder", "init_args": arguments}
    if folder is not None:
        source = {"class_path": "Folder", "init_args": {"root": str(root), **FOLDER, **folder}}
    benchmark = {
        "seed": seed,
        "evaluation_size": SIZE,
        "trainer": {"max_epochs": 2, "check_val_every_n_epoch": validate_every},
        "data": source,
        "model": {"grid": list(models)},
    }
    path.write_text(yaml.safe_dump({"accelerator": ["cpu"], "benchmark": benchmark}), encoding="utf-8")
    return path


def job_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every job file of a run."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted((folder / "jobs").iterdir())}
