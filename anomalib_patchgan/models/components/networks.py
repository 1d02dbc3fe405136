"""The paper's networks: a plain encoder-decoder as mask reconstructor R, and the patch discriminator D."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, leaky ReLU; "same" padding for odd kernels."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2),
        )


class EncoderDecoder(nn.Module):
    """Fully convolutional encoder-decoder: each level of the encoder halves the image, each of the decoder doubles it.

    With skip connections the decoder also sees the encoder's features of the same size, among them those of a
    full-resolution stem; without them everything passes the narrowest level.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        widths: Channels of the encoder's levels. The input must be a multiple of ``2 ** len(widths)``.
        kernel_size: Odd side of the convolution kernels.
        decoder_widths: Channels of the decoder's levels, deepest first. ``None`` mirrors the encoder.
        skip_connections: Whether the decoder sees the encoder's features.

    Raises:
        ConfigurationError: If a width is not positive, the kernel is even, or ``decoder_widths`` has another length
            than ``widths``.

    Example:
        >>> EncoderDecoder(7, 1, widths=(8, 16))(torch.rand(1, 7, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        *,
        skip_connections: bool = True,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or kernel_size % 2 == 0:
            msg = (
                f"an encoder needs positive widths and an odd kernel_size, got widths {list(widths)} and "
                f"kernel_size {kernel_size}"
            )
            raise ConfigurationError(msg)
        depth = len(widths)
        if decoder_widths is None:
            decoder_widths = [*reversed(widths[:-1]), widths[0]]
        if len(decoder_widths) != depth or min(decoder_widths) < 1:
            msg = f"decoder_widths needs one positive entry per level (depth={depth}), got {list(decoder_widths)}"
            raise ConfigurationError(msg)

        self.stride = 2**depth
        self.skip_connections = skip_connections
        self.stem = ConvBlock(in_channels, widths[0], kernel_size) if skip_connections else nn.Identity()
        skip_widths = [widths[0], *widths[:-1]] if skip_connections else [0] * depth

        self.encoder = nn.ModuleList()
        channels = widths[0] if skip_connections else in_channels
        for level_width in widths:
            self.encoder.append(ConvBlock(channels, level_width, kernel_size, stride=2))
            channels = level_width
        self.decoder = nn.ModuleList()
        for level_width, skip_width in zip(decoder_widths, reversed(skip_widths), strict=True):
            self.decoder.append(ConvBlock(channels + skip_width, level_width, kernel_size))
            channels = level_width
        self.head = nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``, unbounded."""
        features = self.stem(images)
        skips = []
        for block in self.encoder:
            skips.append(features)
            features = block(features)
        for block in self.decoder:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            skip = skips.pop()
            features = block(torch.cat((features, skip), dim=1) if self.skip_connections else features)
        output: Tensor = self.head(features)
        return output


class Reconstructor(EncoderDecoder):
    """Mask reconstructor R: an encoder-decoder whose output is an image in [0, 1].

    Args:
        in_channels: Channels of the image.
        width: Channels of the first level; doubled at each further level.
        depth: Number of levels. The image must be a multiple of ``2 ** depth``.
        kernel_size: See `EncoderDecoder`, as the next two.
        decoder_widths: Channels of the decoder's levels.
        skip_connections: The paper's R has none.

    Raises:
        ConfigurationError: If ``width`` or ``depth`` is not positive; see also `EncoderDecoder`.

    Example:
        >>> Reconstructor(width=8, depth=2)(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
    """

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
        if width < 1 or depth < 1:
            msg = f"width and depth must be positive, got {width} and {depth}"
            raise ConfigurationError(msg)
        super().__init__(
            in_channels,
            in_channels,
            [width * 2**level for level in range(depth)],
            kernel_size,
            decoder_widths,
            skip_connections=skip_connections,
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Restore images of shape ``(B, C, H, W)``; the result has the same shape, in [0, 1]."""
        return torch.sigmoid(super().forward(hidden))


def check_discriminator_widths(widths: Sequence[int]) -> None:
    """Check the channels of a discriminator's levels.

    Raises:
        ConfigurationError: If there are none, or one is not positive.
    """
    if not widths or min(widths) < 1:
        msg = f"discriminator_widths must be positive numbers, got {list(widths)}"
        raise ConfigurationError(msg)


class PatchDiscriminator(nn.Module):
    """Patch discriminator D: one logit per patch, positive for "original".

    Strided 4x4 convolutions, then a 4x4 convolution to one channel, as in the first author's
    earlier scripts: a 32x32 tile gives a 4x4 map with the default widths.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the strided layers. Each halves the image.

    Raises:
        ConfigurationError: If ``widths`` is empty or not positive.

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
        """Judge images of shape ``(B, C, H, W)``; logits of shape ``(B, 1, h, w)``."""
        logits: Tensor = self.layers(images)
        return logits
