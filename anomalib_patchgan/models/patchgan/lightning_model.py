"""PatchGAN with targeted patch ranking, as an anomalib model.

Paper:
    Chen et al., Unsupervised Patch-GAN with Targeted Patch Ranking for Fine-Grained Novelty
    Detection in Medical Imaging. PMLR 281:35-41, 2025. https://arxiv.org/abs/2501.17906
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from anomalib.data import Batch
from anomalib.models.components import AnomalibModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.loss import DiscriminatorLoss, Distance, pixel_distance
from anomalib_patchgan.models.components.ranking import PatchRanking
from anomalib_patchgan.models.components.training import TrainedModule
from anomalib_patchgan.models.patchgan.corruption import Corruption, ForeignTissue
from anomalib_patchgan.models.patchgan.evidence import Evidence
from anomalib_patchgan.models.patchgan.loss import ForeignLoss, ReconstructorLoss
from anomalib_patchgan.models.patchgan.objects import build, describe
from anomalib_patchgan.models.patchgan.parts import (
    DiscriminatorKind,
    NetworkKind,
    fold_of,
    make_discriminator,
    make_evidences,
    make_reconstructor,
    trains_discriminator,
)
from anomalib_patchgan.models.patchgan.torch_model import CorruptedBatch, PatchGanModel

# Brightness of tissue that `auto` normalises to.
BRIGHTNESS = 0.35
# Entry of a checkpoint.
BRIGHTNESS_FOUND = "exposure"


class PatchGan(TrainedModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Unsupervised patch GAN with targeted patch ranking.

    Trained on lesion-free images only: parts of each image are corrupted, a reconstructor R restores
    them, a discriminator D learns to tell where, and at test time patches are ranked by how badly
    they were restored where D finds something foreign. The defaults are the ones that worked best
    on held-out training patients; the published method, with R against a patch discriminator, is
    `configs/model/patchgan_paper.yaml`.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; `None`
            leaves them as they are. Both must be multiples of `2 ** depth` times the factor by
            which they are averaged down.
        network: `folded` for networks that fold blocks of pixels into channels first (`FoldedUNet`); `plain` for
            the paper's reconstructor.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        fold: Side of the blocks of pixels that are folded; `None` takes 4 for slices, less for images whose shorter
            side would fall below 48. Maps are made with two pixels along each block.
        kernel_size: Odd side of a plain R's kernels.
        decoder_widths: Channels of a plain R's decoder, deepest level first. `None` mirrors the encoder.
        skip_connections: Whether a plain R's decoder sees the encoder's features of the same size.
        discriminator: `conditional` sees the image and its restoration and is trained to find
            what was corrupted; `patch` is the paper's and sees one image (Eq. 3).
        discriminator_widths: Channels of D's levels.
        downscale: Whole factor by which images are averaged down before R; `None` takes the
            largest that leaves at least 192 pixels along the shorter side.
        intensity_normalization: Brightness in (0, 1] that the tissue of every image is scaled to before R, so
            that a lesion in a dark scan counts as much as in a bright one; `None` for none. `auto` is 0.35, and
            none where the data module says that its intensities are comparable (`comparable_intensities`).
        corruption: What corrupts images in training; `None` for `ForeignTissue`.
        clean_fraction: Share of training images that stay clean: test images look like them.
        distance: Pixel distance in the loss, `l2` (Eq. 1) or `l1`.
        evidences: What speaks for a lesion in an image, each a map that is added to the others; `None` for
            `Restoration`, `MaskedRestoration`, `Foreignness` and `Appearance`.
        patch_size: Side of a patch in pixels of the map, before it is enlarged to the image. Patches of several sides
            are ranked apart and their scores averaged; the patch loss takes the largest.
        rank_weights: Weights of the patches, most anomalous first (Eq. 5); `None` for the
            unranked mean.
        foreground_threshold: Brightness in [0, 1], normalised, above which a pixel is tissue;
            `None` takes the whole image.
        image_context: Power of the map's own mean by which it is divided, so that an image that is unusual everywhere
            (another scanner, another skin tone) does not outrank a local lesion; 0 leaves it as it is.
        lambda_reconstruction: Weight of the pixel loss (lambda of Eq. 4).
        patch_weight: Weight of the patch loss (Eq. 2).
        adversarial_weight: Weight of the game against a `patch` discriminator (Eq. 3); 0 trains
            R alone.
        lr_discriminator: Learning rate of D, which is trained only if it plays (`adversarial_weight`) or is asked
            (`Foreignness`).
        averaging: Decay of the moving averages of both networks, which are evaluated, saved and exported; `None`
            takes the weights of the last step.
        **kwargs: `optimizer`, `lr`, `betas`, `weight_decay`, `scheduler`, `clip_value`, `pre_processor`,
            `post_processor`, `evaluator` and `visualizer`, see `TrainedModule`.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If `image_size` does not suit the network.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, PatchGan
        >>> model = PatchGan(image_size=(128, 128))
        >>> engine = Engine(max_epochs=20)
        >>> engine.train(model, datamodule=BrainPhantom())  # doctest: +SKIP
    """

    model: PatchGanModel
    remedies = ("adversarial_weight",)
    used_after_training = frozenset({"evidences", "image_context", "patch_size", "rank_weights"})

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        network: NetworkKind = "folded",
        width: int = 24,
        depth: int = 3,
        fold: int | None = None,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        skip_connections: bool = True,
        discriminator: DiscriminatorKind = "conditional",
        discriminator_widths: Sequence[int] = (24, 48, 96),
        downscale: int | None = None,
        intensity_normalization: float | Literal["auto"] | None = "auto",
        corruption: Corruption | Mapping[str, Any] | None = None,
        clean_fraction: float = 0.25,
        distance: Distance = "l2",
        evidences: Sequence[Evidence | Mapping[str, Any]] | None = None,
        patch_size: int | Sequence[int] = (2, 16),
        rank_weights: Sequence[float] | None = (1.1, 1.0, 0.9, 0.8),
        foreground_threshold: float | None = 0.1,
        image_context: float = 0.25,
        lambda_reconstruction: float = 1.0,
        patch_weight: float = 0.0,
        adversarial_weight: float = 0.0,
        lr_discriminator: float = 2e-3,
        averaging: float | None = 0.995,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        msg = "a conditional discriminator plays no game against R: set adversarial_weight=0 or discriminator=patch."
        require(discriminator != "conditional" or not adversarial_weight, msg)
        super().__init__(image_size, **kwargs)
        corrupts: Corruption = ForeignTissue() if corruption is None else build(corruption, Corruption)  # type: ignore[type-abstract]
        evidence_list = make_evidences(evidences)
        # A checkpoint holds plain data only.
        self.hparams["corruption"] = describe(corrupts)
        self.hparams["evidences"] = [describe(evidence) for evidence in evidence_list]
        reconstructor = make_reconstructor(
            network,
            width,
            depth,
            fold or fold_of(self.resized),
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=skip_connections,
        )
        model = PatchGanModel(
            reconstructor=reconstructor,
            discriminator=make_discriminator(discriminator, discriminator_widths, reconstructor),
            corruption=corrupts,
            clean_fraction=clean_fraction,
            downscale=downscale,
            intensity_normalization=BRIGHTNESS if intensity_normalization == "auto" else intensity_normalization,
            foreground_threshold=foreground_threshold,
            evidences=evidence_list,
            image_context=image_context,
            ranking=PatchRanking(patch_size, rank_weights),
        )
        self.lrs["lr_discriminator"] = lr_discriminator
        self.averaging = averaging
        self.configure_training(model)
        self.loss = ReconstructorLoss(
            lambda_reconstruction,
            patch_weight,
            adversarial_weight,
            patch_size=max(model.ranking.patch_sizes),
            distance=distance,
        )
        self.discriminator_loss = ForeignLoss() if discriminator == "conditional" else DiscriminatorLoss()
        self.trains_discriminator = trains_discriminator(adversarial_weight, evidence_list)

    @classmethod
    def differences_in_training(cls, own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
        """See `TrainedModule`; patches may be part of the loss, and D may be needed that the other does not train."""
        found = super().differences_in_training(own, other)
        if own["patch_weight"] and own["patch_size"] != other["patch_size"]:
            found.append("patch_size")
        needed, trained = (
            trains_discriminator(one["adversarial_weight"], make_evidences(one["evidences"])) for one in (own, other)
        )
        if needed and not trained:
            found.append("evidences (the other trains no discriminator)")
        return found

    def setup(self, stage: str) -> None:
        """Leave images as they are if the data say that their intensities are comparable."""
        super().setup(stage)
        if stage == "fit" and self.hparams["intensity_normalization"] == "auto":
            comparable = getattr(getattr(self.trainer, "datamodule", None), "comparable_intensities", False)
            self.model.intensity_normalization = None if comparable else BRIGHTNESS

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the brightness that intensities are normalised to."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[BRIGHTNESS_FOUND] = self.model.intensity_normalization

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Normalise intensities as in the training."""
        super().on_load_checkpoint(checkpoint)
        if self.hparams["intensity_normalization"] == "auto":
            found = checkpoint.get(BRIGHTNESS_FOUND)
            self.model.intensity_normalization = float(found) if found is not None else None

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
            TrainingDivergedError: If a loss or a gradient is not finite. The network that it
                belongs to has not taken the step.
        """
        del batch_idx
        images = cast("Tensor", batch.image)
        self.collect(images)
        optimizer_r, optimizer_d = cast("list[LightningOptimizer]", self.optimizers())
        corrupted = self.model.corrupt(self.model.prepare(images))
        restored = self.model.reconstructor(corrupted.images)
        losses: dict[str, Tensor] = {}

        restored_logits = None
        if self.trains_discriminator:
            loss_d = self._loss_of_discriminator(corrupted, restored.detach())
            self.take_step(optimizer_d, self.model.discriminator, "discriminator", loss_d)
            losses["train_loss_discriminator"] = loss_d
            if self.loss.adversarial_weight:
                restored_logits = self.model.discriminate(restored, restored, corrupted.level)

        terms = self.loss(corrupted.originals, restored, restored_logits)
        self.take_step(optimizer_r, self.model.reconstructor, "reconstructor", terms.total)
        losses["train_loss"] = terms.total
        losses["train_loss_reconstruction"] = terms.reconstruction
        losses["train_loss_patch"] = terms.patch
        losses["train_loss_adversarial"] = terms.adversarial
        return self.log_losses(losses, len(images))

    def _loss_of_discriminator(self, batch: CorruptedBatch, restored: Tensor) -> Tensor:
        """Loss of D on one batch: where is it corrupted, or which patches are restored."""
        if isinstance(self.discriminator_loss, ForeignLoss):
            logits = self.model.discriminate(batch.images, restored, batch.level)
            change = self.model.shrink(pixel_distance(batch.images, batch.originals, "l1"))
            return cast("Tensor", self.discriminator_loss(logits, change, batch.foreground))
        pair = (self.model.discriminate(images, restored, batch.level) for images in (batch.originals, restored))
        return cast("Tensor", self.discriminator_loss(*pair))
