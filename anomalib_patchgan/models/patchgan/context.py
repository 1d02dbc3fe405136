"""What the rest of an image says about a place: its mirror image, and how near the rim is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.filters import make_blur
from anomalib_patchgan.models.components.foreground import fade_from_rim

# Of the order of the last bit of an 8-bit image: an image that is restored perfectly has a level too.
SMALLEST_LEVEL = 1e-3
# No head is exactly symmetric about the middle of its image.
MIRROR_SMOOTHING = 2.0
# Correlation of the two halves of normal maps up to which nothing is subtracted, and from which on everything is:
# skin has 0.2, because photographs are darker at their borders, and brains have 0.4 to 0.7.
CHANCE, SYMMETRIC = 0.2, 0.7
# In shares of a map's level: what is much lower is noise.
FLOOR = 0.1
# Depths below the rim at which its weight is learned, and the power of what normal maps say about it: a mean that is
# twice as high there stands for extremes that are four times as high.
DEPTHS, RIM_POWER = 9, 2


class Context(nn.Module):
    """Corrects the map of an evidence by what healthy images have in common.

    Args:
        mirror: Share of the map on the other side of the image's vertical midline that is subtracted: what a brain's
            both halves have in common is anatomy, not lesion. `None` learns it from normal images.
        margin: Width of the rim of the foreground over which the map fades in, as a fraction of the shorter side: skull
            and skin are conspicuous in healthy heads, too. How much it fades is learned from normal images; a brain
            without its skull hardly needs it.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> maps, foreground = torch.rand(2, 1, 16, 16), torch.ones(2, 1, 16, 16)
        >>> Context(mirror=0.3, margin=0.08)(maps, foreground).shape
        torch.Size([2, 1, 16, 16])
    """

    share: Tensor
    rim: Tensor

    def __init__(self, *, mirror: float | None, margin: float) -> None:
        super().__init__()
        for name, value, highest in (("mirror", mirror or 0.0, 1.0), ("margin", margin, 0.49)):
            require(0 <= value <= highest, f"{name} must lie between 0 and {highest:g}, got {value}")
        self.mirror = mirror
        self.margin = margin
        self.blur = make_blur(MIRROR_SMOOTHING)
        self.register_buffer("share", torch.tensor(mirror or 0.0))
        self.register_buffer("rim", torch.linspace(0.0, 1.0, DEPTHS))

    @torch.no_grad()
    def learn(self, maps: Sequence[Tensor], foregrounds: Sequence[Tensor]) -> None:
        """Learn from normal images how much both halves have in common, unless a share was given, and the rim's fade.

        Args:
            maps: Batches of maps of normal images, shape `(B, 1, H, W)`.
            foregrounds: Their masks.
        """
        if self.mirror is None:
            self._learn_share(maps, foregrounds)
        self._learn_rim(maps, foregrounds)

    def _learn_share(self, maps: Sequence[Tensor], foregrounds: Sequence[Tensor]) -> None:
        """Correlate, over pixels that have a counterpart, smoothed maps with their mirror images.

        As logarithms relative to the image's level: what is unusual as a whole says nothing about halves.
        """
        sides: list[tuple[Tensor, Tensor]] = []
        for batch, foreground in zip(maps, foregrounds, strict=True):
            relative = torch.log(self.blur(batch * foreground) / level_of(batch * foreground, foreground) + FLOOR)
            paired = foreground * foreground.flip(-1) > 0
            sides.append((relative[paired], relative.flip(-1)[paired]))
        here, there = (torch.cat(values) for values in zip(*sides, strict=True))
        if len(here) > 1:
            correlation = torch.corrcoef(torch.stack([here, there]))[0, 1].nan_to_num()
            self.share.copy_(((correlation - CHANCE) / (SYMMETRIC - CHANCE)).clamp(0.0, 1.0))

    def _learn_rim(self, maps: Sequence[Tensor], foregrounds: Sequence[Tensor]) -> None:
        """Compare the mean of normal maps at each depth with that inside."""
        inside = torch.cat([foreground[foreground > 0] for foreground in foregrounds])
        if not self.margin or not len(inside):
            return
        pairs = zip(maps, foregrounds, strict=True)
        values = torch.cat([self._compare(batch, foreground)[foreground > 0] for batch, foreground in pairs])
        depths = torch.cat([self._depth(foreground)[foreground > 0] for foreground in foregrounds])
        nearest = (depths * (DEPTHS - 1)).round().long()
        count = torch.bincount(nearest, minlength=DEPTHS)
        mean = torch.bincount(nearest, values, minlength=DEPTHS) / count.clamp(min=1)
        weight = (mean[-1] / mean.clamp(min=SMALLEST_LEVEL)).clamp(max=1.0) ** RIM_POWER
        self.rim.copy_(torch.where(count > 0, weight, torch.ones_like(weight)))

    def _depth(self, foreground: Tensor) -> Tensor:
        """How far pixels lie from the rim, from 0 to 1 at the margin."""
        return fade_from_rim(foreground, round(self.margin * min(foreground.shape[-2:])))

    def _compare(self, maps: Tensor, foreground: Tensor) -> Tensor:
        """Subtract the mirror image's share."""
        maps = maps * foreground
        if self.mirror == 0:
            return maps
        return (maps - self.share * self.blur(maps).flip(-1)).clamp(min=0.0)

    def forward(self, maps: Tensor, foreground: Tensor) -> Tensor:
        """Correct non-negative maps.

        Args:
            maps: Shape `(B, 1, H, W)`.
            foreground: Mask of the same shape holding 0.0 and 1.0.

        Returns:
            Non-negative maps of the same shape, 0 outside the foreground.
        """
        maps = self._compare(maps, foreground)
        if not self.margin:
            return maps
        # Between the depths that were learned the weight is linear.
        depth = self._depth(foreground) * (DEPTHS - 1)
        knots = torch.arange(DEPTHS, device=maps.device).view(1, -1, 1, 1)
        near = (1.0 - (depth - knots).abs()).clamp(min=0.0)
        return maps * F.conv2d(near, self.rim.view(1, -1, 1, 1)) * foreground


def level_of(maps: Tensor, foreground: Tensor) -> Tensor:
    """Mean of non-negative maps over the foreground, shape `(B, 1, 1, 1)`, at least 0.001.

    Example:
        >>> level_of(torch.full((1, 1, 4, 4), 0.5), torch.ones(1, 1, 4, 4)).item()
        0.5
    """
    area = foreground.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
    return (maps.sum((1, 2, 3), keepdim=True) / area).clamp(min=SMALLEST_LEVEL)
