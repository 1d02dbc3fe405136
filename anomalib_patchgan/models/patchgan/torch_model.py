"""PyTorch model of PatchGAN: hide, restore, compare, rank."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.calibration import CalibratedModel
from anomalib_patchgan.models.patchgan.corruption import make_corruption
from anomalib_patchgan.models.patchgan.exposure import brightness_level
from anomalib_patchgan.models.patchgan.foreground import foreground_mask
from anomalib_patchgan.models.patchgan.loss import Distance
from anomalib_patchgan.models.patchgan.networks import ConditionalDiscriminator, PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.patchgan.ranking import PatchRanking
from anomalib_patchgan.models.patchgan.residual import ResidualMap

# Pixels along the shorter side that R sees at least, where images have them.
WORKING_SIZE = 96

DiscriminatorKind = Literal["conditional", "patch"]


class Exposed(NamedTuple):
    """Images at the same exposure.

    Attributes:
        images: Shape ``(B, C, H, W)``, values in [0, 1].
        level: Brightness of each before, shape ``(B, 1, 1, 1)``.
    """

    images: Tensor
    level: Tensor


class Hidden(NamedTuple):
    """A training batch: what R restores, what it should become, and where the two differ.

    Attributes:
        images: Partly hidden images, shape ``(B, C, H, W)``.
        originals: The images without what hides them, at the same exposure.
        level: Brightness of the hidden images before exposure, shape ``(B, 1, 1, 1)``.
        foreground: Mask of shape ``(B, 1, H, W)``.
    """

    images: Tensor
    originals: Tensor
    level: Tensor
    foreground: Tensor


class PatchGanModel(CalibratedModel):
    """Reconstructor, discriminator and the way from their outputs to a score and a map.

    At inference nothing is hidden: R restores the image as it is, and what it cannot reproduce is
    the residual. See `ResidualMap` for how it is cleaned, `PatchRanking` for how it is ranked.

    See `CalibratedModel` for how residuals become scores and maps in [0, 1).

    Args:
        width: Channels of R's first level.
        depth: Levels of R.
        kernel_size: Side of R's kernels.
        decoder_widths: Channels of R's decoder; ``None`` mirrors the encoder.
        skip_connections: Whether R has them.
        discriminator: ``conditional`` for one that sees image and restoration, ``patch`` for the paper's.
        discriminator_widths: Channels of D's levels.
        downscale: Whole factor by which images are averaged down before R; the map is enlarged to the input's size.
            ``None`` takes the largest that leaves at least 96 pixels along the shorter side: details finer than a
            lesion cost time only.
        exposure: Brightness that every image is scaled to before R; ``None`` leaves images as they are.
        corruption: What hides the image in training, see `anomalib_patchgan.models.patchgan.corruption`.
        corruption_args: Arguments of the corruption.
        residual: Pixel distance of the residual, ``l1`` or ``l2``.
        patch_size: Side of a patch of the ranking, in pixels of the image that R sees.
        rank_weights: Weights of the ranked patches; ``None`` for the unranked mean.
        foreground_threshold: Brightness after exposure above which a pixel is tissue. ``None``
            takes the whole image as foreground.
        spared: Share of training images that nothing is hidden in.
        foreground_margin: See `ResidualMap`, as the next four.
        edge_damping: Constant of the damping at edges; ``None`` for none.
        image_context: Power of the division by the image's mean residual.
        mirror_context: Share of the mirrored side's residual that is subtracted.
        smoothing: Standard deviation of the smoothing in pixels.
        discriminator_evidence: Weight of D's opinion of the input, ``1 - sigmoid(D)``, see `ResidualMap`; 0 leaves D
            out of inference.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> model = PatchGanModel(width=8).eval()
        >>> prediction = model(torch.rand(2, 3, 64, 64))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        *,
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
        residual: Distance = "l1",
        patch_size: int = 8,
        rank_weights: Sequence[float] | None = (1.1, 1.0, 0.9, 0.8),
        foreground_threshold: float | None = 0.1,
        foreground_margin: float = 0.0,
        edge_damping: float | None = None,
        image_context: float = 0.0,
        mirror_context: float = 0.0,
        smoothing: float = 1.0,
        discriminator_evidence: float = 0.0,
    ) -> None:
        super().__init__()
        if discriminator not in {"conditional", "patch"}:
            msg = f"discriminator must be conditional or patch, got {discriminator!r}"
            raise ConfigurationError(msg)
        if downscale is not None and downscale < 1:
            msg = f"downscale must be at least 1, or null to follow from the image's size, got {downscale}"
            raise ConfigurationError(msg)
        if exposure is not None and not 0 < exposure <= 1:
            msg = f"exposure must be positive and at most 1, or null to leave images as they are, got {exposure}"
            raise ConfigurationError(msg)
        if not 0 <= spared <= 1:
            msg = f"spared must lie between 0 and 1, got {spared}"
            raise ConfigurationError(msg)
        self.downscale = downscale
        self.exposure = exposure
        self.spared = spared
        self.foreground_threshold = foreground_threshold

        self.corruption = make_corruption(corruption, **(corruption_args or {}))
        self.reconstructor = Reconstructor(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=skip_connections,
        )
        self.discriminator: ConditionalDiscriminator | PatchDiscriminator = (
            ConditionalDiscriminator(widths=discriminator_widths)
            if discriminator == "conditional"
            else PatchDiscriminator(widths=discriminator_widths)
        )
        self.residual_map = ResidualMap(
            residual,
            edge_damping,
            smoothing,
            image_context,
            mirror_context,
            foreground_margin,
            discriminator_evidence,
        )
        self.ranking = PatchRanking(patch_size, rank_weights)

    def downscale_of(self, height: int, width: int) -> int:
        """Whole factor by which images of this size are averaged down.

        Example:
            >>> [PatchGanModel().downscale_of(side, side) for side in (32, 96, 191, 192, 256)]
            [1, 1, 1, 2, 2]
        """
        return self.downscale or max(min(height, width) // WORKING_SIZE, 1)

    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size suit the networks and the patches.

        Raises:
            DataError: If they do not; the message names the nearest size that does.
            ConfigurationError: If no patch of such an image has a weight.
        """
        stride = self.reconstructor.stride
        if isinstance(self.discriminator, ConditionalDiscriminator):
            stride = max(stride, self.discriminator.stride)
        factor = self.downscale_of(height, width)
        multiple = stride * factor
        # One patch, rounded up to a size that the networks take.
        smallest = -(-self.ranking.patch_size // stride) * multiple
        if height % multiple or width % multiple or min(height, width) < smallest:
            nearest = [max(round(side / multiple) * multiple, smallest) for side in (height, width)]
            msg = (
                f"PatchGan got images of {height}x{width} pixels, but both sides must be multiples of {multiple} and "
                f"at least {smallest} (one patch); set image_size of the model, e.g. --model.init_args.image_size "
                f"'{nearest}'"
            )
            raise DataError(msg)
        rows, columns = (-(-side // factor // self.ranking.patch_size) for side in (height, width))
        self.ranking.weights_for(rows * columns)

    def prepare(self, images: Tensor) -> Tensor:
        """Check images of shape ``(B, 3, H, W)`` and average them down to what R sees.

        Raises:
            DataError: If the size does not suit the networks.
        """
        height, width = images.shape[-2:]
        self.check_size(height, width)
        factor = self.downscale_of(height, width)
        if factor > 1:
            images = F.avg_pool2d(images, factor)
        return images.contiguous(memory_format=torch.channels_last)

    def expose(self, images: Tensor) -> Exposed:
        """Scale prepared images of shape ``(B, 3, H, W)`` to the same brightness."""
        if self.exposure is None:
            return Exposed(images, torch.ones_like(images[:, :1, :1, :1]))
        level = brightness_level(images)
        exposed = (images * (self.exposure / level)).clamp(0.0, 1.0)
        return Exposed(exposed.contiguous(memory_format=torch.channels_last), level)

    def foreground(self, images: Tensor) -> Tensor:
        """Foreground of images of shape ``(B, 3, H, W)``: mask of shape ``(B, 1, H, W)``."""
        if self.foreground_threshold is None:
            # Everything, but an empty image has nothing in it to be anomalous.
            anything = (images.amax((1, 2, 3), keepdim=True) > 0).float()
            return anything * torch.ones_like(images[:, :1])
        return foreground_mask(images, self.foreground_threshold)

    def hide(self, images: Tensor, generator: Generator | None = None) -> Hidden:
        """Hide parts of prepared training images of shape ``(B, 3, H, W)``."""
        originals, level = self.expose(images)
        foreground = self.foreground(originals)
        hidden = self.corruption(originals, foreground, generator)
        if self.spared:
            shape = (len(images), 1, 1, 1)
            spared = torch.rand(shape, generator=generator, device=images.device) < self.spared
            hidden = torch.where(spared, originals, hidden)
        if self.exposure is None:
            return Hidden(hidden, originals, level, foreground)
        # What hides an image changes its brightness, as a lesion would: exposed again, its original with it.
        hidden, change = self.expose(hidden)
        gain = self.exposure / change
        return Hidden(hidden, (originals * gain).clamp(0.0, 1.0), level / gain, foreground)

    def judge(self, images: Tensor, restored: Tensor, level: Tensor) -> Tensor:
        """Ask D about images and their restorations, each of shape ``(B, 3, H, W)``.

        Returns:
            Logits of shape ``(B, 1, h, w)``, positive for "original".
        """
        if isinstance(self.discriminator, ConditionalDiscriminator):
            return self.discriminator(images, restored, level)
        return self.discriminator(images)

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores and maps.

        Args:
            images: Images of shape ``(B, 3, H, W)``, values in [0, 1].

        Returns:
            Ranked score of shape ``(B,)`` and residual map of shape ``(B, 1, H, W)``, both
            non-negative.
        """
        size = images.shape[-2:]
        images, level = self.expose(self.prepare(images))
        restored = self.reconstructor(images)
        opinion = None
        if self.residual_map.evidence:
            opinion = torch.sigmoid(-self.judge(images, restored, level))
            if opinion.shape[-2:] != images.shape[-2:]:
                opinion = F.interpolate(opinion, images.shape[-2:], mode="bilinear", align_corners=False)
        residual = self.residual_map(images, restored, self.foreground(images), opinion)
        scores = self.ranking(residual)
        if residual.shape[-2:] != size:
            residual = F.interpolate(residual, size, mode="bilinear", align_corners=False)
        return scores, residual
