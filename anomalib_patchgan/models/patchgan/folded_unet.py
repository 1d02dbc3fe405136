"""The default networks: residual U-Nets on images whose pixel blocks are folded into channels."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.networks import ConvBlock, check_discriminator_widths, widths_of_levels


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to the same shape."""
        return F.leaky_relu(features + self.body(features), 0.2)


class FoldedUNet(nn.Module):
    """U-Net with additive skips (Ronneberger et al., 2015) that works at a fraction of the image's size.

    Blocks of `fold` x `fold` pixels become channels first (Shi et al., 2016), and channels become pixels at the
    end: every pixel is seen and drawn, but no convolution pays for full resolution, where few channels are limited by
    memory and not by arithmetic.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output.
        widths: Channels of the levels; each level after the first halves the features. Sides of the image must be
            multiples of `fold * 2 ** (len(widths) - 1)`.
        fold: Side of the blocks of the input, at least 1.
        unfold: Side of the blocks of the output, which has `unfold / fold` times the input's size.
        extra_channels: Further input channels of the first convolution, at the folded size, which a subclass gives it.

    Raises:
        ConfigurationError: If a width or a fold is not positive.

    Example:
        >>> FoldedUNet(3, 1, widths=(8, 16), fold=4, unfold=2)(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 1, 16, 24])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        *,
        fold: int,
        unfold: int,
        extra_channels: int = 0,
    ) -> None:
        super().__init__()
        msg = f"a folded U-Net needs positive widths and a fold of at least 1, got {list(widths)} and {fold}"
        require(widths and min(*widths, fold, unfold) >= 1, msg)
        self.fold, self.unfold = fold, unfold
        self.stride = fold * 2 ** (len(widths) - 1)
        channels = in_channels * fold**2 + extra_channels
        self.encoder = nn.ModuleList()
        for level, width in enumerate(widths):
            self.encoder.append(
                nn.Sequential(ConvBlock(channels, width, stride=min(level, 1) + 1), ResidualBlock(width))
            )
            channels = width
        self.bottom = ResidualBlock(channels)
        self.decoder, self.narrow = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            # Fewer channels before they are enlarged: the same result for a quarter of the products.
            self.narrow.append(nn.Conv2d(channels, width, 1))
            self.decoder.append(ResidualBlock(width))
            channels = width
        self.head = nn.Conv2d(channels, out_channels * unfold**2, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images of shape `(B, in_channels, H, W)` to unbounded values.

        Returns:
            Shape `(B, out_channels, H * unfold / fold, W * unfold / fold)`.
        """
        return self.go_on(self.first(F.pixel_unshuffle(images, self.fold)))

    @property
    def first(self) -> nn.Conv2d:
        """The first convolution."""
        return cast("nn.Conv2d", self._first_layers[0])

    @property
    def _first_layers(self) -> list[nn.Module]:
        block, residual = cast("nn.Sequential", self.encoder[0])
        return [*cast("ConvBlock", block), residual]

    def go_on(self, features: Tensor) -> Tensor:
        """Map what the first convolution gave to the output."""
        for layer in self._first_layers[1:]:
            features = layer(features)
        skips = [features]
        for level in self.encoder[1:]:
            skips.append(level(skips[-1]))
        features = self.bottom(skips[-1])
        for narrow, block, skip in zip(self.narrow, self.decoder, reversed(skips[:-1]), strict=True):
            features = block(F.interpolate(narrow(features), scale_factor=2.0, mode="nearest") + skip)
        return F.pixel_shuffle(self.head(features), self.unfold)


class FoldedReconstructor(FoldedUNet):
    """Mask reconstructor R: a folded U-Net whose output is an image in [0, 1].

    Args:
        width: Channels of the first level; doubled at each further level.
        depth: Number of levels.
        fold: See `FoldedUNet`.
        channels: Channels of the image.

    Raises:
        ConfigurationError: If `width` or `depth` is not positive; see also `FoldedUNet`.

    Example:
        >>> FoldedReconstructor(width=8, depth=2, fold=2)(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
    """

    def __init__(self, width: int, depth: int, *, fold: int, channels: int = 3) -> None:
        super().__init__(channels, channels, widths_of_levels(width, depth), fold=fold, unfold=fold)
        # Image pixels along a map pixel: spots are made, and maps are smoothed, at this size.
        self.map_factor = max(fold // 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Restore images of shape `(B, C, H, W)`; the result has the same shape, in [0, 1]."""
        return torch.sigmoid(super().forward(images))


class ConditionalDiscriminator(FoldedUNet):
    """Discriminator D of an image beside its restoration: one logit per map pixel, positive for "original".

    It sees the image, what R changed, both again mirrored about the vertical midline, and the logarithm of the image's
    brightness. So it can tell a poor restoration of healthy tissue from a removed lesion, compare both halves of what
    is symmetric, and know how bright the image was.

    Args:
        widths: Channels of the levels.
        fold: See `FoldedUNet`, as the next.
        unfold: Side of the blocks of the output.
        channels: Channels of the image.

    Raises:
        ConfigurationError: See `FoldedUNet`.

    Example:
        >>> images = torch.rand(2, 3, 32, 32)
        >>> discriminator = ConditionalDiscriminator((8, 16), fold=2, unfold=1)
        >>> discriminator(images, 0.9 * images, torch.ones(2, 1, 1, 1)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, widths: Sequence[int], *, fold: int, unfold: int, channels: int = 3) -> None:
        check_discriminator_widths(widths)
        super().__init__(4 * channels, 1, widths, fold=fold, unfold=unfold, extra_channels=1)

    def forward(self, images: Tensor, restored: Tensor, level: Tensor) -> Tensor:  # type: ignore[override]
        """Discriminate images.

        Args:
            images: Images as R saw them, shape `(B, C, H, W)`, values in [0, 1].
            restored: R's restorations, of the same shape.
            level: Brightness of the images before it was normalised, shape `(B, 1, 1, 1)`, positive.

        Returns:
            Logits of shape `(B, 1, H * unfold / fold, W * unfold / fold)`.
        """
        folded = [F.pixel_unshuffle(seen, self.fold) for seen in (images, images - restored)]
        return self.go_on(self._see(torch.cat(folded, dim=1), level))

    def _see(self, pair: Tensor, level: Tensor) -> Tensor:
        """First convolution of a folded pair, its mirror image, and the brightness of all its pixels.

        A convolution of a mirrored image is the mirrored convolution with a mirrored kernel, so that the many channels
        of the pair need not be mirrored, only the few that come out; and a constant is convolved once for all images.
        """
        here, there, brightness = self.first.weight.split([pair.shape[1], pair.shape[1], 1], dim=1)
        # Columns within a folded block are mirrored, too.
        mirrored = there.unflatten(1, (-1, self.fold)).flip(2, -1).flatten(1, 2)
        seen = F.conv2d(pair, torch.cat((here, mirrored)), padding=1)
        here, there = seen.chunk(2, dim=1)
        rim = F.conv2d(torch.ones_like(pair[:1, :1]), brightness, padding=1)
        features = here + there.flip(-1) + level.log() * rim
        # An exported one has a bias, of the batch normalisation that follows otherwise.
        return features if self.first.bias is None else features + self.first.bias.view(1, -1, 1, 1)
