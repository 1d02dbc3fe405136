"""Trains PatchGan as its Lightning module does, step by step, with what a direction changes of it."""

from collections.abc import Iterator
from itertools import islice
from math import isfinite

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn, optim

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import TrainingDivergedError
from anomalib_patchgan.memory import keep_freed_memory
from anomalib_patchgan.models.components.averaging import AveragedNetworks
from held_out.direction import Direction


def train(
    module: PatchGan, images: Tensor, direction: Direction, *, steps: int, batch_size: int, seed: int
) -> Iterator[int]:
    """Train both networks, and stop after every so many steps with their averages shown, so that they can be judged.

    Args:
        module: The model.
        images: Normal images of shape `(N, 3, H, W)`, uint8.
        direction: What is different.
        steps: Steps of the default; a direction takes `direction.length` times as many.
        batch_size: Images per step.
        seed: Seed of the order of the images, which is the same for all directions.

    Yields:
        The number of steps taken: `steps`, and its multiples for a direction that takes longer.

    Raises:
        TrainingDivergedError: A loss is not finite.
    """
    keep_freed_memory()
    model, device = module.model, module.device
    of_reconstructor, of_discriminator = module.configure_optimizers()
    assert module.averaging is not None
    averages = AveragedNetworks(module.trained_networks(), module.averaging)
    order = _endless(len(images), seed)
    total = steps * direction.length
    held = False
    for step in track(range(total), description=f"{total} steps"):
        model.train()
        for optimizer, lr in zip((of_reconstructor, of_discriminator), module.lrs.values(), strict=True):
            optimizer.param_groups[0]["lr"] = lr * direction.learning_rate(step / total)
        batch = images[list(islice(order, batch_size))].float() / 255
        flipped = torch.rand(len(batch), 1, 1, 1) < 0.5  # noqa: PLR2004 - as RandomHorizontalFlip
        batch = torch.where(flipped, batch.flip(-1), batch)
        with torch.no_grad():
            corrupted = model.corrupt(model.prepare(direction.augment(batch).to(device)))
            masked = direction.mask(model, corrupted, step / total)
        learns = direction.reconstructor_learns(step / total)
        if not learns:
            # D sees the restorations that it will be asked about: of the average, in the state of a test.
            if not held:
                _take_average(model.reconstructor, averages)
                held = True
            model.reconstructor.eval()
        with torch.set_grad_enabled(learns):
            restored = model.reconstructor(corrupted.images if masked is None else masked)
        if masked is None:
            loss = direction.loss_of_discriminator(module, corrupted, restored.detach())
            _take_step(of_discriminator, loss, model.discriminator, averages, step)
        if learns:
            loss = direction.loss_of_reconstructor(module, corrupted, restored)
            _take_step(of_reconstructor, loss, model.reconstructor, averages, step)
        if (step + 1) % steps == 0:
            model.eval()
            averages.show()
            yield step + 1
            averages.hide()


def _endless(count: int, seed: int) -> Iterator[int]:
    """Yield indices of all images in one random order after the other."""
    random = np.random.default_rng(seed)
    while True:
        yield from random.permutation(count).tolist()


def _take_average(network: nn.Module, averages: AveragedNetworks) -> None:
    """Put the average of a network into it for good."""
    index = next(i for i, known in enumerate(averages.networks) if known is network)
    network.load_state_dict(averages.averages[index].module.state_dict())


def _take_step(
    optimizer: optim.Optimizer, loss: Tensor, network: nn.Module, averages: AveragedNetworks, step: int
) -> None:
    """Move a network down its loss and its average after it."""
    if not isfinite(float(loss.detach())):
        msg = (
            f"the loss of {type(network).__name__} is {float(loss.detach())} in step {step}: the training has diverged"
        )
        raise TrainingDivergedError(msg)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    averages.update(network)
