"""ALOCC, as an anomalib model.

Paper:
    Sabokrou et al., Adversarially Learned One-Class Classifier for Novelty Detection. CVPR 2018.
    https://arxiv.org/abs/1802.09088
"""

from collections.abc import Sequence
from typing import Any, cast

from anomalib.data import Batch
from anomalib.models.components import AnomalibModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.alocc.torch_model import AloccModel
from anomalib_patchgan.models.components.loss import DiscriminatorLoss, pixel_distance
from anomalib_patchgan.models.components.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.components.training import OptimizerName, TrainedModule


class Alocc(TrainedModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Adversarially learned one-class classifier: a denoiser R against a discriminator D of the whole image.

    A baseline of Chen et al. (2025). R restores images with added noise and D tells restorations from originals; an
    image is anomalous when D does not take its restoration for an original.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; `None` leaves them as they
            are. Both must be multiples of `2 ** depth` and of 2 for each of D's strided layers.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        kernel_size: Odd side of R's kernels.
        decoder_widths: Channels of R's decoder, deepest level first; `None` mirrors the encoder.
        discriminator_widths: Channels of D's strided layers.
        sigma: Standard deviation of the noise that R learns to remove, for brightness in [0, 1].
        lambda_reconstruction: Weight of R's squared error beside the game against D.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.
        optimizer: `adamw` or `rmsprop`, for both networks.
        lr_discriminator: Learning rate of D.
        weight_decay: Weight decay of both optimizers.
        **kwargs: `lr`, `betas`, `scheduler`, `clip_value`, `pre_processor`, `post_processor`, `evaluator`
            and `visualizer`, see `TrainedModule`.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If `image_size` does not suit the networks.

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
        lr_discriminator: float = 2e-3,
        weight_decay: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(image_size, optimizer=optimizer, weight_decay=weight_decay, **kwargs)
        require(lambda_reconstruction >= 0, f"lambda_reconstruction must not be negative, got {lambda_reconstruction}")
        self.lambda_reconstruction = lambda_reconstruction
        self.discriminator_loss = DiscriminatorLoss()
        reconstructor = Reconstructor(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=False,
        )
        discriminator = PatchDiscriminator(widths=discriminator_widths)
        self.lrs["lr_discriminator"] = lr_discriminator
        self.configure_training(AloccModel(reconstructor, discriminator, sigma, smoothing))

    def trained_networks(self) -> Sequence[nn.Module]:
        """R, then D."""
        return self.model.reconstructor, self.model.discriminator

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Train D, then R, on one batch of normal images.

        Args:
            batch: Batch whose `image` has shape `(B, 3, H, W)`, values in [0, 1].
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
        model = self.model
        loss_d = self.discriminator_loss(model.discriminate(images), model.discriminate(restored.detach()))
        self.take_step(optimizer_d, model.discriminator, "discriminator", loss_d)
        reconstruction = pixel_distance(images, restored, "l2").mean()
        adversarial = F.softplus(-model.discriminate(restored)).mean()
        loss_r = self.lambda_reconstruction * reconstruction + adversarial
        self.take_step(optimizer_r, model.reconstructor, "reconstructor", loss_r)
        losses = {
            "train_loss": loss_r,
            "train_loss_discriminator": loss_d,
            "train_loss_reconstruction": reconstruction,
            "train_loss_adversarial": adversarial,
        }
        return self.log_losses(losses, len(images))
