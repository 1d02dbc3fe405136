"""PyTorch model of PatchGAN: corrupt, restore, compare, rank."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.foreground import foreground_mask
from anomalib_patchgan.models.components.intensity import normalize_intensity
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


class CorruptedBatch(NamedTuple):
    """A training batch: what R restores, what it should become, and where the two differ.

    Attributes:
        images: Partly corrupted images, shape `(B, C, H, W)`.
        originals: The images without the corruption, of the same brightness.
        level: Brightness of the corrupted images before it was normalised, shape `(B, 1, 1, 1)`.
        foreground: Mask at the size of maps, shape `(B, 1, h, w)`.
    """

    images: Tensor
    originals: Tensor
    level: Tensor
    foreground: Tensor


class PatchGanModel(CalibratedModel):
    """Reconstructor, discriminator and the way from their outputs to a score and a map.

    At inference nothing is corrupted: R restores the image as it is, and each evidence says where something speaks for
    a lesion, and corrects it by its `Context`. The weighted sum is ranked (`PatchRanking`). `PatchGan` explains the
    settings and has their defaults; see `CalibratedModel` for how sums become scores and maps in [0, 1).

    Args:
        reconstructor: R.
        discriminator: D; the conditional one sees image and restoration, the paper's one image.
        corruption: What is restored in training.
        clean_fraction: Share of training images that stay clean.
        downscale: Whole factor by which images are averaged down before R; the map is enlarged to the input's size.
            `None` takes the largest that leaves at least 192 pixels along the shorter side.
        intensity_normalization: Brightness that every image is scaled to before R; `None` leaves images as they are.
        foreground_threshold: Normalised brightness above which a pixel is tissue. `None` takes the whole image.
        evidences: What speaks for a lesion.
        image_context: Power of their sum's mean over the foreground by which it is divided.
        ranking: From the sum to a score, by patches in pixels of the map before it is enlarged.

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
        reconstructor: FoldedReconstructor | Reconstructor,
        discriminator: ConditionalDiscriminator | PatchDiscriminator,
        corruption: Corruption,
        clean_fraction: float,
        downscale: int | None,
        intensity_normalization: float | None,
        foreground_threshold: float | None,
        evidences: Sequence[Evidence],
        image_context: float,
        ranking: PatchRanking,
    ) -> None:
        super().__init__()
        msg = f"downscale must be at least 1, or null to follow from the image's size, got {downscale}"
        require(downscale is None or downscale >= 1, msg)
        msg = (
            f"intensity_normalization must be positive and at most 1, or null to leave images as they are, got "
            f"{intensity_normalization!r}"
        )
        brightness = 1 if intensity_normalization is None else intensity_normalization
        require(isinstance(brightness, int | float) and 0 < brightness <= 1, msg)
        require(0 <= clean_fraction <= 1, f"clean_fraction must lie between 0 and 1, got {clean_fraction}")
        require(evidences, "evidences must hold at least one, e.g. Restoration")
        require(0 <= image_context < float("inf"), f"image_context must be 0 or more, got {image_context}")
        self.reconstructor = reconstructor
        self.discriminator = discriminator
        self.corruption = corruption
        self.clean_fraction = clean_fraction
        self.downscale = downscale
        self.intensity_normalization = intensity_normalization
        self.foreground_threshold = foreground_threshold
        self.evidences = nn.ModuleList(evidences)
        self.image_context = image_context
        self.ranking = ranking
        # Image pixels along a map pixel.
        self.map_factor = reconstructor.map_factor

    @property
    def asks_discriminator(self) -> bool:
        """Whether D's output is part of the score."""
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
        """Check images of shape `(B, 3, H, W)` and average them down to what R sees.

        Raises:
            DataError: If the size does not suit the networks.
        """
        height, width = images.shape[-2:]
        self.check_size(height, width)
        factor = self.downscale_of(height, width)
        if factor > 1:
            images = F.avg_pool2d(images, factor)
        return images.contiguous(memory_format=torch.channels_last)

    def shrink(self, values: Tensor) -> Tensor:
        """Average values of shape `(B, C, H, W)` down to the size of maps."""
        return F.avg_pool2d(values, self.map_factor) if self.map_factor > 1 else values

    def corrupt(self, images: Tensor, generator: Generator | None = None) -> CorruptedBatch:
        """Corrupt prepared training images of shape `(B, 3, H, W)`."""
        originals, level = normalize_intensity(images, self.intensity_normalization)
        tissue = foreground_mask(originals, self.foreground_threshold)
        foreground = self.shrink(tissue).round()
        small = self.shrink(originals)
        if bool(grey_images(small).all()):
            small = small[:, :1]  # three equal channels would cost three times as much
        change = self.corruption(small, foreground, generator) - small
        if self.map_factor > 1:
            # Corruptions are smooth: made small and enlarged they cost a quarter.
            change = F.interpolate(change, scale_factor=float(self.map_factor), mode="bilinear", align_corners=False)
        corrupted = (originals + change * tissue).clamp(0.0, 1.0)
        if self.clean_fraction:
            shape = (len(images), 1, 1, 1)
            clean = torch.rand(shape, generator=generator, device=images.device) < self.clean_fraction
            corrupted = torch.where(clean, originals, corrupted)
        if self.intensity_normalization is None:
            return CorruptedBatch(corrupted, originals, level, foreground)
        # A corruption changes the brightness, as a lesion would: normalised again, the original with it.
        corrupted, changed = normalize_intensity(corrupted, self.intensity_normalization)
        gain = self.intensity_normalization / changed
        return CorruptedBatch(corrupted, (originals * gain).clamp(0.0, 1.0), level / gain, foreground)

    def discriminate(self, images: Tensor, restored: Tensor, level: Tensor) -> Tensor:
        """Ask D about images and their restorations, each of shape `(B, 3, H, W)`.

        Returns:
            Logits of shape `(B, 1, h, w)`, positive for "original".
        """
        if isinstance(self.discriminator, ConditionalDiscriminator):
            return self.discriminator(images, restored, level)
        return self.discriminator(images)

    def view(self, images: Tensor) -> View:
        """Show images of shape `(B, 3, H, W)`, values in [0, 1], to the evidences.

        Raises:
            DataError: If the size does not suit the networks.
        """
        images, level = normalize_intensity(self.prepare(images), self.intensity_normalization)
        tissue = foreground_mask(images, self.foreground_threshold)
        foreground = self.shrink(tissue).round()
        restored = self.reconstructor(images)
        unseen = restore_unseen(self.reconstructor, images, tissue) if self.masks else None
        logits = None
        if self.asks_discriminator:
            logits = self.discriminate(images, restored, level)
            if logits.shape[-2:] != foreground.shape[-2:]:
                logits = F.interpolate(logits, foreground.shape[-2:], mode="bilinear", align_corners=False)
        return View(images, restored, foreground, logits, unseen)

    def combine(self, view: View) -> Tensor:
        """Sum of the evidences relative to its level: non-negative maps of shape `(B, 1, h, w)`."""
        maps = torch.stack([evidence(view) for evidence in self.evidences]).sum(dim=0)
        return maps / level_of(maps, view.foreground) ** self.image_context if self.image_context else maps

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores and maps.

        Args:
            images: Images of shape `(B, 3, H, W)`, values in [0, 1].

        Returns:
            Ranked score of shape `(B,)` and map of shape `(B, 1, H, W)`, both non-negative.
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
