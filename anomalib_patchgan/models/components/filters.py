"""Filters of maps that several parts of the score share."""

from anomalib.models.components import GaussianBlur2d
from anomalib.models.components.filters.blur import compute_kernel_size
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require

# What is taken for the logarithm of 0.
SMALLEST = 1e-30


def make_blur(sigma: float) -> nn.Module:
    """Make a Gaussian filter of standard deviation `sigma` in pixels for maps of shape `(B, 1, H, W)`; 0 for none.

    Along columns, then along rows: a Gaussian is separable, and one filter of two dimensions multiplies as many times
    as a kernel has pixels.

    Raises:
        ConfigurationError: If it is negative or not finite.

    Example:
        >>> import torch
        >>> make_blur(2.0)(torch.ones(1, 1, 8, 8)).sum().round()
        tensor(64.)
    """
    require(0 <= sigma < float("inf"), f"smoothing must be 0 or more, got {sigma}")
    if not sigma:
        return nn.Identity()
    side = compute_kernel_size(sigma)
    # Replicated borders: reflection fails on images smaller than the kernel.
    filters = [GaussianBlur2d(sigma, kernel_size=sides, border_type="replicate") for sides in ((side, 1), (1, side))]
    for blur in filters:
        # A setting, not a weight: a checkpoint must not bring back the kernel of another smoothing.
        blur.register_buffer("kernel", blur.kernel, persistent=False)
    return nn.Sequential(*filters)


def box_mean(images: Tensor, side: int) -> Tensor:
    """Mean over the square of an odd side around each pixel, or the part of it that lies in the image.

    Along columns, then along rows, as in `make_blur`.

    Args:
        images: Shape `(B, C, H, W)`.
        side: Odd side in pixels.

    Returns:
        Means of the same shape.

    Example:
        >>> import torch
        >>> box_mean(torch.eye(3)[None, None], 3)[0, 0, 0, 0]
        tensor(0.5000)
    """
    for kernel in ((side, 1), (1, side)):
        padding = [along // 2 for along in kernel]
        images = F.avg_pool2d(images, kernel, stride=1, padding=padding, count_include_pad=False)
    return images


def power_of(values: Tensor, exponent: float) -> Tensor:
    """Raise non-negative values to a positive power.

    By logarithms, which OpenVINO works out for many values at a time, and a power for one.

    Example:
        >>> import torch
        >>> power_of(torch.tensor([0.0, 4.0]), 0.5)
        tensor([0., 2.])
    """
    if exponent == 1:
        return values
    return (values.clamp(min=SMALLEST).log() * exponent).exp() * (values > 0)


def local_range(images: Tensor, size: int = 5) -> Tensor:
    """Brightest minus darkest value around each pixel: the strength of the edges there.

    Args:
        images: Images of shape `(B, C, H, W)`.
        size: Odd side of the neighbourhood in pixels.

    Returns:
        Range of the mean over channels, shape `(B, 1, H, W)`, non-negative.
    """
    grey = images.mean(dim=1, keepdim=True)
    brightest = F.max_pool2d(grey, size, stride=1, padding=size // 2)
    darkest = -F.max_pool2d(-grey, size, stride=1, padding=size // 2)
    return brightest - darkest
