"""From an image and its restoration to the residual map that is ranked and shown."""

from anomalib.models.components import GaussianBlur2d
from anomalib.models.components.filters.blur import compute_kernel_size
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.foreground import fade_from_rim
from anomalib_patchgan.models.patchgan.loss import Distance, pixel_distance

# Of the order of the last bit of an 8-bit image: an image that is restored perfectly has context too.
SMALLEST_CONTEXT = 1e-3
SMALLEST = 1e-4


class ResidualMap(nn.Module):
    """Residual of an image, corrected for what makes healthy tissue hard to restore.

    Args:
        distance: Pixel distance, ``l1`` or ``l2``.
        edge_damping: The residual is divided by this constant plus the local range of brightness,
            both in [0, 1]: blurred edges are the main false alarm of a small reconstructor.
            ``None`` leaves the residual as it is.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the residual; 0 for none.
        image_context: Power of the mean residual of the image's foreground by which the residual
            is divided, so that an image that is unusual everywhere (another scanner, another skin
            tone) does not outrank a local lesion. 0 leaves the residual as it is.
        mirror_context: Share of the residual on the other side of the image's vertical midline that is subtracted.
            What a brain's both halves have in common is anatomy, not lesion.
        foreground_margin: Width of the rim of the foreground over which the residual fades in, as
            a fraction of the shorter side of the image.
        evidence: Weight of D's opinion p in the geometric mean ``residual ** (1 - evidence) * p ** evidence``.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> images, foreground = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
        >>> ResidualMap()(images, 0.9 * images, foreground).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        distance: Distance = "l1",
        edge_damping: float | None = None,
        smoothing: float = 1.0,
        image_context: float = 0.0,
        mirror_context: float = 0.0,
        foreground_margin: float = 0.0,
        evidence: float = 0.0,
    ) -> None:
        super().__init__()
        if distance not in {"l1", "l2"}:
            msg = f"residual must be l1 or l2, got {distance!r}"
            raise ConfigurationError(msg)
        if edge_damping is not None and edge_damping <= 0:
            msg = f"edge_damping must be positive, or null for none, got {edge_damping}"
            raise ConfigurationError(msg)
        for name, value, highest in (
            ("smoothing", smoothing, float("inf")),
            ("image_context", image_context, float("inf")),
            ("mirror_context", mirror_context, 1.0),
            ("foreground_margin", foreground_margin, 0.49),
            ("discriminator_evidence", evidence, 1.0),
        ):
            if not 0 <= value <= highest:
                msg = f"{name} must lie between 0 and {highest:g}, got {value}"
                raise ConfigurationError(msg)
        self.distance = distance
        self.edge_damping = edge_damping
        self.image_context = image_context
        self.mirror_context = mirror_context
        self.foreground_margin = foreground_margin
        self.evidence = evidence
        self.blur = make_blur(smoothing) if smoothing else nn.Identity()

    def forward(self, images: Tensor, restored: Tensor, foreground: Tensor, opinion: Tensor | None = None) -> Tensor:
        """Compute residual maps.

        Args:
            images: Images of shape ``(B, C, H, W)``, values in [0, 1].
            restored: Their restorations, of the same shape.
            foreground: Mask of shape ``(B, 1, H, W)`` holding 0.0 and 1.0.
            opinion: D's probability that a pixel is foreign, shape ``(B, 1, H, W)``; counts if `evidence` is above 0.

        Returns:
            Non-negative maps of shape ``(B, 1, H, W)``, 0 outside the foreground.
        """
        residual = pixel_distance(images, restored, self.distance)
        if self.edge_damping is not None:
            residual = residual / (self.edge_damping + self.blur(local_range(images)))
        residual = self.blur(residual)
        if opinion is not None and self.evidence:
            opinion = self.blur(opinion * foreground)
            # Away from 0: where one of the two sees nothing at all, the other still orders pixels.
            residual = (residual + SMALLEST) ** (1.0 - self.evidence) * (opinion + SMALLEST) ** self.evidence
        residual = residual * foreground
        area = foreground.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
        context = residual.sum((1, 2, 3), keepdim=True) / area
        if self.mirror_context:
            # Smoothed once more: no head is exactly symmetric about the middle of its image.
            residual = (residual - self.mirror_context * self.blur(residual).flip(-1)).clamp(min=0.0)
        if self.image_context:
            residual = residual / context.clamp(min=SMALLEST_CONTEXT) ** self.image_context
        margin = round(self.foreground_margin * min(images.shape[-2:]))
        return residual * fade_from_rim(foreground, margin)


def make_blur(sigma: float) -> nn.Sequential:
    """Make a Gaussian filter of standard deviation `sigma` in pixels for maps of shape ``(B, 1, H, W)``.

    Along columns, then along rows: a Gaussian is separable, and one filter of two dimensions multiplies as many times
    as a kernel has pixels.

    Example:
        >>> import torch
        >>> make_blur(2.0)(torch.ones(1, 1, 8, 8)).sum().round()
        tensor(64.)
    """
    side = compute_kernel_size(sigma)
    # Replicated borders: reflection fails on images smaller than the kernel.
    filters = [GaussianBlur2d(sigma, kernel_size=sides, border_type="replicate") for sides in ((side, 1), (1, side))]
    for blur in filters:
        # A setting, not a weight: a checkpoint must not bring back the kernel of another smoothing.
        blur.register_buffer("kernel", blur.kernel, persistent=False)
    return nn.Sequential(*filters)


def local_range(images: Tensor, size: int = 5) -> Tensor:
    """Brightest minus darkest value around each pixel: the strength of the edges there.

    Args:
        images: Images of shape ``(B, C, H, W)``.
        size: Odd side of the neighbourhood in pixels.

    Returns:
        Range of the mean over channels, shape ``(B, 1, H, W)``, non-negative.
    """
    grey = images.mean(dim=1, keepdim=True)
    brightest = F.max_pool2d(grey, size, stride=1, padding=size // 2)
    darkest = -F.max_pool2d(-grey, size, stride=1, padding=size // 2)
    return brightest - darkest
