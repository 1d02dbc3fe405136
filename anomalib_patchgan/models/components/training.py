"""What the trained models of the plugin share: optimizers, guarded steps and calibration."""

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn, optim

from anomalib_patchgan.arguments import require
from anomalib_patchgan.errors import TrainingDivergedError
from anomalib_patchgan.memory import keep_freed_memory
from anomalib_patchgan.models.components.averaging import AveragedNetworks
from anomalib_patchgan.models.components.base import PluginModule
from anomalib_patchgan.models.components.calibration import CalibratedModel

# Enough normal images for a stable 99th percentile of pixels, few enough to cost under a second.
CALIBRATION_IMAGES = 64

# Entry of a checkpoint.
AVERAGES = "averaged_networks"

OptimizerName = Literal["adamw", "rmsprop"]
SchedulerName = Literal["cosine"]


class TrainedModule(PluginModule):
    """Manual optimization of one or more networks, and calibration on normal images.

    A model ends its `__init__` with `configure_training`, and calls in its `training_step` first `collect`, then
    `take_step` for each network.

    Args:
        image_size: See `PluginModule`.
        optimizer: `adamw` or `rmsprop`, for all networks.
        lr: Learning rate; of R, where D has one of its own.
        betas: Coefficients of AdamW.
        weight_decay: Weight decay.
        scheduler: `cosine` lets learning rates fall towards 0 over `max_epochs`; `None` keeps them, as does a
            training without `max_epochs`.
        clip_value: Largest absolute value of a gradient's element; `None` does not clip. The trainer's own
            `gradient_clip_val` has no effect in manual optimization.
        **kwargs: `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see `PluginModule`.

    Attributes:
        lrs: Learning rate of each network by the name of the argument that sets it, in the order of `trained_networks`;
            a model adds its own.
        averaging: Decay of the moving averages that are evaluated in the networks' stead; `None` for none, unless a
            model has it.

    Raises:
        ConfigurationError: If an argument is out of its range.
    """

    model: CalibratedModel
    # Arguments of `__init__` that the trained networks do not depend on.
    used_after_training: ClassVar[frozenset[str]] = frozenset()
    # Arguments beside the learning rates that are worth lowering when training diverges.
    remedies: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        *,
        optimizer: OptimizerName = "adamw",
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-4,
        scheduler: SchedulerName | None = None,
        clip_value: float | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(image_size, **kwargs)
        msg = f"optimizer must be adamw or rmsprop, scheduler cosine or null; got {optimizer!r} and {scheduler!r}"
        require(optimizer in {"adamw", "rmsprop"} and scheduler in {"cosine", None}, msg)
        require(clip_value is None or clip_value > 0, f"clip_value must be positive, got {clip_value}")
        kind: Any = partial(optim.AdamW, betas=betas) if optimizer == "adamw" else optim.RMSprop
        self._make_optimizer = partial(kind, weight_decay=weight_decay)
        self.lrs = {"lr": lr}
        self.scheduler = scheduler
        self.clip_value = clip_value
        self.averaging: float | None = None
        self.averaged: AveragedNetworks | None = None
        self._averaged_before: dict[str, Any] | None = None
        self.automatic_optimization = False
        self._normal_images: deque[Tensor] = deque()
        self._calibrated = False

    def configure_training(self, model: CalibratedModel) -> None:
        """Take the torch model, and check that it, its learning rates and its averaging fit.

        Raises:
            ConfigurationError: If a learning rate or the averaging is out of its range.
            DataError: If the size of the images does not suit the model.
        """
        for name, lr in self.lrs.items():
            require(lr > 0, f"{name} must be positive, got {lr}")
        msg = f"averaging must lie between 0 and 1, or be null for none, got {self.averaging}"
        require(self.averaging is None or 0 < self.averaging < 1, msg)
        if self.resized:
            model.check_size(*self.resized)
        # Faster convolutions on CPUs.
        self.model = model.to(memory_format=torch.channels_last)

    @abstractmethod
    def trained_networks(self) -> Sequence[nn.Module]:
        """Networks with an optimizer of their own, in the order of the learning rates."""

    @classmethod
    def differences_in_training(cls, own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
        """Name what keeps a model from taking over the networks of another one of its class.

        Args:
            own: All arguments of the model.
            other: All arguments of the model that trains.
        """
        different = [name for name in {**own, **other} if own.get(name) != other.get(name)]
        return [name for name in different if name not in cls.used_after_training]

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Configure one optimizer for each network, in the order of `trained_networks`."""
        networks = zip(self.trained_networks(), self.lrs.values(), strict=True)
        return [self._make_optimizer(network.parameters(), lr=lr) for network, lr in networks]

    def setup(self, stage: str) -> None:
        """Tell several processes that the networks step in turns, unless the user chose otherwise.

        DDP then expects no gradient of the networks that wait: the same as `ddp_find_unused_parameters_true`.
        """
        super().setup(stage)
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):
            # lightning reads it when it wraps the model, which is after this hook; it has no public setter.
            strategy._ddp_kwargs.setdefault("find_unused_parameters", True)  # noqa: SLF001

    def on_fit_start(self) -> None:
        """Refuse trainings that would lose their result; on a CPU, keep freed memory for the next step.

        Raises:
            ConfigurationError: If the last epochs would be neither validated nor saved, or with 16-bit floats.
        """
        trainer = self.trainer
        every, epochs = trainer.check_val_every_n_epoch or 1, trainer.max_epochs or 0
        msg = (
            f"max_epochs={epochs} with check_val_every_n_epoch={every} would end without a checkpoint of the last "
            f"epochs, because lightning then saves at validation only; make max_epochs a multiple and keep "
            f"validation on, or set check_val_every_n_epoch=1."
        )
        require(every == 1 or epochs <= 0 or (epochs % every == 0 and trainer.enable_validation), msg)
        msg = f"{type(self).__name__} cannot train with precision={trainer.precision}; use 32-true or bf16-mixed."
        require(not str(trainer.precision).startswith("16"), msg)
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.averaging is not None:
            self.averaged = AveragedNetworks(self.trained_networks(), self.averaging)
            if self._averaged_before is not None:
                self.averaged.load_state_dict(self._averaged_before)

    def on_train_epoch_start(self) -> None:
        """Set the learning rates of this epoch, and train on with the weights and not with their averages.

        Learning rates are worked out from the epoch instead of kept by a scheduler: a checkpoint taken at a validation
        is older than the scheduler's step of that epoch, and a resumed training may have more epochs than the first.
        """
        if self.averaged is not None:
            self.averaged.hide()
        epochs = self.trainer.max_epochs or 0
        if self.scheduler is None or epochs < 1:
            return
        share = (1 + math.cos(math.pi * self.current_epoch / epochs)) / 2
        for optimizer, lr in zip(self.trainer.optimizers, self.lrs.values(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = share * lr

    def collect(self, images: Tensor) -> None:
        """Keep the first normal images of the epoch, shape `(B, 3, H, W)`, for the calibration."""
        if sum(map(len, self._normal_images)) < CALIBRATION_IMAGES:
            self._normal_images.append(images.detach())

    def take_step(self, optimizer: LightningOptimizer, network: nn.Module, name: str, loss: Tensor) -> None:
        """Move one network down its loss, unless the loss or a gradient is not finite.

        Args:
            optimizer: Optimizer of the network.
            network: The network.
            name: What the message calls it.
            loss: Its loss, a scalar.

        Raises:
            TrainingDivergedError: If the loss or a gradient is not finite; the step is not taken.
        """
        # Another network's backward pass can leave gradients in this one: clear before, not after.
        optimizer.zero_grad()
        self.manual_backward(loss)
        value = float(loss.detach())
        # torch's maximum keeps a NaN; Python's would lose it.
        largest = float(torch.stack([p.grad.abs().max() for p in network.parameters() if p.grad is not None]).max())
        if not math.isfinite(value) or not math.isfinite(largest):
            *first, last = *self.lrs, *self.remedies
            remedy = f"{', '.join(first)} or {last}" if first else last
            msg = (
                f"training stopped in epoch {self.current_epoch}, step {self.global_step}: the {name}'s loss is "
                f"{value:g}, its largest gradient {largest:g}. The last checkpoint, if one was due before, "
                f"is kept; lower {remedy}, or set clip_value, and resume from it with --ckpt_path."
            )
            raise TrainingDivergedError(msg)
        if self.clip_value is not None:
            # Not self.clip_gradients: Lightning refuses it beside the Trainer's own gradient_clip_val.
            nn.utils.clip_grad_value_(network.parameters(), self.clip_value)
        optimizer.step()
        if self.averaged is not None:
            self.averaged.update(network)

    def log_losses(self, losses: dict[str, Tensor], batch_size: int) -> dict[str, Tensor]:
        """Log the losses of a step and return them detached."""
        losses = {name: value.detach() for name, value in losses.items()}
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)
        return losses

    def on_validation_epoch_start(self) -> None:
        """Calibrate before validation: thresholds are found on calibrated scores."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._calibrate()

    def on_train_epoch_end(self) -> None:
        """Calibrate if no validation of this epoch did."""
        if not self._calibrated:
            self._calibrate()
        self._calibrated = False
        self._normal_images.clear()

    def _calibrate(self) -> None:
        """Learn the scales of score and map from this epoch's first training images."""
        if self.averaged is not None:
            # They stay until the next epoch begins: what is validated is what is saved.
            self.averaged.show()
        if not self._normal_images:
            return
        self._calibrate_on(self._calibration_images())
        for learned in self.model.learned():
            # Of one process: parts that were learned on different images do not belong together.
            learned.copy_(self.trainer.strategy.broadcast(learned))
        self._calibrated = True

    def _calibration_images(self) -> Tensor:
        """Normal images of this epoch, shape `(B, 3, H, W)`."""
        return torch.cat(list(self._normal_images))[:CALIBRATION_IMAGES]

    def _calibrate_on(self, images: Tensor) -> None:
        """Learn the scales of score and map from normal images of shape `(B, 3, H, W)`."""
        training = self.model.training
        self.model.eval()
        self.model.calibrate(images)
        self.model.train(training)

    def trained_state(self) -> dict[str, Any]:
        """Return the arguments of `take_over`: networks as they were just validated, images of the calibration."""
        states = [network.state_dict() for network in self.trained_networks()]
        return {
            "networks": [{name: value.cpu().clone() for name, value in state.items()} for state in states],
            "images": self._calibration_images().cpu(),
        }

    def take_over(self, networks: Sequence[Mapping[str, Tensor]], images: Tensor) -> None:
        """Use networks that another model has trained, and calibrate as it did, instead of training.

        Args:
            networks: Their states, in the order of `trained_networks`.
            images: Normal images that the other model was calibrated on, shape `(B, 3, H, W)`.

        Raises:
            RuntimeError: If they do not fit.
        """
        for network, state in zip(self.trained_networks(), networks, strict=True):
            network.load_state_dict(state)
        self._calibrate_on(images.to(self.device))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed training needs of the averages."""
        super().on_save_checkpoint(checkpoint)
        if self.averaged is not None:
            checkpoint[AVERAGES] = self.averaged.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the averages until training goes on."""
        super().on_load_checkpoint(checkpoint)
        self._averaged_before = checkpoint.get(AVERAGES)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Trainer arguments that manual optimization needs; they override the user's."""
        return {"gradient_clip_val": 0, "num_sanity_val_steps": 0}
