"""What hides parts of an image so that R learns to restore tissue and D to find what is foreign."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.coarse_noise import CoarseNoise, grey_images

# Cells along a side of the field that makes an outline irregular, drawn per batch: from a few bulges to a ragged edge.
OUTLINES = (4, 6, 9, 14)
RAGGEDNESS = 0.35
# Radii in sides of the image. Most spots are small; a few are so large that they reach past its borders.
SMALLEST, SPREAD = 0.04, 0.22
LARGE = 0.25


class ForeignTissue:
    """Irregular spots that are brighter, darker, of another colour or from another image, and coarse noise.

    Every image gets up to `count` spots with soft, irregular edges at random places of its foreground. Coarse noise
    (`CoarseNoise`) is laid over a share of the images. Close to the synthetic anomalies of Tan et al. (Foreign Patch
    Interpolation, 2022) and Zavrtanik et al. (DRAEM, 2021).

    Args:
        count: Spots that an image may get; each is drawn with `probability`.
        probability: Probability of each spot.
        contrast: Smallest and largest change of brightness, in units of the image range.
        softness: Width of the softest edge, relative to the spot's radius.
        foreign: Share of spots filled from another image of the batch instead of a change of brightness.
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

    def __init__(
        self,
        count: int = 3,
        probability: float = 0.55,
        contrast: tuple[float, float] = (0.06, 0.5),
        softness: float = 0.5,
        foreign: float = 0.3,
        large: float = 0.1,
        noise: float = 0.8,
        cells: int = 16,
        sigma: float = 0.13,
    ) -> None:
        shares = {"probability": probability, "foreign": foreign, "large": large, "noise": noise}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                msg = f"{name} of foreign tissue must lie between 0 and 1, got {value}"
                raise ConfigurationError(msg)
        low, high = contrast
        if count != int(count) or count < 0 or not softness >= 0 or not 0 < low <= high:
            msg = (
                f"foreign tissue needs a whole count and a softness of at least 0 and a positive range of contrasts, "
                f"got count={count}, softness={softness}, contrast=({low}, {high})"
            )
            raise ConfigurationError(msg)
        self.count = count
        self.probability = probability
        self.contrast = (low, high)
        self.softness = softness
        self.foreign = foreign
        self.large = large
        self.noise = noise
        self.cells = cells
        self.sigma = sigma
        self.coarse_noise = CoarseNoise(cells, sigma)

    def __call__(self, images: Tensor, foreground: Tensor, generator: Generator | None = None) -> Tensor:
        """See `Corruption`."""
        hidden = images
        for _ in range(self.count):
            used = _share(images, self.probability, generator)
            hidden = torch.where(used, self._add_spots(hidden, foreground, generator), hidden)
        noisy = _share(images, self.noise, generator)
        return torch.where(noisy, self.coarse_noise(hidden, foreground, generator), hidden)

    def _add_spots(self, images: Tensor, foreground: Tensor, generator: Generator | None) -> Tensor:
        """Blend one spot into each image."""
        spots = self._outlines(images, foreground, generator)
        other = images.roll(1, 0)
        height, width = images.shape[-2:]
        shift = [_integer(-side // 3, side // 3, images, generator) for side in (height, width)]
        other = other.roll((shift[0], shift[1]), (2, 3))
        filling = torch.where(
            _share(images, self.foreign, generator), other, images + self._contrasts(images, generator)
        )
        return (images + spots * (filling - images)).clamp(0.0, 1.0)

    def _outlines(self, images: Tensor, foreground: Tensor, generator: Generator | None) -> Tensor:
        """Draw opacities of one spot per image, shape ``(B, 1, H, W)``, in [0, 1] and 0 outside the foreground."""
        batch, _, height, width = images.shape
        cells = OUTLINES[_integer(0, len(OUTLINES), images, generator)]
        field = torch.randn((batch, 1, cells, cells), generator=generator, device=images.device)
        field = F.interpolate(field, (height, width), mode="bicubic", align_corners=False)
        # A small constant, because multinomial needs a positive sum.
        centre = torch.multinomial(foreground.flatten(1) + 1e-6, 1, generator=generator).view(batch, 1, 1, 1)
        rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
        columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
        radius = torch.where(
            _share(images, self.large, generator),
            LARGE + _uniform(images, generator),
            SMALLEST + SPREAD * _uniform(images, generator).square(),
        ) * max(height, width)
        distance = ((rows - centre // width).square() + (columns - centre % width).square()) / radius.square()
        softness = 0.03 + self.softness * _uniform(images, generator)
        opacity = torch.sigmoid((RAGGEDNESS * field + 1.0 - distance) / softness)
        # The field has no bound: without the limit a bulge could stand far off.
        return opacity * (distance < 9.0).float() * foreground  # noqa: PLR2004

    def _contrasts(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Draw a change of brightness, or for half of the colour images of colour, per image."""
        low, high = self.contrast
        strength = low + (high - low) * _uniform(images, generator) ** 1.5
        sign = torch.where(_share(images, 0.5, generator), 1.0, -1.0)
        shape = (len(images), images.shape[1], 1, 1)
        colour = torch.randn(shape, generator=generator, device=images.device)
        # As long as a change of brightness by 1 in every channel.
        colour = colour / colour.norm(dim=1, keepdim=True).clamp(min=1e-6) * images.shape[1] ** 0.5
        coloured = _share(images, 0.5, generator) & ~grey_images(images)
        return strength * torch.where(coloured, colour, sign)


def _uniform(images: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device)


def _share(images: Tensor, share: float, generator: Generator | None) -> Tensor:
    return _uniform(images, generator) < share


def _integer(low: int, high: int, images: Tensor, generator: Generator | None) -> int:
    return int(torch.randint(low, max(high, low + 1), (1,), generator=generator, device=images.device))
