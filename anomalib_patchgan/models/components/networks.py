"""Plain networks: the encoder-decoder that restores images (R), and the patch discriminator (D)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, leaky ReLU; "same" padding for odd kernels."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2),
        )


class Reconstructor(nn.Module):
    """Mask reconstructor R: fully convolutional encoder-decoder whose output is an image in [0, 1].

    Each level of the encoder halves the image, each of the decoder doubles it. With skip connections the decoder also
    sees the encoder's features of the same size, among them those of a full-resolution stem; without them everything
    passes the narrowest level.

    Args:
        in_channels: Channels of the image.
        width: Channels of the first level; doubled at each further level.
        depth: Number of levels. The image must be a multiple of `2 ** depth`.
        kernel_size: Odd side of the convolution kernels.
        decoder_widths: Channels of the decoder's levels, deepest first. `None` mirrors the encoder.
        skip_connections: Whether the decoder sees the encoder's features; the paper's R has none.

    Raises:
        ConfigurationError: If `width`, `depth` or a width of the decoder is not positive, the kernel is even, or
            `decoder_widths` does not have `depth` entries.

    Example:
        >>> Reconstructor(width=8, depth=2)(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
    """

    # Side of the pixel blocks that are folded into channels, and image pixels along a map pixel, see `FoldedUNet`.
    fold = map_factor = 1

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 16,
        depth: int = 3,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        *,
        skip_connections: bool = True,
    ) -> None:
        super().__init__()
        widths = widths_of_levels(width, depth)
        require(kernel_size % 2, f"an encoder needs an odd kernel_size, got {kernel_size}")
        if decoder_widths is None:
            decoder_widths = [*reversed(widths[:-1]), widths[0]]
        msg = f"decoder_widths needs one positive entry per level (depth={depth}), got {list(decoder_widths)}"
        require(len(decoder_widths) == depth and min(decoder_widths) >= 1, msg)

        self.stride = 2**depth
        self.skip_connections = skip_connections
        self.stem = ConvBlock(in_channels, width, kernel_size) if skip_connections else nn.Identity()
        skip_widths = [width, *widths[:-1]] if skip_connections else [0] * depth

        self.encoder = nn.ModuleList()
        channels = width if skip_connections else in_channels
        for level_width in widths:
            self.encoder.append(ConvBlock(channels, level_width, kernel_size, stride=2))
            channels = level_width
        self.decoder = nn.ModuleList()
        for level_width, skip_width in zip(decoder_widths, reversed(skip_widths), strict=True):
            self.decoder.append(ConvBlock(channels + skip_width, level_width, kernel_size))
            channels = level_width
        self.head = nn.Conv2d(channels, in_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Restore images of shape `(B, C, H, W)`; the result has the same shape, in [0, 1]."""
        features = self.stem(images)
        skips = []
        for block in self.encoder:
            skips.append(features)
            features = block(features)
        for block in self.decoder:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            skip = skips.pop()
            features = block(torch.cat((features, skip), dim=1) if self.skip_connections else features)
        return torch.sigmoid(self.head(features))


def widths_of_levels(width: int, depth: int) -> list[int]:
    """Channels of the levels of a network, doubled from each to the next.

    Raises:
        ConfigurationError: If a number is not positive.

    Example:
        >>> widths_of_levels(24, 3)
        [24, 48, 96]
    """
    require(width >= 1 and depth >= 1, f"width and depth must be positive, got {width} and {depth}")
    return [width * 2**level for level in range(depth)]


def check_discriminator_widths(widths: Sequence[int]) -> None:
    """Check the channels of a discriminator's levels.

    Raises:
        ConfigurationError: If there are none, or one is not positive.
    """
    msg = f"discriminator_widths must be positive numbers, got {list(widths)}"
    require(widths and min(widths) >= 1, msg)


class PatchDiscriminator(nn.Module):
    """Patch discriminator D: one logit per patch, positive for "original".

    Strided 4x4 convolutions, then a 4x4 convolution to one channel, as in the first author's
    earlier scripts: a 32x32 tile gives a 4x4 map with the default widths.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the strided layers. Each halves the image.

    Raises:
        ConfigurationError: If `widths` is empty or not positive.

    Example:
        >>> PatchDiscriminator()(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(self, in_channels: int = 3, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        check_discriminator_widths(widths)
        self.stride = 2 ** len(widths)
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1, bias=False),
                # The scripts' Keras momentum of 0.8 is what PyTorch calls 0.2.
                nn.BatchNorm2d(width, momentum=0.2),
                nn.LeakyReLU(0.2),
            ]
            channels = width
        # An even kernel has no symmetric "same" padding: one pixel more on the right and below.
        layers += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(channels, 1, kernel_size=4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Discriminate images of shape `(B, C, H, W)`; logits of shape `(B, 1, h, w)`."""
        logits: Tensor = self.layers(images)
        return logits
