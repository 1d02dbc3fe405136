"""Could it be restored? R's residual, which a lesion leaves where R puts healthy tissue."""

from torch import Tensor

from anomalib_patchgan.models.components.loss import Distance
from anomalib_patchgan.models.components.residual import ResidualMap
from anomalib_patchgan.models.patchgan.evidence.evidence import Evidence, View


class Restoration(Evidence):
    """Distance of an image to its restoration (Eqs. 1 and 5 of Chen et al., 2025).

    Args:
        distance: See `ResidualMap`, as the next two; `l2` is the paper's.
        edge_damping: Constant of the damping at edges; `None` for none.
        smoothing: Standard deviation of the smoothing in map pixels.
        mirror: Share of the mirrored map that is subtracted, see `Context`: what R restores badly on both sides is
            anatomy. `None` learns it.
        margin: Width of the rim over which the map fades in.
        weight: Weight in the sum.
        power: See `Evidence`; 1 is the paper's.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 32, 32)
        >>> Restoration()(View(images, 0.9 * images, torch.ones(2, 1, 16, 16))).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        distance: Distance = "l1",
        edge_damping: float | None = 0.2,
        smoothing: float = 2.0,
        mirror: float | None = None,
        margin: float = 0.12,
        weight: float = 1.0,
        power: float = 0.6,
    ) -> None:
        super().__init__(weight, mirror, margin, power)
        self.distance = distance
        self.edge_damping = edge_damping
        self.smoothing = smoothing
        self.residual = ResidualMap(distance, edge_damping, smoothing)

    def raw(self, view: View) -> Tensor:
        """See `Evidence.raw`."""
        residual: Tensor = self.residual(view.images, view.restored, view.factor)
        return residual
