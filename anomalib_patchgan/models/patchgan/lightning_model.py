"""PatchGAN with targeted patch ranking, as an anomalib model.

Paper:
    Chen et al., Unsupervised Patch-GAN with Targeted Patch Ranking for Fine-Grained Novelty
    Detection in Medical Imaging. PMLR 281:35-41, 2025. https://arxiv.org/abs/2501.17906
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from anomalib import LearningType
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn, optim
from torchvision.transforms.v2 import Resize

from anomalib_patchgan.errors import ConfigurationError, TrainingDivergedError
from anomalib_patchgan.memory import keep_freed_memory
from anomalib_patchgan.models.components import RankPreservingPostProcessor, check_checkpoint, make_evaluator
from anomalib_patchgan.models.patchgan.loss import DiscriminatorLoss, Distance, ReconstructorLoss
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel

# Enough normal images for a stable 99th percentile of pixels, few enough to cost under a second.
CALIBRATION_IMAGES = 64


class PatchGan(AnomalibModule):
    """Unsupervised patch GAN with targeted patch ranking.

    Trained on lesion-free images only: parts of each image are hidden, a reconstructor R restores
    them, if asked for against a patch discriminator D, and at test time patches are ranked by how
    badly they were restored. The defaults are the ones that worked best on held-out training
    patients and do without D; the published method is `configs/model/patchgan_paper.yaml`.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; ``None``
            leaves them as they are. Both must be multiples of ``downscale * 2 ** depth``.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        kernel_size: Odd side of R's kernels.
        decoder_widths: Channels of R's decoder, deepest level first. ``None`` mirrors the encoder.
        skip_connections: Whether R's decoder sees the encoder's features of the same size.
        discriminator_widths: Channels of D's strided layers.
        downscale: Whole factor by which images are averaged down before R.
        corruption: What hides the image in training: ``noise`` or ``zeros``.
        corruption_args: Arguments of the corruption, e.g. ``{"sigma": 0.2}``.
        distance: Pixel distance in the loss, ``l2`` (Eq. 1) or ``l1``.
        residual: Pixel distance in the score, ``l2`` (Eq. 5) or ``l1``.
        patch_size: Side of a patch in pixels of the image that R sees.
        rank_weights: Weights of the patches, most anomalous first (Eq. 5); ``None`` for the
            unranked mean.
        foreground_threshold: Brightness in [0, 1] above which a pixel is tissue; ``None`` takes
            the whole image.
        foreground_margin: Width, as a fraction of the shorter side, over which the residual
            fades in from the rim of the foreground.
        edge_damping: Residuals are divided by this constant plus the local edge strength;
            ``None`` leaves them as they are.
        image_context: Power of the image's own mean residual by which residuals are divided; 0
            leaves them as they are.
        mirror_context: Share of the residual on the other side of the vertical midline that is
            subtracted; for upright brains 0.3, for images without that symmetry 0.
        smoothing: Standard deviation of the Gaussian that smooths the residual, in pixels of the
            image that R sees.
        discriminator_evidence: Weight of D's doubt about the input in the residual.
        lambda_reconstruction: Weight of the pixel loss (lambda of Eq. 4).
        patch_weight: Weight of the patch loss (Eq. 2).
        adversarial_weight: Weight of the game against D (Eq. 3); 0 trains R alone.
        optimizer: ``adamw`` or ``rmsprop``, for both networks.
        lr: Learning rate of R.
        lr_discriminator: Learning rate of D, which is trained only if ``adversarial_weight`` or
            ``discriminator_evidence`` is above 0.
        betas: Coefficients of AdamW.
        weight_decay: Weight decay of both optimizers.
        scheduler: ``cosine`` lets both learning rates fall towards 0 over ``max_epochs``; ``None``
            keeps them, as does a training without ``max_epochs``.
        clip_value: Largest absolute value of a gradient's element; ``None`` does not clip. The
            trainer's own ``gradient_clip_val`` has no effect with two optimizers.
        pre_processor: Pre-processor, or whether to use the default.
        post_processor: Post-processor, or whether to use the default.
        evaluator: Evaluator, or whether to use the default.
        visualizer: Visualizer, or whether to use the default.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If ``image_size`` does not suit the network.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, PatchGan
        >>> model = PatchGan(image_size=(128, 128))
        >>> engine = Engine(max_epochs=20)
        >>> engine.train(model, datamodule=BrainPhantom())  # doctest: +SKIP
    """

    model: PatchGanModel

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        width: int = 16,
        depth: int = 4,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        skip_connections: bool = True,
        discriminator_widths: Sequence[int] = (16, 32, 64),
        downscale: int = 2,
        corruption: str = "noise",
        corruption_args: Mapping[str, Any] | None = None,
        distance: Distance = "l2",
        residual: Distance = "l1",
        patch_size: int = 4,
        rank_weights: Sequence[float] | None = (1.1, 1.0),
        foreground_threshold: float | None = 0.05,
        foreground_margin: float = 0.12,
        edge_damping: float | None = 0.2,
        image_context: float = 0.5,
        mirror_context: float = 0.0,
        smoothing: float = 1.5,
        discriminator_evidence: float = 0.0,
        lambda_reconstruction: float = 1.0,
        patch_weight: float = 0.0,
        adversarial_weight: float = 0.0,
        optimizer: Literal["adamw", "rmsprop"] = "adamw",
        lr: float = 2e-3,
        lr_discriminator: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-4,
        scheduler: Literal["cosine"] | None = "cosine",
        clip_value: float | None = None,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        resizes = pre_processor is True and image_size is not None
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(image_size) if image_size else False
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        if optimizer not in {"adamw", "rmsprop"} or scheduler not in {"cosine", None}:
            msg = f"optimizer must be adamw or rmsprop, scheduler cosine or null; got {optimizer!r} and {scheduler!r}"
            raise ConfigurationError(msg)
        positive = {
            "lr": lr,
            "lr_discriminator": lr_discriminator,
            "clip_value": 1.0 if clip_value is None else clip_value,
        }
        for name, value in positive.items():
            if not value > 0:
                msg = f"{name} must be positive, got {value}"
                raise ConfigurationError(msg)
        self.model = PatchGanModel(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=skip_connections,
            discriminator_widths=discriminator_widths,
            downscale=downscale,
            corruption=corruption,
            corruption_args=corruption_args,
            residual=residual,
            patch_size=patch_size,
            rank_weights=rank_weights,
            foreground_threshold=foreground_threshold,
            foreground_margin=foreground_margin,
            edge_damping=edge_damping,
            image_context=image_context,
            mirror_context=mirror_context,
            smoothing=smoothing,
            discriminator_evidence=discriminator_evidence,
        ).to(memory_format=torch.channels_last)  # faster convolutions on CPUs
        if image_size is not None and resizes:
            self.model.check_size(*image_size)
        self.loss = ReconstructorLoss(
            lambda_reconstruction, patch_weight, adversarial_weight, patch_size=patch_size, distance=distance
        )
        self.discriminator_loss = DiscriminatorLoss()
        # D is trained when R plays against it or its opinion is part of the score.
        self.trains_discriminator = adversarial_weight > 0 or discriminator_evidence > 0
        self.optimizer_settings: dict[str, Any] = {
            "name": optimizer,
            "lrs": (lr, lr_discriminator),
            "betas": betas,
            "weight_decay": weight_decay,
            "scheduler": scheduler,
        }
        self.clip_value = clip_value
        self.automatic_optimization = False
        self._normal_images: deque[Tensor] = deque()
        self._calibrated = False

    def configure_optimizers(self) -> list[optim.Optimizer]:
        """Configure one optimizer for each network, R first."""
        settings = self.optimizer_settings
        networks = (self.model.reconstructor, self.model.discriminator)
        arguments: dict[str, Any] = {"weight_decay": settings["weight_decay"]}
        if settings["name"] == "adamw":
            arguments["betas"] = settings["betas"]
        kind = optim.AdamW if settings["name"] == "adamw" else optim.RMSprop
        return [
            kind(network.parameters(), lr=lr, **arguments)
            for network, lr in zip(networks, settings["lrs"], strict=True)
        ]

    def on_train_epoch_start(self) -> None:
        """Set the learning rates of this epoch.

        Worked out from the epoch instead of kept by a scheduler: a checkpoint taken at a validation is older than the
        scheduler's step of that epoch, and a resumed training may have more epochs than the first.
        """
        epochs = self.trainer.max_epochs or 0
        if self.optimizer_settings["scheduler"] is None or epochs < 1:
            return
        share = (1 + math.cos(math.pi * self.current_epoch / epochs)) / 2
        for optimizer, lr in zip(self.trainer.optimizers, self.optimizer_settings["lrs"], strict=True):
            for group in optimizer.param_groups:
                group["lr"] = share * lr

    def on_fit_start(self) -> None:
        """Refuse trainings that would lose their result; on a CPU, keep freed memory for the next step.

        Raises:
            ConfigurationError: If the last epochs would be neither validated nor saved, or with 16-bit floats.
        """
        trainer = self.trainer
        every, epochs = trainer.check_val_every_n_epoch or 1, trainer.max_epochs or 0
        if every > 1 and epochs > 0 and (epochs % every or not trainer.enable_validation):
            msg = (
                f"max_epochs={epochs} with check_val_every_n_epoch={every} would end without a checkpoint of the last "
                f"epochs, because lightning then saves at validation only; make max_epochs a multiple and keep "
                f"validation on, or set check_val_every_n_epoch=1"
            )
            raise ConfigurationError(msg)
        if str(trainer.precision).startswith("16"):
            msg = f"PatchGan cannot train with precision={trainer.precision}; use 32-true or bf16-mixed"
            raise ConfigurationError(msg)
        if self.device.type == "cpu":
            keep_freed_memory()

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Train D, then R, on one batch of normal images.

        Args:
            batch: Batch whose ``image`` has shape ``(B, 3, H, W)``, values in [0, 1].
            batch_idx: Index of the batch.

        Returns:
            The losses.

        Raises:
            TrainingDivergedError: If a loss or a gradient is not finite. The network that it
                belongs to has not taken the step.
        """
        del batch_idx
        clean = cast("Tensor", batch.image)
        if sum(map(len, self._normal_images)) < CALIBRATION_IMAGES:
            self._normal_images.append(clean.detach())
        optimizer_r, optimizer_d = cast("list[LightningOptimizer]", self.optimizers())
        images = self.model.prepare(clean)
        restored = self.model.reconstructor(self.model.hide(images))
        losses: dict[str, Tensor] = {}

        restored_logits = None
        if self.trains_discriminator:
            loss_d = self.discriminator_loss(
                self.model.discriminator(images), self.model.discriminator(restored.detach())
            )
            self._step(optimizer_d, self.model.discriminator, "discriminator", loss_d)
            losses["train_loss_discriminator"] = loss_d
            if self.loss.adversarial_weight:
                restored_logits = self.model.discriminator(restored)

        terms = self.loss(images, restored, restored_logits)
        self._step(optimizer_r, self.model.reconstructor, "reconstructor", terms.total)
        losses["train_loss"] = terms.total
        losses["train_loss_reconstruction"] = terms.reconstruction
        losses["train_loss_patch"] = terms.patch
        losses["train_loss_adversarial"] = terms.adversarial
        losses = {name: value.detach() for name, value in losses.items()}
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        return losses

    def _step(self, optimizer: LightningOptimizer, network: nn.Module, name: str, loss: Tensor) -> None:
        """Move one network down its loss, unless the loss or a gradient is not finite."""
        # R's backward pass leaves gradients in D: clear before, not after.
        optimizer.zero_grad()
        self.manual_backward(loss)
        value = float(loss.detach())
        # torch's maximum keeps a NaN; Python's would lose it.
        largest = float(torch.stack([p.grad.abs().max() for p in network.parameters() if p.grad is not None]).max())
        if not math.isfinite(value) or not math.isfinite(largest):
            msg = (
                f"training stopped in epoch {self.current_epoch}, step {self.global_step}: the {name}'s loss is "
                f"{value:g}, its largest gradient {largest:g}. The last checkpoint, if one was due before, "
                f"is kept; lower lr, lr_discriminator or adversarial_weight, or set clip_value, and resume from it "
                f"with --ckpt_path"
            )
            raise TrainingDivergedError(msg)
        if self.clip_value is not None:
            # Not self.clip_gradients: Lightning refuses it beside the Trainer's own gradient_clip_val.
            nn.utils.clip_grad_value_(network.parameters(), self.clip_value)
        optimizer.step()

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
        if not self._normal_images:
            return
        training = self.model.training
        self.model.eval()
        self.model.calibrate(torch.cat(list(self._normal_images))[:CALIBRATION_IMAGES])
        self.model.train(training)
        for scale in (self.model.score_scale, self.model.map_scale):
            scale.copy_(self.trainer.strategy.reduce(scale, reduce_op="mean"))
        self._calibrated = True

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:  # noqa: ANN401
        """Predict a validation batch.

        Args:
            batch: Batch whose ``image`` has shape ``(B, 3, H, W)``, values in [0, 1].
            *args: Unused.
            **kwargs: Unused.

        Returns:
            The batch with score and map.
        """
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse checkpoints of other models or with NaN in them, in one line.

        Raises:
            DataError: If the weights do not fit this model or are not finite.
        """
        check_checkpoint(self, checkpoint)
        super().on_load_checkpoint(checkpoint)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Trainer arguments that two optimizers need; they override the user's."""
        return {"gradient_clip_val": 0, "num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """The model learns from normal images only."""
        return LearningType.ONE_CLASS

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize only; values stay in [0, 1].

        Without antialiasing, because an exported model cannot antialias and would disagree with
        training. Prepare images at the model's size, or a little larger, to lose nothing.
        """
        return PreProcessor(transform=Resize(image_size or (192, 192), antialias=False))

    def configure_post_processor(self) -> PostProcessor:
        """Thresholds of anomalib, and a normalisation that keeps the order of scores."""
        return RankPreservingPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Metrics of `make_evaluator`."""
        return make_evaluator()
