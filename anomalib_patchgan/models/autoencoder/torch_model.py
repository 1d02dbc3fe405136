"""PyTorch model of the autoencoder: restore through a bottleneck, compare."""

from torch import Tensor

from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.image_size import check_multiple
from anomalib_patchgan.models.components.networks import Reconstructor
from anomalib_patchgan.models.components.residual import ResidualMap


class AutoencoderModel(CalibratedModel):
    """Encoder and decoder without skip connections, scored by the mean squared residual of the whole image.

    The map is the squared residual, smoothed. See `CalibratedModel` for how both get into [0, 1).

    Args:
        reconstructor: Network without skip connections.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> model = AutoencoderModel(Reconstructor(width=8, skip_connections=False))
        >>> prediction = model.eval()(torch.rand(2, 3, 64, 64))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(self, reconstructor: Reconstructor, smoothing: float = 1.5) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.residual_map = ResidualMap("l2", None, smoothing)

    def check_size(self, height: int, width: int) -> None:
        """See `CalibratedModel`."""
        check_multiple("Autoencoder", (height, width), self.reconstructor.stride)

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared residual `(B,)` and smoothed squared residual `(B, 1, H, W)` of images in [0, 1].

        Raises:
            DataError: If the size does not suit the network.
        """
        images = self.prepare(images)
        restored = self.reconstructor(images)
        residual = self.residual_map(images, restored)
        return (images - restored).square().mean((1, 2, 3)), residual
