"""Does it look put in? D's output for the image beside its restoration."""

import torch
from torch import Tensor

from anomalib_patchgan.models.components.filters import make_blur
from anomalib_patchgan.models.patchgan.evidence.evidence import Evidence, View


class Foreignness(Evidence):
    """Probability of "not original" that D gives to a place (D of Eq. 3 of Chen et al., 2025, asked at test time).

    D has seen the mirrored image and corrupted rims in training, so that nothing is corrected by default.

    Args:
        smoothing: Standard deviation in map pixels of the Gaussian that smooths the map; 0 for none.
        mirror: See `Context`, as the next.
        margin: Width of the rim over which the map fades in.
        weight: Weight in the sum.
        power: See `Evidence`.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> images, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 16, 16)
        >>> Foreignness(power=1.0)(View(images, images, mask, logits=torch.zeros(2, 1, 16, 16))).mean().item()
        0.5
    """

    needs_discriminator = True

    def __init__(
        self,
        smoothing: float = 2.0,
        mirror: float | None = 0.0,
        margin: float = 0.0,
        weight: float = 1.0,
        power: float = 0.6,
    ) -> None:
        super().__init__(weight, mirror, margin, power)
        self.smoothing = smoothing
        self.blur = make_blur(smoothing)

    def raw(self, view: View) -> Tensor:
        """See `Evidence.raw`."""
        assert view.logits is not None  # the model asks D when an evidence needs it
        foreign: Tensor = self.blur(torch.sigmoid(-view.logits) * view.foreground)
        return foreign
