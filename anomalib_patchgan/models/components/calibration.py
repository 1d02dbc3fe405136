"""From unbounded residuals to scores and maps in [0, 1), without looking at test images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn


class CalibratedModel(nn.Module, ABC):
    """Base of torch models that score an image by non-negative residuals.

    Scores and maps are `r / (r + scale)`: strictly monotone, in [0, 1), 0.5 where the residual is as large as the
    largest usual one of normal training images. The two scales are buffers, learned by `calibrate` and stored in the
    checkpoint, so no score depends on other test images.

    Example:
        >>> class Brightness(CalibratedModel):
        ...     def check_size(self, height, width):
        ...         "Take all sizes."
        ...     def residuals(self, images):
        ...         return images.mean((1, 2, 3)), images.mean(1, keepdim=True)
        >>> model = Brightness()
        >>> model.calibrate(torch.full((4, 3, 8, 8), 0.2))
        >>> round(float(model(torch.full((1, 3, 8, 8), 0.6)).pred_score), 4)  # 0.6 / (0.6 + 0.2)
        0.75
    """

    score_scale: Tensor
    map_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("score_scale", torch.tensor(1.0))
        self.register_buffer("map_scale", torch.tensor(1.0))

    @abstractmethod
    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size suit the model.

        Raises:
            DataError: If they do not.
        """

    def prepare(self, images: Tensor) -> Tensor:
        """Check images of shape `(B, 3, H, W)` and lay them out as the networks are.

        Raises:
            DataError: If the size does not suit the model.
        """
        height, width = images.shape[-2:]
        self.check_size(height, width)
        return images.contiguous(memory_format=torch.channels_last)

    @abstractmethod
    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores and maps.

        Args:
            images: Images of shape `(B, 3, H, W)`, values in [0, 1].

        Returns:
            Score of shape `(B,)` and residual map of shape `(B, 1, H, W)`, both non-negative.
        """

    def forward(self, images: Tensor) -> InferenceBatch:
        """Predict anomaly scores and maps.

        Args:
            images: Images of shape `(B, 3, H, W)`, values in [0, 1].

        Returns:
            `pred_score` of shape `(B,)` and `anomaly_map` of shape `(B, 1, H, W)`, both in
            [0, 1) and detached.

        Raises:
            DataError: If the image size does not suit the network.
        """
        scores, residual = self.residuals(images)
        return InferenceBatch(
            pred_score=(scores / (scores + self.score_scale)).detach(),
            anomaly_map=(residual / (residual + self.map_scale)).detach(),
        )

    def learned(self) -> list[Tensor]:
        """Buffers that `calibrate` fills."""
        return [self.score_scale, self.map_scale]

    @torch.no_grad()
    def calibrate(self, images: Tensor, quantile: float = 0.99, batch_size: int = 16) -> None:
        """Learn the scales of score and map from normal training images.

        A scale stays as it was when all residuals are 0 (images without foreground).

        Args:
            images: Normal images of shape `(B, 3, H, W)`, values in [0, 1].
            quantile: Share of normal scores, and of normal foreground pixels, below the scale.
            batch_size: Images per forward pass.
        """
        self._fit_scales([self.residuals(batch) for batch in images.split(batch_size)], quantile)

    def _fit_scales(self, outputs: Sequence[tuple[Tensor, Tensor]], quantile: float) -> None:
        """Learn the scales from scores and maps of batches of normal images, as `residuals` gives them."""
        for scale, index in ((self.score_scale, 0), (self.map_scale, 1)):
            values = torch.cat([output[index].flatten() for output in outputs]).float()
            values = values[values > 0]
            if len(values):
                # numpy, because torch.quantile refuses more than 2**24 elements.
                scale.fill_(float(np.quantile(values.cpu().numpy(), quantile)))
