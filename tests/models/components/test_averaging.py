"""The averages of the weights are what is evaluated, saved and exported; training goes on with the weights."""

from pathlib import Path

import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from lightning.pytorch import Callback
from torch import nn

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.averaging import AveragedNetworks
from tests.models.conftest import load_checkpoint, make_data, make_engine, make_model

AVERAGED = {"averaging": 0.9}


def weights(model: PatchGan) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.model.reconstructor.parameters()])


class Watch(Callback):
    """Keeps R's weights at the first batch of an epoch, after its last step, and in validation."""

    def __init__(self) -> None:
        self.trained: list[torch.Tensor] = []
        self.begun: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Keep them."""
        del trainer, batch
        if batch_idx == 0:
            self.begun.append(weights(pl_module))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Keep them."""
        del outputs, batch
        if batch_idx == trainer.num_training_batches - 1:
            self.trained.append(weights(pl_module))

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Keep them."""
        del trainer, outputs, batch
        if batch_idx == 0:
            self.validated.append(weights(pl_module))


def fit(prepared: Path, root: Path, epochs: int, ckpt_path: Path | None = None, **arguments):
    watch = Watch()
    keep = ModelCheckpoint(dirpath=root, filename="{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    model = make_model(**AVERAGED | arguments)
    engine = make_engine(root, max_epochs=epochs, callbacks=[keep, watch])
    engine.fit(model, datamodule=make_data(prepared), ckpt_path=ckpt_path)
    return model, watch, sorted(root.glob("*.ckpt"))


def test_averages_are_validated_and_saved_and_training_goes_on_with_the_weights(prepared, tmp_path):
    model, watch, checkpoints = fit(prepared, tmp_path, 2)
    for epoch, checkpoint in enumerate(checkpoints):
        saved = weights(PatchGan.load_from_checkpoint(checkpoint))
        assert torch.equal(saved, watch.validated[epoch])
        assert not torch.equal(saved, watch.trained[epoch])
    assert torch.equal(watch.begun[1], watch.trained[0])
    assert torch.equal(weights(model), watch.validated[1])


def test_without_averaging_the_last_weights_are_evaluated(prepared, tmp_path):
    _, watch, (checkpoint,) = fit(prepared, tmp_path, 1, averaging=None)
    assert torch.equal(watch.validated[0], watch.trained[0])
    assert "averaged_networks" not in load_checkpoint(checkpoint)


def test_a_resumed_training_goes_on_with_both(prepared, tmp_path):
    _, straight, (first, _) = fit(prepared, tmp_path / "straight", 2)
    _, resumed, _ = fit(prepared, tmp_path / "resumed", 2, first)
    assert torch.equal(resumed.begun[0], straight.begun[1])
    assert torch.equal(resumed.begun[0], straight.trained[0])


def test_an_average_forgets_where_it_began():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 100.0)
    averaged = AveragedNetworks([network], decay=0.99)
    averaged.update(network)
    nn.init.zeros_(network.weight)
    for _ in range(50):
        averaged.update(network)
    averaged.show()
    averaged.show()
    assert 0 < network.weight.item() < 1
    averaged.hide()
    averaged.hide()
    assert network.weight.item() == 0


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_decays_that_cannot_be_used(decay):
    with pytest.raises(ConfigurationError, match="averaging"):
        make_model(averaging=decay)
