"""What a training by the command line left behind: its model, its data and its checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning.pytorch import seed_everything

from anomalib_patchgan.benchmark.build import build
from anomalib_patchgan.benchmark.plan import JobSpec
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.run_checks import check_checkpoint_file

CONFIG = "config.yaml"
CHECKPOINT = Path("weights", "lightning", "model.ckpt")


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training.

    Args:
        model: The model as its configuration says, without anomalib's metrics and images; not loaded yet.
        data: Its data.
        checkpoint: Its weights.
        accelerator: What it ran on.
    """

    model: AnomalibModule
    data: AnomalibDataModule
    checkpoint: Path
    accelerator: str


def read_training(folder: Path, checkpoint: Path | None = None) -> Training:
    """Build what a training was of, seeded as it was.

    Args:
        folder: Its results, such as `results/PatchGan/BrainPhantom/latest`.
        checkpoint: Another checkpoint than the last one.

    Raises:
        ConfigurationError: There is no whole configuration or checkpoint, or the model or the data refuse it.
    """
    config = _read_config(folder / CONFIG)
    checkpoint = folder / CHECKPOINT if checkpoint is None else checkpoint
    check_checkpoint_file(checkpoint)
    model, data = config["model"], config["data"]
    arguments = {**(model.get("init_args") or {}), "evaluator": False, "visualizer": False}
    seed = config.get("seed_everything")
    if isinstance(seed, int) and not isinstance(seed, bool):
        seed_everything(seed, workers=True, verbose=False)
    spec = JobSpec(model="", data="", model_config={**model, "init_args": arguments}, data_config=data)
    try:
        objects = build(spec)
    except PatchGanError:
        raise
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        msg = f"{folder / CONFIG} cannot be used: {one_line(error)}"
        raise ConfigurationError(msg) from error
    accelerator = (config.get("trainer") or {}).get("accelerator")
    return Training(
        model=objects[0],
        data=objects[1],
        checkpoint=checkpoint,
        accelerator=accelerator if isinstance(accelerator, str) else "auto",
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        msg = f"{path} cannot be read ({reason}): give the results of a training, which hold its {CONFIG}"
        raise ConfigurationError(msg) from error
    parts = [config.get(name) for name in ("model", "data")] if isinstance(config, dict) else []
    if not parts or not all(isinstance(part, dict) and isinstance(part.get("class_path"), str) for part in parts):
        msg = f"{path} is not of a training: it needs `model` and `data`, each with its `class_path`"
        raise ConfigurationError(msg)
    return config
