"""From an image and its restoration to a residual map."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.filters import local_range, make_blur
from anomalib_patchgan.models.components.loss import Distance, pixel_distance


class ResidualMap(nn.Module):
    """Residual of an image, damped where edges make it hard to restore, and smoothed.

    Args:
        distance: Pixel distance, `l1` or `l2`.
        edge_damping: The residual is divided by this constant plus the local range of brightness,
            both in [0, 1]: blurred edges are the main false alarm of a small reconstructor.
            `None` leaves the residual as it is.
        smoothing: Standard deviation in map pixels of the Gaussian that smooths the residual; 0 for none.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 32, 32)
        >>> ResidualMap("l1", None, 1.0)(images, 0.9 * images, factor=2).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, distance: Distance, edge_damping: float | None, smoothing: float) -> None:
        super().__init__()
        require(distance in {"l1", "l2"}, f"residual must be l1 or l2, got {distance!r}")
        msg = f"edge_damping must be positive, or null for none, got {edge_damping}"
        require(edge_damping is None or edge_damping > 0, msg)
        self.distance = distance
        self.edge_damping = edge_damping
        self.blur = make_blur(smoothing)

    def forward(self, images: Tensor, restored: Tensor, factor: int = 1) -> Tensor:
        """Compute residual maps.

        Args:
            images: Images of shape `(B, C, H, W)`, values in [0, 1].
            restored: Their restorations, of the same shape.
            factor: Image pixels along a map pixel.

        Returns:
            Non-negative maps of shape `(B, 1, H / factor, W / factor)`.
        """
        residual = pixel_distance(images, restored, self.distance)
        if factor > 1:
            residual, images = F.avg_pool2d(residual, factor), F.avg_pool2d(images, factor)
        if self.edge_damping is not None:
            residual = residual / (self.edge_damping + self.blur(local_range(images)))
        smooth: Tensor = self.blur(residual)
        return smooth
