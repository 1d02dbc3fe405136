"""Training in two processes learns what training in one does."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.strategies import DDPStrategy

from anomalib_patchgan import PatchGan
from tests.models.conftest import SIZE, make_data, make_engine


class WriteWeights(Callback):
    """Writes each process's weights to `<folder>/<rank>.pt` when training is over."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer, pl_module):
        """Write them."""
        torch.save(dict(pl_module.model.named_parameters()), self.folder / f"{trainer.global_rank}.pt")


def config(prepared: Path, folder: Path) -> dict:
    """The settings of the `trained` fixture; two processes with half the batch each take the same steps."""
    return {
        "model": {
            "class_path": "PatchGan",
            "init_args": {
                "image_size": list(SIZE),
                "width": 8,
                "depth": 3,
                "corruption": {"class_path": "CoarseNoise"},
                "intensity_normalization": None,
                "clean_fraction": 0.0,
                "image_context": 0.5,
                "patch_size": 8,
                "discriminator": "patch",
                "discriminator_widths": [8, 8],
                "adversarial_weight": 0.01,
                "evidences": [{"class_path": "Restoration", "init_args": {"mirror": 0.0}}],
                "lr": 5e-3,
                "lr_discriminator": 5e-4,
            },
        },
        "data": {
            "class_path": "PreparedFolder",
            "init_args": {"root": str(prepared), "train_batch_size": 4, "num_workers": 0, "val_split_ratio": 0.4},
        },
        "trainer": {
            "max_epochs": 20,
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [{"class_path": f"{__name__}.WriteWeights", "init_args": {"folder": str(folder)}}],
        },
    }


@pytest.mark.parametrize(("chosen", "used"), [({}, True), ({"find_unused_parameters": False}, False)])
def test_processes_are_told_that_networks_step_in_turns_unless_the_user_said_otherwise(chosen, used):
    strategy = DDPStrategy(**chosen)
    module = PatchGan(width=4, depth=2)
    module._trainer = SimpleNamespace(strategy=strategy)
    module.setup("fit")
    assert strategy._ddp_kwargs == {"find_unused_parameters": used}


@pytest.mark.slow
def test_two_processes_train_one_model(trained, prepared, tmp_path, repo_root):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(prepared, tmp_path)), encoding="utf-8")
    command = [sys.executable, "-m", "anomalib_patchgan", "train", "--config", str(path), "--seed_everything", "0"]
    command += ["--default_root_dir", str(tmp_path / "results"), "--trainer.accelerator", "cpu"]
    command += ["--trainer.devices", "2"]
    done = subprocess.run(
        command,
        cwd=repo_root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []

    (checkpoint,) = {path.resolve() for path in (tmp_path / "results").rglob("*.ckpt")}
    (latest,) = (tmp_path / "results").rglob("latest")
    assert checkpoint.is_relative_to(latest.resolve())
    both, single = (
        make_engine(tmp_path / name).test(
            PatchGan.load_from_checkpoint(weights), datamodule=make_data(prepared), verbose=False
        )[0]
        for name, weights in (("both", checkpoint), ("single", trained.checkpoint))
    )
    for name in ("image_AUROC", "pixel_AUROC"):
        assert both[name] == pytest.approx(single[name], abs=0.15), name
        assert both[name] > 0.8, name
