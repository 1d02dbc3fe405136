"""What all evidences have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.filters import power_of
from anomalib_patchgan.models.patchgan.context import Context

# Of the normal foreground pixels, the share whose evidence lies below the scale.
QUANTILE = 0.99


class View(NamedTuple):
    """What evidences see of a batch.

    Attributes:
        images: Images as R sees them, of one brightness of tissue, shape `(B, C, H, W)`, values in [0, 1].
        restored: R's restorations, of the same shape and range.
        foreground: Mask at the size of maps, shape `(B, 1, h, w)`, holding 0.0 and 1.0; `H` is a multiple of `h`.
        logits: D's logits at the size of maps, positive for "original"; `None` if nothing asks for them.
        unseen: R's restorations of what was masked (`restore_unseen`), of the images' shape; `None` if nothing asks.
    """

    images: Tensor
    restored: Tensor
    foreground: Tensor
    logits: Tensor | None = None
    unseen: Tensor | None = None

    @property
    def factor(self) -> int:
        """Image pixels along a map pixel."""
        return self.images.shape[-1] // self.foreground.shape[-1]


class Evidence(nn.Module, ABC):
    """A map that is high where something speaks for a lesion, in units of what normal images reach.

    A subclass says in `raw` what it sees, and in `learn` what it has to know of normal images before; its arguments are
    kept as attributes of the same names, so that a checkpoint can say how it was made.

    Args:
        weight: Weight in the sum of evidences.
        mirror: See `Context`, as the next.
        margin: Width of the rim.
        power: Power of the map in units of normal tissue; below 1, what is far beyond it counts less, so that an
            evidence that is wrong about an image does not decide alone.

    Raises:
        ConfigurationError: If an argument is out of its range.
    """

    needs_discriminator = False
    needs_masking = False
    scale: Tensor

    def __init__(self, weight: float, mirror: float | None = 0.0, margin: float = 0.0, power: float = 1.0) -> None:
        super().__init__()
        msg = f"weight of {type(self).__name__} must be positive, got {weight}; to leave it out, do not list it."
        require(0 < weight < float("inf"), msg)
        require(0 < power < float("inf"), f"power of {type(self).__name__} must be positive, got {power}")
        self.weight = weight
        self.power = power
        self.mirror = mirror
        self.margin = margin
        self.context = Context(mirror=mirror, margin=margin)
        self.register_buffer("scale", torch.tensor(1.0))

    @abstractmethod
    def raw(self, view: View) -> Tensor:
        """Evidence in units of its own.

        Args:
            view: The batch.

        Returns:
            Non-negative maps of shape `(B, 1, h, w)`. No branch may depend on values: it is part of exported graphs.
        """

    def learn(self, views: Sequence[View]) -> None:
        """Learn from normal training images whatever `raw` needs to know; by default nothing."""
        del views

    @torch.no_grad()
    def calibrate(self, views: Sequence[View]) -> None:
        """Learn from normal training images; the scale becomes the 99 % quantile of their foreground.

        Args:
            views: Batches of normal images.
        """
        self.learn(views)
        maps, foregrounds = [self.raw(view) for view in views], [view.foreground for view in views]
        self.context.learn(maps, foregrounds)
        inside = [values[foreground > 0] for values, foreground in zip(maps, foregrounds, strict=True)]
        values = torch.cat(inside).float().cpu().numpy()
        values = values[values > 0]
        if len(values):
            # numpy, because torch.quantile refuses more than 2**24 elements.
            self.scale.fill_(float(np.quantile(values, QUANTILE)))

    def forward(self, view: View) -> Tensor:
        """Weighted maps of shape `(B, 1, h, w)`, 0 outside the foreground.

        The weight stands for what normal tissue reaches at its most conspicuous, before it is corrected by its context.
        """
        corrected: Tensor = self.context(self.raw(view), view.foreground)
        return self.weight * power_of(corrected / self.scale, self.power)
