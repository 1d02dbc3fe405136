"""ALOCC, as an anomalib model.

Paper:
    Sabokrou et al., Adversarially Learned One-Class Classifier for Novelty Detection. CVPR 2018.
    https://arxiv.org/abs/1802.09088
"""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.visualization import Visualizer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from anomalib_patchgan.models.alocc.torch_model import AloccModel
from anomalib_patchgan.models.components.training import OptimizerName, SchedulerName, TrainedModule
from anomalib_patchgan.models.patchgan.loss import DiscriminatorLoss, ReconstructorLoss


class Alocc(TrainedModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Adversarially learned one-class classifier: a denoiser R against a discriminator D of the whole image.

    A baseline of Chen et al. (2025). R restores images with added noise and D tells restorations from originals; an
    image is anomalous when D does not take its restoration for an original.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; ``None`` leaves them as they
            are. Both must be multiples of ``2 ** depth`` and of 2 for each of D's strided layers.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        kernel_size: Odd side of R's kernels.
        decoder_widths: Channels of R's decoder, deepest level first; ``None`` mirrors the encoder.
        discriminator_widths: Channels of D's strided layers.
        sigma: Standard deviation of the noise that R learns to remove, for brightness in [0, 1].
        lambda_reconstruction: Weight of R's squared error beside the game against D.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.
        optimizer: ``adamw`` or ``rmsprop``, for both networks.
        lr: Learning rate of R.
        lr_discriminator: Learning rate of D.
        betas: Coefficients of AdamW.
        weight_decay: Weight decay of both optimizers.
        scheduler: ``cosine`` lets both learning rates fall towards 0 over ``max_epochs``; ``None`` keeps them.
        clip_value: Largest absolute value of a gradient's element; ``None`` does not clip.
        pre_processor: Pre-processor, or whether to use the default.
        post_processor: Post-processor, or whether to use the default.
        evaluator: Evaluator, or whether to use the default.
        visualizer: Visualizer, or whether to use the default.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If ``image_size`` does not suit the networks.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import Alocc, BrainPhantom
        >>> model = Alocc(image_size=(128, 128))
        >>> Engine(max_epochs=20).train(model, datamodule=BrainPhantom())  # doctest: +SKIP
    """

    model: AloccModel
    used_after_training = frozenset({"smoothing"})

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        width: int = 16,
        depth: int = 4,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        discriminator_widths: Sequence[int] = (16, 32, 64, 128),
        sigma: float = 0.155,
        lambda_reconstruction: float = 0.2,
        smoothing: float = 1.5,
        optimizer: OptimizerName = "rmsprop",
        lr: float = 2e-3,
        lr_discriminator: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        scheduler: SchedulerName | None = None,
        clip_value: float | None = None,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(
            image_size=image_size,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.configure_training(
            lrs={"lr": lr, "lr_discriminator": lr_discriminator},
            optimizer=optimizer,
            betas=betas,
            weight_decay=weight_decay,
            scheduler=scheduler,
            clip_value=clip_value,
        )
        self.model = AloccModel(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            discriminator_widths=discriminator_widths,
            sigma=sigma,
            smoothing=smoothing,
        ).to(memory_format=torch.channels_last)
        if self.resized:
            self.model.check_size(*self.resized)
        self.loss = ReconstructorLoss(lambda_reconstruction, patch_weight=0.0, adversarial_weight=1.0)
        self.discriminator_loss = DiscriminatorLoss()

    def trained_networks(self) -> Sequence[nn.Module]:
        """R, then D."""
        return self.model.reconstructor, self.model.discriminator

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Train D, then R, on one batch of normal images.

        Args:
            batch: Batch whose ``image`` has shape ``(B, 3, H, W)``, values in [0, 1].
            batch_idx: Index of the batch.

        Returns:
            The losses.

        Raises:
            TrainingDivergedError: If a loss or a gradient is not finite. The network that it belongs to has not taken
                the step.
            DataError: If the size of the images does not suit the networks.
        """
        del batch_idx
        images = self.model.prepare(cast("Tensor", batch.image))
        self.collect(images)
        optimizer_r, optimizer_d = cast("list[LightningOptimizer]", self.optimizers())
        restored = self.model.reconstructor(self.model.disturb(images))
        loss_d = self.discriminator_loss(self.model.judge(images), self.model.judge(restored.detach()))
        self.take_step(optimizer_d, self.model.discriminator, "discriminator", loss_d)
        terms = self.loss(images, restored, self.model.judge(restored))
        self.take_step(optimizer_r, self.model.reconstructor, "reconstructor", terms.total)
        losses = {
            "train_loss": terms.total,
            "train_loss_discriminator": loss_d,
            "train_loss_reconstruction": terms.reconstruction,
            "train_loss_adversarial": terms.adversarial,
        }
        return self.log_losses(losses, len(images))
