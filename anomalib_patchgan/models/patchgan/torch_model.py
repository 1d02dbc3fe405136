"""PyTorch model of PatchGAN: hide, restore, compare, rank."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.foreground import foreground_mask
from anomalib_patchgan.models.components.intensity import brightness_level
from anomalib_patchgan.models.components.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.components.ranking import PatchRanking
from anomalib_patchgan.models.patchgan.context import level_of
from anomalib_patchgan.models.patchgan.corruption import Corruption
from anomalib_patchgan.models.patchgan.corruption.coarse_noise import grey_images
from anomalib_patchgan.models.patchgan.evidence import Evidence, View
from anomalib_patchgan.models.patchgan.folded_unet import ConditionalDiscriminator, FoldedReconstructor
from anomalib_patchgan.models.patchgan.masking import restore_unseen

# Pixels along the shorter side that R sees at least, where images have them.
WORKING_SIZE = 192
# Pixels along the shorter side that the first level of a folded network keeps, and the largest fold.
FOLDED_SIZE, LARGEST_FOLD = 48, 4

NetworkKind = Literal["folded", "plain"]
DiscriminatorKind = Literal["conditional", "patch"]


class Exposed(NamedTuple):
    """Images at the same exposure.

    Attributes:
        images: Shape ``(B, C, H, W)``, values in [0, 1].
        level: Brightness of each before, shape ``(B, 1, 1, 1)``.
    """

    images: Tensor
    level: Tensor


class Hidden(NamedTuple):
    """A training batch: what R restores, what it should become, and where the two differ.

    Attributes:
        images: Partly hidden images, shape ``(B, C, H, W)``.
        originals: The images without what hides them, at the same exposure.
        level: Brightness of the hidden images before exposure, shape ``(B, 1, 1, 1)``.
        foreground: Mask at the size of maps, shape ``(B, 1, h, w)``.
    """

    images: Tensor
    originals: Tensor
    level: Tensor
    foreground: Tensor


def fold_of(image_size: tuple[int, int] | None) -> int:
    """Side of the pixel blocks that suits images of this size: 4 for slices, 1 for the paper's tiles.

    Example:
        >>> [fold_of(size) for size in ((32, 32), (96, 128), (192, 192), None)]
        [1, 2, 4, 4]
    """
    fold = LARGEST_FOLD
    while image_size is not None and fold > 1 and min(image_size) < fold * FOLDED_SIZE:
        fold //= 2
    return fold


class PatchGanModel(CalibratedModel):
    """Reconstructor, discriminator and the way from their outputs to a score and a map.

    At inference nothing is hidden: R restores the image as it is, and each evidence says where something speaks for a
    lesion, and corrects it by its `Context`. The weighted sum is ranked (`PatchRanking`). `PatchGan` explains the
    arguments and has their defaults; see `CalibratedModel` for how sums become scores and maps in [0, 1).

    Args:
        network: ``folded`` for `FoldedReconstructor`, ``plain`` for `Reconstructor`, the paper's.
        width: Channels of R's first level; doubled at each further level.
        depth: Levels of R.
        fold: Side of the pixel blocks that folded networks begin with; maps have two pixels along each block.
        kernel_size: Side of a plain R's kernels.
        decoder_widths: Channels of a plain R's decoder; ``None`` mirrors the encoder.
        skip_connections: Whether a plain R has them.
        discriminator: ``conditional`` for one that sees image and restoration, ``patch`` for the paper's.
        discriminator_widths: Channels of D's levels.
        downscale: Whole factor by which images are averaged down before R; the map is enlarged to the input's size.
            ``None`` takes the largest that leaves at least 192 pixels along the shorter side.
        exposure: Brightness that every image is scaled to before R; ``None`` leaves images as they are.
        corruption: What hides the image in training.
        spared: Share of training images that nothing is hidden in.
        evidences: What speaks for a lesion.
        image_context: Power of their sum's mean over the foreground by which it is divided.
        patch_size: Sides of the patches of the ranking, in pixels of the map before it is enlarged.
        rank_weights: Weights of the ranked patches; ``None`` for the unranked mean.
        foreground_threshold: Brightness after exposure above which a pixel is tissue. ``None`` takes the whole image.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> from anomalib_patchgan import PatchGan
        >>> model = PatchGan(image_size=(64, 64), width=8).model.eval()
        >>> prediction = model(torch.rand(2, 3, 64, 64))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        *,
        network: NetworkKind,
        width: int,
        depth: int,
        fold: int,
        kernel_size: int,
        decoder_widths: Sequence[int] | None,
        skip_connections: bool,
        discriminator: DiscriminatorKind,
        discriminator_widths: Sequence[int],
        downscale: int | None,
        exposure: float | None,
        corruption: Corruption,
        spared: float,
        evidences: Sequence[Evidence],
        image_context: float,
        patch_size: int | Sequence[int],
        rank_weights: Sequence[float] | None,
        foreground_threshold: float | None,
    ) -> None:
        super().__init__()
        if network not in {"folded", "plain"}:
            msg = f"network must be folded or plain, got {network!r}"
            raise ConfigurationError(msg)
        if discriminator not in {"conditional", "patch"}:
            msg = f"discriminator must be conditional or patch, got {discriminator!r}"
            raise ConfigurationError(msg)
        if downscale is not None and downscale < 1:
            msg = f"downscale must be at least 1, or null to follow from the image's size, got {downscale}"
            raise ConfigurationError(msg)
        if exposure is not None and not (isinstance(exposure, int | float) and 0 < exposure <= 1):
            msg = f"exposure must be positive and at most 1, or null to leave images as they are, got {exposure!r}"
            raise ConfigurationError(msg)
        if not 0 <= spared <= 1:
            msg = f"spared must lie between 0 and 1, got {spared}"
            raise ConfigurationError(msg)
        if not evidences:
            msg = "evidences must hold at least one, e.g. Restoration"
            raise ConfigurationError(msg)
        self.downscale = downscale
        self.exposure = exposure
        if not 0 <= image_context < float("inf"):
            msg = f"image_context must be 0 or more, got {image_context}"
            raise ConfigurationError(msg)
        self.image_context = image_context
        self.spared = spared
        self.foreground_threshold = foreground_threshold
        if network == "plain":
            fold = 1
        # Image pixels along a map pixel: spots are made, and maps are smoothed, at this size.
        self.map_factor = max(fold // 2, 1)

        self.corruption = corruption
        self.reconstructor: FoldedReconstructor | Reconstructor = (
            FoldedReconstructor(width, depth, fold=fold)
            if network == "folded"
            else Reconstructor(
                width=width,
                depth=depth,
                kernel_size=kernel_size,
                decoder_widths=decoder_widths,
                skip_connections=skip_connections,
            )
        )
        self.discriminator: ConditionalDiscriminator | PatchDiscriminator = (
            ConditionalDiscriminator(discriminator_widths, fold=fold, unfold=fold // self.map_factor)
            if discriminator == "conditional"
            else PatchDiscriminator(widths=discriminator_widths)
        )
        self.evidences = nn.ModuleList(evidences)
        self.ranking = PatchRanking(patch_size, rank_weights)

    @property
    def asks_discriminator(self) -> bool:
        """Whether D's opinion is part of the score."""
        return any(evidence.needs_discriminator for evidence in self.evidences)

    @property
    def masks(self) -> bool:
        """Whether R's restoration of what it does not see is part of the score."""
        return any(evidence.needs_masking for evidence in self.evidences)

    def downscale_of(self, height: int, width: int) -> int:
        """Whole factor by which images of this size are averaged down.

        Example:
            >>> from anomalib_patchgan import PatchGan
            >>> [PatchGan().model.downscale_of(side, side) for side in (32, 192, 256, 384, 512)]
            [1, 1, 1, 2, 2]
        """
        return self.downscale or max(min(height, width) // WORKING_SIZE, 1)

    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size suit the networks and the patches.

        Raises:
            DataError: If they do not; the message names the nearest size that does.
            ConfigurationError: If no patch of such an image has a weight.
        """
        stride = self.reconstructor.stride
        if isinstance(self.discriminator, ConditionalDiscriminator):
            stride = max(stride, self.discriminator.stride)
        factor = self.downscale_of(height, width)
        multiple = stride * factor
        patch = min(self.ranking.patch_sizes) * self.map_factor
        # One patch, rounded up to a size that the networks take.
        smallest = -(-patch // stride) * multiple
        if height % multiple or width % multiple or min(height, width) < smallest:
            nearest = [max(round(side / multiple) * multiple, smallest) for side in (height, width)]
            msg = (
                f"PatchGan got images of {height}x{width} pixels, but both sides must be multiples of {multiple} and "
                f"at least {smallest} (one patch); set image_size of the model, e.g. --model.init_args.image_size "
                f"'{nearest}'"
            )
            raise DataError(msg)
        patch = max(self.ranking.patch_sizes) * self.map_factor
        rows, columns = (-(-side // factor // patch) for side in (height, width))
        self.ranking.weights_for(rows * columns)

    def prepare(self, images: Tensor) -> Tensor:
        """Check images of shape ``(B, 3, H, W)`` and average them down to what R sees.

        Raises:
            DataError: If the size does not suit the networks.
        """
        height, width = images.shape[-2:]
        self.check_size(height, width)
        factor = self.downscale_of(height, width)
        if factor > 1:
            images = F.avg_pool2d(images, factor)
        return images.contiguous(memory_format=torch.channels_last)

    def expose(self, images: Tensor) -> Exposed:
        """Scale prepared images of shape ``(B, 3, H, W)`` to the same brightness."""
        if self.exposure is None:
            return Exposed(images, torch.ones_like(images[:, :1, :1, :1]))
        level = brightness_level(images)
        exposed = (images * (self.exposure / level)).clamp(0.0, 1.0)
        return Exposed(exposed.contiguous(memory_format=torch.channels_last), level)

    def foreground(self, images: Tensor) -> Tensor:
        """Foreground of images of shape ``(B, 3, H, W)``: mask of shape ``(B, 1, H, W)``."""
        if self.foreground_threshold is None:
            # Everything, but an empty image has nothing in it to be anomalous.
            anything = (images.amax((1, 2, 3), keepdim=True) > 0).float()
            return anything * torch.ones_like(images[:, :1])
        return foreground_mask(images, self.foreground_threshold)

    def shrink(self, values: Tensor) -> Tensor:
        """Average values of shape ``(B, C, H, W)`` down to the size of maps."""
        return F.avg_pool2d(values, self.map_factor) if self.map_factor > 1 else values

    def hide(self, images: Tensor, generator: Generator | None = None) -> Hidden:
        """Hide parts of prepared training images of shape ``(B, 3, H, W)``."""
        originals, level = self.expose(images)
        tissue = self.foreground(originals)
        foreground = self.shrink(tissue).round()
        small = self.shrink(originals)
        if bool(grey_images(small).all()):
            small = small[:, :1]  # three equal channels would cost three times as much
        change = self.corruption(small, foreground, generator) - small
        if self.map_factor > 1:
            # What hides an image is smooth: made small and enlarged it costs a quarter.
            change = F.interpolate(change, scale_factor=float(self.map_factor), mode="bilinear", align_corners=False)
        hidden = (originals + change * tissue).clamp(0.0, 1.0)
        if self.spared:
            shape = (len(images), 1, 1, 1)
            spared = torch.rand(shape, generator=generator, device=images.device) < self.spared
            hidden = torch.where(spared, originals, hidden)
        if self.exposure is None:
            return Hidden(hidden, originals, level, foreground)
        # What hides an image changes its brightness, as a lesion would: exposed again, its original with it.
        hidden, changed = self.expose(hidden)
        gain = self.exposure / changed
        return Hidden(hidden, (originals * gain).clamp(0.0, 1.0), level / gain, foreground)

    def judge(self, images: Tensor, restored: Tensor, level: Tensor) -> Tensor:
        """Ask D about images and their restorations, each of shape ``(B, 3, H, W)``.

        Returns:
            Logits of shape ``(B, 1, h, w)``, positive for "original".
        """
        if isinstance(self.discriminator, ConditionalDiscriminator):
            return self.discriminator(images, restored, level)
        return self.discriminator(images)

    def view(self, images: Tensor) -> View:
        """Show images of shape ``(B, 3, H, W)``, values in [0, 1], to the evidences.

        Raises:
            DataError: If the size does not suit the networks.
        """
        exposed, level = self.expose(self.prepare(images))
        tissue = self.foreground(exposed)
        foreground = self.shrink(tissue).round()
        restored = self.reconstructor(exposed)
        unseen = restore_unseen(self.reconstructor, exposed, tissue) if self.masks else None
        logits = None
        if self.asks_discriminator:
            logits = self.judge(exposed, restored, level)
            if logits.shape[-2:] != foreground.shape[-2:]:
                logits = F.interpolate(logits, foreground.shape[-2:], mode="bilinear", align_corners=False)
        return View(exposed, restored, foreground, logits, unseen)

    def combine(self, view: View) -> Tensor:
        """Sum of the evidences relative to its level: non-negative maps of shape ``(B, 1, h, w)``."""
        maps = torch.stack([evidence(view) for evidence in self.evidences]).sum(dim=0)
        return maps / level_of(maps, view.foreground) ** self.image_context if self.image_context else maps

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores and maps.

        Args:
            images: Images of shape ``(B, 3, H, W)``, values in [0, 1].

        Returns:
            Ranked score of shape ``(B,)`` and map of shape ``(B, 1, H, W)``, both non-negative.
        """
        return self._rank(self.view(images), images.shape[-2:])

    def _rank(self, view: View, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Scores of a view's images, and their maps at a size."""
        maps = self.combine(view)
        scores = self.ranking(maps)
        if maps.shape[-2:] != size:
            maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        return scores, maps

    def learned(self) -> list[Tensor]:
        """Buffers that `calibrate` fills: those of the evidences, too."""
        return [*super().learned(), *self.evidences.buffers()]

    @torch.no_grad()
    def calibrate(self, images: Tensor, quantile: float = 0.99, batch_size: int = 16) -> None:
        """Learn the evidences, then the scales of score and map; see `CalibratedModel.calibrate`."""
        views = [self.view(batch) for batch in images.split(batch_size)]
        for evidence in self.evidences:
            cast("Evidence", evidence).calibrate(views)
        # What R and D make of an image does not depend on what the evidences learned of it.
        self._fit_scales([self._rank(view, images.shape[-2:]) for view in views], quantile)
