"""Trivial rule: how much the image differs from its mirror image."""

from collections.abc import Sequence
from typing import Any

from anomalib.data import InferenceBatch
from anomalib.models.components import AnomalibModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.foreground import fade_from_rim, foreground_mask
from anomalib_patchgan.models.components.image_size import check_multiple
from anomalib_patchgan.models.components.ranking import PatchRanking
from anomalib_patchgan.models.components.residual import ResidualMap
from anomalib_patchgan.models.rules.base import Rule


class MirrorDifferenceModel(nn.Module):
    """Smoothed absolute difference to the mirrored image inside the foreground, scored by its worst patches.

    Args:
        difference: Smoothed residual of an image and its mirror image.
        ranking: From the difference to a score, by patches of the downscaled image.
        downscale: Whole factor by which images are averaged down before.
        foreground_threshold: Brightness above which a pixel is tissue.
        foreground_margin: Width of the rim of the foreground over which the difference fades in.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> image = torch.full((1, 3, 16, 16), 0.5)
        >>> model = MirrorDifferenceModel(ResidualMap("l1", None, 0.0), PatchRanking(), 2, 0.05, 0.12)
        >>> float(model(image).pred_score)
        0.0
    """

    def __init__(
        self,
        difference: ResidualMap,
        ranking: PatchRanking,
        downscale: int,
        foreground_threshold: float,
        foreground_margin: float,
    ) -> None:
        super().__init__()
        # Null comes from a checkpoint of a model whose factor follows from the image's size.
        require(downscale and downscale >= 1, f"downscale must be at least 1, got {downscale}")
        self.difference = difference
        self.ranking = ranking
        self.downscale = downscale
        self.foreground_threshold = foreground_threshold
        self.foreground_margin = foreground_margin

    def forward(self, images: Tensor) -> InferenceBatch:
        """Predict scores `(B,)` and maps `(B, 1, H, W)` in [0, 1] for images `(B, 3, H, W)` in [0, 1].

        Raises:
            DataError: If a side of the images is no multiple of `downscale`.
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
        rank_weights: Weights of the patches, most anomalous first; `None` for their mean.
        foreground_threshold: Brightness in [0, 1] above which a pixel is tissue.
        edge_damping: The difference is divided by this constant plus the local edge strength; `None` leaves it.
        foreground_margin: Width, as a fraction of the shorter side, over which the difference fades in from the rim of
            the foreground.
        **kwargs: `image_size`, `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see
            `PluginModule`.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If `image_size` is no multiple of `downscale`.

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
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        difference, ranking = ResidualMap("l1", edge_damping, smoothing), PatchRanking(patch_size, rank_weights)
        self.model = MirrorDifferenceModel(difference, ranking, downscale, foreground_threshold, foreground_margin)
        if self.resized:
            check_multiple("MirrorDifference", self.resized, downscale)
