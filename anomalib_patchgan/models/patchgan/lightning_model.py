"""PatchGAN with targeted patch ranking, as an anomalib model.

Paper:
    Chen et al., Unsupervised Patch-GAN with Targeted Patch Ranking for Fine-Grained Novelty
    Detection in Medical Imaging. PMLR 281:35-41, 2025. https://arxiv.org/abs/2501.17906
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.visualization import Visualizer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.loss import DiscriminatorLoss, Distance, ForeignLoss, ReconstructorLoss
from anomalib_patchgan.models.patchgan.torch_model import DiscriminatorKind, Hidden, PatchGanModel
from anomalib_patchgan.models.training import OptimizerName, SchedulerName, TrainedModule


class PatchGan(TrainedModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Unsupervised patch GAN with targeted patch ranking.

    Trained on lesion-free images only: parts of each image are hidden, a reconstructor R restores
    them, a discriminator D learns to tell where, and at test time patches are ranked by how badly
    they were restored where D finds something foreign. The defaults are the ones that worked best
    on held-out training patients; the published method, with R against a patch discriminator, is
    `configs/model/patchgan_paper.yaml`.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; ``None``
            leaves them as they are. Both must be multiples of ``2 ** depth`` times the factor by
            which they are averaged down.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        kernel_size: Odd side of R's kernels.
        decoder_widths: Channels of R's decoder, deepest level first. ``None`` mirrors the encoder.
        skip_connections: Whether R's decoder sees the encoder's features of the same size.
        discriminator: ``conditional`` sees the image and its restoration and is trained to find
            what was hidden; ``patch`` is the paper's and sees one image (Eq. 3).
        discriminator_widths: Channels of D's strided layers.
        downscale: Whole factor by which images are averaged down before R; ``None`` takes the
            largest that leaves at least 96 pixels along the shorter side.
        exposure: Brightness in (0, 1] that the tissue of every image is scaled to before R, so
            that a lesion in a dark scan counts as much as in a bright one; ``None`` for none.
        corruption: What hides the image in training: ``foreign``, ``noise`` or ``zeros``.
        corruption_args: Arguments of the corruption, e.g. ``{"sigma": 0.2}``.
        spared: Share of training images that nothing is hidden in: test images look like them.
        distance: Pixel distance in the loss, ``l2`` (Eq. 1) or ``l1``.
        residual: Pixel distance in the score, ``l2`` (Eq. 5) or ``l1``.
        patch_size: Side of a patch in pixels of the image that R sees.
        rank_weights: Weights of the patches, most anomalous first (Eq. 5); ``None`` for the
            unranked mean.
        foreground_threshold: Brightness in [0, 1], after exposure, above which a pixel is tissue;
            ``None`` takes the whole image.
        foreground_margin: Width, as a fraction of the shorter side, over which the residual
            fades in from the rim of the foreground.
        edge_damping: Residuals are divided by this constant plus the local edge strength;
            ``None`` leaves them as they are.
        image_context: Power of the image's own mean residual by which residuals are divided; 0
            leaves them as they are.
        mirror_context: Share of the residual on the other side of the vertical midline that is
            subtracted: what both halves of a head have in common is anatomy.
        smoothing: Standard deviation of the Gaussian that smooths the residual, in pixels of the
            image that R sees.
        discriminator_evidence: Weight of D's doubt p about the input in the geometric mean
            ``residual ** (1 - w) * p ** w``; 0 leaves D out of the score.
        lambda_reconstruction: Weight of the pixel loss (lambda of Eq. 4).
        patch_weight: Weight of the patch loss (Eq. 2).
        adversarial_weight: Weight of the game against a ``patch`` discriminator (Eq. 3); 0 trains
            R alone.
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
        depth: int = 3,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        skip_connections: bool = True,
        discriminator: DiscriminatorKind = "conditional",
        discriminator_widths: Sequence[int] = (8, 16, 32),
        downscale: int | None = None,
        exposure: float | None = 0.35,
        corruption: str = "foreign",
        corruption_args: Mapping[str, Any] | None = None,
        spared: float = 0.25,
        distance: Distance = "l2",
        residual: Distance = "l1",
        patch_size: int = 8,
        rank_weights: Sequence[float] | None = (1.1, 1.0, 0.9, 0.8),
        foreground_threshold: float | None = 0.1,
        foreground_margin: float = 0.08,
        edge_damping: float | None = 0.2,
        image_context: float = 0.25,
        mirror_context: float = 0.3,
        smoothing: float = 2.0,
        discriminator_evidence: float = 0.4,
        lambda_reconstruction: float = 1.0,
        patch_weight: float = 0.0,
        adversarial_weight: float = 0.0,
        optimizer: OptimizerName = "adamw",
        lr: float = 2e-3,
        lr_discriminator: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-4,
        scheduler: SchedulerName | None = "cosine",
        clip_value: float | None = None,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        if discriminator == "conditional" and adversarial_weight:
            msg = "a conditional discriminator plays no game against R: set adversarial_weight=0 or discriminator=patch"
            raise ConfigurationError(msg)
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
            remedies=["adversarial_weight"],
        )
        self.model = PatchGanModel(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=skip_connections,
            discriminator=discriminator,
            discriminator_widths=discriminator_widths,
            downscale=downscale,
            exposure=exposure,
            corruption=corruption,
            corruption_args=corruption_args,
            spared=spared,
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
        if self.resized:
            self.model.check_size(*self.resized)
        self.loss = ReconstructorLoss(
            lambda_reconstruction, patch_weight, adversarial_weight, patch_size=patch_size, distance=distance
        )
        self.discriminator_loss = ForeignLoss() if discriminator == "conditional" else DiscriminatorLoss()
        # D is trained when R plays against it or its opinion is part of the score.
        self.trains_discriminator = adversarial_weight > 0 or discriminator_evidence > 0

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
            TrainingDivergedError: If a loss or a gradient is not finite. The network that it
                belongs to has not taken the step.
        """
        del batch_idx
        clean = cast("Tensor", batch.image)
        self.collect(clean)
        optimizer_r, optimizer_d = cast("list[LightningOptimizer]", self.optimizers())
        hidden = self.model.hide(self.model.prepare(clean))
        images = hidden.originals
        restored = self.model.reconstructor(hidden.images)
        losses: dict[str, Tensor] = {}

        restored_logits = None
        if self.trains_discriminator:
            loss_d = self._loss_of_discriminator(hidden, restored.detach())
            self.take_step(optimizer_d, self.model.discriminator, "discriminator", loss_d)
            losses["train_loss_discriminator"] = loss_d
            if self.loss.adversarial_weight:
                restored_logits = self.model.judge(restored, restored, hidden.level)

        terms = self.loss(images, restored, restored_logits)
        self.take_step(optimizer_r, self.model.reconstructor, "reconstructor", terms.total)
        losses["train_loss"] = terms.total
        losses["train_loss_reconstruction"] = terms.reconstruction
        losses["train_loss_patch"] = terms.patch
        losses["train_loss_adversarial"] = terms.adversarial
        return self.log_losses(losses, len(images))

    def _loss_of_discriminator(self, hidden: Hidden, restored: Tensor) -> Tensor:
        """Loss of D on one batch: where was something hidden, or which patches are restored."""
        if isinstance(self.discriminator_loss, ForeignLoss):
            logits = self.model.judge(hidden.images, restored, hidden.level)
            return cast("Tensor", self.discriminator_loss(logits, hidden.images, hidden.originals, hidden.foreground))
        original, fake = (self.model.judge(images, restored, hidden.level) for images in (hidden.originals, restored))
        return cast("Tensor", self.discriminator_loss(original, fake))
