"""Trivial rule: how much the image differs from its mirror image."""

from collections.abc import Sequence

from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.visualization import Visualizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.checkpoint import check_multiple
from anomalib_patchgan.models.components.foreground import fade_from_rim, foreground_mask
from anomalib_patchgan.models.components.ranking import PatchRanking
from anomalib_patchgan.models.components.residual import ResidualMap
from anomalib_patchgan.models.rules.base import Rule


class MirrorDifferenceModel(nn.Module):
    """Smoothed absolute difference to the mirrored image inside the foreground, scored by its worst patches.

    Args:
        smoothing: Standard deviation in pixels of the Gaussian that smooths the difference.
        downscale: Whole factor by which images are averaged down before.
        patch_size: Side of a patch in pixels of the downscaled image.
        rank_weights: Weights of the patches, most anomalous first; ``None`` for their mean.
        foreground_threshold: Brightness above which a pixel is tissue.
        edge_damping: See `ResidualMap`, as the next.
        foreground_margin: Width of the rim of the foreground over which the difference fades in.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> image = torch.full((1, 3, 16, 16), 0.5)
        >>> float(MirrorDifferenceModel()(image).pred_score)
        0.0
    """

    def __init__(
        self,
        smoothing: float = 1.5,
        downscale: int = 2,
        patch_size: int = 4,
        rank_weights: Sequence[float] | None = (1.1, 1.0),
        foreground_threshold: float = 0.05,
        edge_damping: float | None = 0.2,
        foreground_margin: float = 0.12,
    ) -> None:
        super().__init__()
        # Null comes from a checkpoint of a model whose factor follows from the image's size.
        if not downscale or downscale < 1:
            msg = f"downscale must be at least 1, got {downscale}"
            raise ConfigurationError(msg)
        self.downscale = downscale
        self.foreground_threshold = foreground_threshold
        self.foreground_margin = foreground_margin
        self.difference = ResidualMap("l1", edge_damping, smoothing)
        self.ranking = PatchRanking(patch_size, rank_weights)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Predict scores ``(B,)`` and maps ``(B, 1, H, W)`` in [0, 1] for images ``(B, 3, H, W)`` in [0, 1].

        Raises:
            DataError: If a side of the images is no multiple of ``downscale``.
        """
        size = images.shape[-2:]
        check_multiple("MirrorDifference", (size[0], size[1]), self.downscale)
        if self.downscale > 1:
            images = F.avg_pool2d(images, self.downscale)
        foreground = foreground_mask(images, self.foreground_threshold)
        margin = round(self.foreground_margin * min(images.shape[-2:]))
        difference = self.difference(images, images.flip(-1)) * fade_from_rim(foreground, margin)
        score = self.ranking(difference)
        if self.downscale > 1:
            difference = F.interpolate(difference, size, mode="bilinear", align_corners=False)
        # Damping divides by less than 1: this brings both back below 1 and keeps their order.
        return InferenceBatch(
            pred_score=(score / (1 + score)).detach(), anomaly_map=(difference / (1 + difference)).detach()
        )


class MirrorDifference(Rule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Trivial rule: the absolute difference of the image to its mirror image, for upright brains.

    The difference is corrected and ranked as PatchGan's residual is, so that only the restoration tells the two apart.

    Args:
        smoothing: Standard deviation in pixels of the Gaussian that smooths the difference.
        downscale: Whole factor by which images are averaged down before.
        patch_size: Side of a patch in pixels of the downscaled image.
        rank_weights: Weights of the patches, most anomalous first; ``None`` for their mean.
        foreground_threshold: Brightness in [0, 1] above which a pixel is tissue.
        edge_damping: The difference is divided by this constant plus the local edge strength; ``None`` leaves it.
        foreground_margin: Width, as a fraction of the shorter side, over which the difference fades in from the rim of
            the foreground.
        image_size: Height and width to which the default pre-processor resizes images; ``None`` leaves them.
        pre_processor: Pre-processor, or whether to use the default.
        post_processor: Post-processor, or whether to use the default.
        evaluator: Evaluator, or whether to use the default.
        visualizer: Visualizer, or whether to use the default.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If ``image_size`` is no multiple of ``downscale``.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, MirrorDifference
        >>> Engine().train(MirrorDifference(), datamodule=BrainPhantom())  # doctest: +SKIP
    """

    def __init__(
        self,
        smoothing: float = 1.5,
        downscale: int = 2,
        patch_size: int = 4,
        rank_weights: Sequence[float] | None = (1.1, 1.0),
        foreground_threshold: float = 0.05,
        edge_damping: float | None = 0.2,
        foreground_margin: float = 0.12,
        image_size: tuple[int, int] | None = (192, 192),
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
        self.model = MirrorDifferenceModel(
            smoothing, downscale, patch_size, rank_weights, foreground_threshold, edge_damping, foreground_margin
        )
        if self.resized:
            check_multiple("MirrorDifference", self.resized, downscale)
