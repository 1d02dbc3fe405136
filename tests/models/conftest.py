"""The small model that many tests share, and what it takes to train one like it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from anomalib.engine import Engine

from anomalib_patchgan import PatchGan, PreparedFolder
from anomalib_patchgan.models.patchgan.corruption import CoarseNoise
from anomalib_patchgan.models.patchgan.evidence import Restoration

SIZE = (64, 64)


def make_model(**arguments) -> PatchGan:
    """A model that trains in seconds; settings are explicit, because defaults may change."""
    settings = {
        "image_size": SIZE,
        "width": 8,
        "depth": 3,
        "downscale": 1,
        "corruption": CoarseNoise(),
        "intensity_normalization": None,
        "clean_fraction": 0.0,
        "image_context": 0.5,
        "patch_size": 8,
        "discriminator": "patch",
        "discriminator_widths": (8, 8),
        "adversarial_weight": 0.01,
        "evidences": [Restoration(mirror=0.0, power=1.0)],
        "lr": 5e-3,
        "lr_discriminator": 5e-4,
        "optimizer": "adamw",
        "scheduler": "cosine",
    }
    return PatchGan(**(settings | arguments))


def make_data(root: Path, **arguments) -> PreparedFolder:
    """Data module of a prepared folder, in this process."""
    settings = {"train_batch_size": 8, "eval_batch_size": 8, "num_workers": 0, "val_split_ratio": 0.4, "seed": 0}
    return PreparedFolder(root, **(settings | arguments))


def make_engine(root: Path, **arguments) -> Engine:
    """Engine on the CPU that writes below `root` and draws no progress bar."""
    settings = {
        "accelerator": "cpu",
        "default_root_dir": root,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    return Engine(**(settings | arguments))


@dataclass(frozen=True)
class Trained:
    """What a training left behind."""

    checkpoint: Path
    metrics: dict[str, float]
    lesion_images: list[Path]

    def load(self) -> PatchGan:
        """A fresh copy of the trained model, in evaluation mode."""
        return PatchGan.load_from_checkpoint(self.checkpoint, map_location="cpu").eval()


def load_checkpoint(path: Path) -> dict:
    """The content of a checkpoint, read as strictly as anomalib reads it."""
    return torch.load(path, weights_only=True, map_location="cpu")
