"""Spots that look like lesions, so that R learns to restore tissue and D to find what is foreign."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.filters import box_mean
from anomalib_patchgan.models.patchgan.corruption.coarse_noise import CoarseNoise, grey_images
from anomalib_patchgan.models.patchgan.corruption.corruption import Corruption
from anomalib_patchgan.models.patchgan.corruption.spots import draw_outlines, integer, share, uniform

# Cells along a side of the image of the texture that a spot may have.
GRAINS = (12, 24, 48)
TEXTURE = (0.02, 0.12)
# How far, in units of the image range, tissue may differ from that under the centre for a spot to spread into it.
SPREADING = 0.1
# Opacity from which on a ring's inside begins, and the least opacity of a faint spot.
RING, FAINT = (0.75, 0.95), 0.3


@dataclass(eq=False)
class ForeignTissue(Corruption):
    """Irregular spots that are brighter, darker, of another colour or from another image, and coarse noise.

    Every image gets up to `count` spots with soft, irregular edges at random places of its foreground. As in lesions,
    the structure under a spot may be lost, it may have a texture of its own or an inside of another contrast, and it
    may spread only into tissue that is like that under its centre, as oedema does. Coarse noise (`CoarseNoise`) is
    laid over a share of the images. Close to the synthetic anomalies of Tan et al. (Foreign Patch Interpolation, 2022)
    and Zavrtanik et al. (DRAEM, 2021).

    Args:
        count: Spots that an image may get; each is drawn with `probability`.
        probability: Probability of each spot.
        contrast: Smallest and largest change of brightness, in units of the image range.
        softness: Width of the softest edge, relative to the spot's radius.
        foreign: Share of spots filled from another image of the batch instead of a change of brightness.
        flat: Share of spots under which structure is lost, more or less.
        ring: Share of spots whose inside has a contrast of its own.
        texture: Share of spots with a texture of their own.
        spreading: Share of spots that spread into similar tissue only.
        faint: Share of spots that tissue shows through.
        large: Share of spots as large as the image or nearly so: whatever is unusual as a whole is an anomaly too.
        noise: Share of images with coarse noise.
        cells: Cells of the noise, see `CoarseNoise`.
        sigma: Standard deviation of the noise, see `CoarseNoise`.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> images, foreground = torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32)
        >>> ForeignTissue()(images, foreground).shape
        torch.Size([4, 3, 32, 32])
    """

    count: int = 3
    probability: float = 0.55
    contrast: tuple[float, float] = (0.06, 0.5)
    softness: float = 0.5
    foreign: float = 0.3
    flat: float = 0.5
    ring: float = 0.3
    texture: float = 0.3
    spreading: float = 0.3
    faint: float = 0.3
    large: float = 0.1
    noise: float = 0.8
    cells: int = 16
    sigma: float = 0.13

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("probability", "foreign", "flat", "ring", "texture", "spreading", "faint", "large", "noise"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} of foreign tissue must lie between 0 and 1, got {value}")
        low, high = self.contrast
        self.contrast = (low, high)
        msg = (
            f"foreign tissue needs a whole count and a softness of at least 0 and a positive range of contrasts, "
            f"got count={self.count}, softness={self.softness}, contrast=({low}, {high})"
        )
        whole = self.count == int(self.count) and self.count >= 0
        require(whole and self.softness >= 0 and 0 < low <= high, msg)
        self.coarse_noise = CoarseNoise(self.cells, self.sigma)

    def __call__(self, images: Tensor, foreground: Tensor, generator: Generator | None = None) -> Tensor:
        """See `Corruption`."""
        corrupted = images
        for _ in range(self.count):
            used = share(images, self.probability, generator)
            corrupted = torch.where(used, self._add_spots(corrupted, foreground, generator), corrupted)
        noisy = share(images, self.noise, generator)
        return torch.where(noisy, self.coarse_noise(corrupted, foreground, generator), corrupted)

    def _add_spots(self, images: Tensor, foreground: Tensor, generator: Generator | None) -> Tensor:
        """Blend one spot into each image."""
        spots = draw_outlines(images, foreground, large=self.large, softness=self.softness, generator=generator)
        smooth = _smooth(images)
        filling = torch.where(
            share(images, self.foreign, generator),
            self._other_tissue(images, generator),
            self._changed_tissue(images, smooth, spots, generator),
        )
        # Tissue unlike that under the centre stays as it is.
        centre = (smooth * spots).sum((2, 3), keepdim=True) / spots.sum((2, 3), keepdim=True).clamp(min=1e-3)
        unlike = (smooth - centre).abs().amax(1, keepdim=True) / SPREADING
        spreads = share(images, self.spreading, generator)
        spots = torch.where(spreads, spots * torch.exp(-unlike.square()), spots)
        faint = FAINT + (1.0 - FAINT) * uniform(images, generator)
        spots = torch.where(share(images, self.faint, generator), spots * faint, spots)
        return (images + spots * (filling - images)).clamp(0.0, 1.0)

    def _other_tissue(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Another place of another image."""
        height, width = images.shape[-2:]
        shift = [integer(-side // 3, side // 3, images, generator) for side in (height, width)]
        return images.roll(1, 0).roll((shift[0], shift[1]), (2, 3))

    def _changed_tissue(self, images: Tensor, smooth: Tensor, spots: Tensor, generator: Generator | None) -> Tensor:
        """The image's own tissue with another brightness or colour, and the structure of a lesion."""
        lost = uniform(images, generator) * share(images, self.flat, generator)
        contrast = self._contrasts(images, generator)
        low, high = RING
        edge = low + (high - low) * uniform(images, generator)
        inside = torch.sigmoid((spots - edge) / 0.03) * share(images, self.ring, generator)
        contrast = contrast + inside * (self._contrasts(images, generator) - contrast)
        cells = GRAINS[integer(0, len(GRAINS), images, generator)]
        grain = torch.randn((len(images), 1, cells, cells), generator=generator, device=images.device)
        grain = F.interpolate(grain, images.shape[-2:], mode="bicubic", align_corners=False)
        low, high = TEXTURE
        strength = (low + (high - low) * uniform(images, generator)) * share(images, self.texture, generator)
        return images + lost * (smooth - images) + contrast + strength * grain

    def _contrasts(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Draw a change of brightness, or for half of the colour images of colour, per image."""
        low, high = self.contrast
        strength = low + (high - low) * uniform(images, generator) ** 1.5
        sign = torch.where(share(images, 0.5, generator), 1.0, -1.0)
        shape = (len(images), images.shape[1], 1, 1)
        colour = torch.randn(shape, generator=generator, device=images.device)
        # As long as a change of brightness by 1 in every channel.
        colour = colour / colour.norm(dim=1, keepdim=True).clamp(min=1e-6) * images.shape[1] ** 0.5
        coloured = share(images, 0.5, generator) & ~grey_images(images)
        return strength * torch.where(coloured, colour, sign)


def _smooth(images: Tensor) -> Tensor:
    """Average over about five pixels in each direction."""
    return box_mean(box_mean(images, 7), 5)
