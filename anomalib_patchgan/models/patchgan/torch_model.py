"""PyTorch model of PatchGAN: hide, restore, compare, rank."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.calibration import CalibratedModel
from anomalib_patchgan.models.patchgan.corruption import make_corruption
from anomalib_patchgan.models.patchgan.foreground import foreground_mask
from anomalib_patchgan.models.patchgan.loss import Distance
from anomalib_patchgan.models.patchgan.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.patchgan.ranking import PatchRanking
from anomalib_patchgan.models.patchgan.residual import ResidualMap


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
        discriminator_widths: Channels of D's layers.
        downscale: Whole factor by which images are averaged down before R; the map is enlarged
            to the input's size. Saves time where lesions are much larger than a pixel.
        corruption: What hides the image in training, see `anomalib_patchgan.models.patchgan.corruption`.
        corruption_args: Arguments of the corruption.
        residual: Pixel distance of the residual, ``l1`` or ``l2``.
        patch_size: Side of a patch of the ranking, in pixels of the image that R sees.
        rank_weights: Weights of the ranked patches; ``None`` for the unranked mean.
        foreground_threshold: Brightness above which a pixel is tissue. ``None`` takes the whole
            image as foreground.
        foreground_margin: See `ResidualMap`, as the next four.
        edge_damping: Constant of the damping at edges; ``None`` for none.
        image_context: Power of the division by the image's mean residual.
        mirror_context: Share of the mirrored side's residual that is subtracted.
        smoothing: Standard deviation of the smoothing in pixels.
        discriminator_evidence: Weight of D's opinion of the input, ``1 - sigmoid(D(x))``, added
            to the residual; 0 leaves D out of inference.

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
        discriminator_widths: Sequence[int] = (16, 32, 64),
        downscale: int = 1,
        corruption: str = "noise",
        corruption_args: Mapping[str, Any] | None = None,
        residual: Distance = "l1",
        patch_size: int = 16,
        rank_weights: Sequence[float] | None = (1.1, 1.0),
        foreground_threshold: float | None = 0.05,
        foreground_margin: float = 0.0,
        edge_damping: float | None = None,
        image_context: float = 0.0,
        mirror_context: float = 0.0,
        smoothing: float = 1.0,
        discriminator_evidence: float = 0.0,
    ) -> None:
        super().__init__()
        if downscale < 1 or discriminator_evidence < 0:
            msg = (
                f"downscale must be at least 1 and discriminator_evidence not negative, got {downscale} and "
                f"{discriminator_evidence}"
            )
            raise ConfigurationError(msg)
        self.downscale = downscale
        self.foreground_threshold = foreground_threshold
        self.discriminator_evidence = discriminator_evidence

        self.corruption = make_corruption(corruption, **(corruption_args or {}))
        self.reconstructor = Reconstructor(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=skip_connections,
        )
        self.discriminator = PatchDiscriminator(widths=discriminator_widths)
        self.residual_map = ResidualMap(
            residual, edge_damping, smoothing, image_context, mirror_context, foreground_margin
        )
        self.ranking = PatchRanking(patch_size, rank_weights)

    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size suit the network and the patches.

        Raises:
            DataError: If they do not; the message names the nearest size that does.
        """
        multiple = self.reconstructor.stride * self.downscale
        # One patch, rounded up to a size that the network takes.
        smallest = -(-self.ranking.patch_size * self.downscale // multiple) * multiple
        if height % multiple or width % multiple or min(height, width) < smallest:
            nearest = [max(round(side / multiple) * multiple, smallest) for side in (height, width)]
            msg = (
                f"PatchGan got images of {height}x{width} pixels, but both sides must be multiples of {multiple} and "
                f"at least {smallest} (one patch); set image_size of the model, e.g. --model.init_args.image_size "
                f"'{nearest}'"
            )
            raise DataError(msg)

    def prepare(self, images: Tensor) -> Tensor:
        """Check images of shape ``(B, 3, H, W)`` and average them down to what R sees.

        Raises:
            DataError: If the size does not suit the network.
        """
        self.check_size(*images.shape[-2:])
        if self.downscale > 1:
            images = F.avg_pool2d(images, self.downscale)
        return images.contiguous(memory_format=torch.channels_last)

    def foreground(self, images: Tensor) -> Tensor:
        """Foreground of images of shape ``(B, 3, H, W)``: mask of shape ``(B, 1, H, W)``."""
        if self.foreground_threshold is None:
            # Everything, but an empty image has nothing in it to be anomalous.
            anything = (images.amax((1, 2, 3), keepdim=True) > 0).float()
            return anything * torch.ones_like(images[:, :1])
        return foreground_mask(images, self.foreground_threshold)

    def hide(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Corrupt prepared images of shape ``(B, 3, H, W)`` for training."""
        return self.corruption(images, self.foreground(images), generator)

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores and maps.

        Args:
            images: Images of shape ``(B, 3, H, W)``, values in [0, 1].

        Returns:
            Ranked score of shape ``(B,)`` and residual map of shape ``(B, 1, H, W)``, both
            non-negative.
        """
        size = images.shape[-2:]
        images = self.prepare(images)
        doubt = None
        if self.discriminator_evidence:
            doubt = self.discriminator_evidence * F.interpolate(
                torch.sigmoid(-self.discriminator(images)), images.shape[-2:], mode="bilinear", align_corners=False
            )
        residual = self.residual_map(images, self.reconstructor(images), self.foreground(images), doubt)
        scores = self.ranking(residual)
        if self.downscale > 1:
            residual = F.interpolate(residual, size, mode="bilinear", align_corners=False)
        return scores, residual
