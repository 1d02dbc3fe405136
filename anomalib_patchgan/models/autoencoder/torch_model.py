"""PyTorch model of the autoencoder: restore through a bottleneck, compare."""

from collections.abc import Sequence

import torch
from torch import Tensor

from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.checkpoint import check_multiple
from anomalib_patchgan.models.components.networks import Reconstructor
from anomalib_patchgan.models.components.residual import ResidualMap


class AutoencoderModel(CalibratedModel):
    """Encoder and decoder without skip connections, scored by the mean squared residual of the whole image.

    The map is the squared residual, smoothed. See `CalibratedModel` for how both get into [0, 1).

    Args:
        width: Channels of the first level; doubled at each further level.
        depth: Levels of the network.
        kernel_size: Odd side of the kernels.
        decoder_widths: Channels of the decoder, deepest level first; ``None`` mirrors the encoder.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> prediction = AutoencoderModel(width=8).eval()(torch.rand(2, 3, 64, 64))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        *,
        width: int = 16,
        depth: int = 4,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        smoothing: float = 1.5,
    ) -> None:
        super().__init__()
        self.reconstructor = Reconstructor(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=False,
        )
        self.residual_map = ResidualMap("l2", None, smoothing)

    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size suit the network.

        Raises:
            DataError: If they do not.
        """
        check_multiple("Autoencoder", (height, width), self.reconstructor.stride)

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared residual ``(B,)`` and smoothed squared residual ``(B, 1, H, W)`` of images in [0, 1].

        Raises:
            DataError: If the size does not suit the network.
        """
        self.check_size(*images.shape[-2:])
        images = images.contiguous(memory_format=torch.channels_last)
        restored = self.reconstructor(images)
        residual = self.residual_map(images, restored)
        return (images - restored).square().mean((1, 2, 3)), residual
