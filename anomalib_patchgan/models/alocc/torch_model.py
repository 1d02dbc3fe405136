"""PyTorch model of ALOCC: restore, then ask a discriminator of the whole image."""

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.image_size import check_multiple
from anomalib_patchgan.models.components.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.components.residual import ResidualMap


class AloccModel(CalibratedModel):
    """Denoising reconstructor R without skip connections and discriminator D of the whole input.

    D has the layers of PatchGan's, and the mean of its last layer is the one logit of the image. The score is
    `r / (r + 1)` with `r = -log D(R(x))`, which ranks images as the paper's `1 - D(R(x))` does and does not run
    into 1; the map is the smoothed absolute residual, calibrated as `CalibratedModel` does it.

    Args:
        reconstructor: R, without skip connections.
        discriminator: D.
        sigma: Standard deviation of the noise that R learns to remove, for brightness in [0, 1].
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> model = AloccModel(Reconstructor(width=8, skip_connections=False), PatchDiscriminator())
        >>> prediction = model.eval()(torch.rand(2, 3, 64, 64))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        discriminator: PatchDiscriminator,
        sigma: float = 0.155,
        smoothing: float = 1.5,
    ) -> None:
        super().__init__()
        require(sigma >= 0, f"sigma must not be negative, got {sigma}")
        self.sigma = sigma
        self.reconstructor = reconstructor
        self.discriminator = discriminator
        self.residual_map = ResidualMap("l1", None, smoothing)

    def check_size(self, height: int, width: int) -> None:
        """See `CalibratedModel`."""
        check_multiple("Alocc", (height, width), max(self.reconstructor.stride, self.discriminator.stride))

    def disturb(self, images: Tensor) -> Tensor:
        """Add the noise of training to images of shape `(B, 3, H, W)`."""
        return images + self.sigma * torch.randn_like(images)

    def discriminate(self, images: Tensor) -> Tensor:
        """One logit for each image of shape `(B, 3, H, W)`, positive for "original": `(B,)`."""
        logits: Tensor = self.discriminator(images)
        return logits.mean((1, 2, 3))

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score `-log D(R(x))` of shape `(B,)` and uncalibrated map `(B, 1, H, W)` of images in [0, 1].

        Raises:
            DataError: If the size does not suit the networks.
        """
        images = self.prepare(images)
        restored = self.reconstructor(images)
        residual = self.residual_map(images, restored)
        # 1 - sigmoid(t) is 1 for all images of which D is sure in single precision, which would tie them.
        return nn.functional.softplus(-self.discriminate(restored)), residual

    def forward(self, images: Tensor) -> InferenceBatch:
        """Predict scores `(B,)` and maps `(B, 1, H, W)` in [0, 1) for images `(B, 3, H, W)` in [0, 1].

        Raises:
            DataError: If the size does not suit the networks.
        """
        scores, residual = self.residuals(images)
        return InferenceBatch(
            # Not by the scale of normal images: where D is sure of them all it is so small that lesions would tie at 1.
            pred_score=(scores / (scores + 1.0)).detach(),
            anomaly_map=(residual / (residual + self.map_scale)).detach(),
        )
