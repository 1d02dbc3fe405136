"""Losses of PatchGAN (Eqs. 1 to 4 of Chen et al., 2025)."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.loss import Distance, pixel_distance
from anomalib_patchgan.models.components.ranking import patch_losses


class ReconstructorTerms(NamedTuple):
    """The terms of the reconstructor's loss, unweighted, and their weighted sum (Eq. 4 and the game of Eq. 3)."""

    total: Tensor
    reconstruction: Tensor
    patch: Tensor
    adversarial: Tensor


class ReconstructorLoss(nn.Module):
    r"""Loss of R: pixels, patches and the game against D.

    .. math:: \lambda L_R + w_p \, L_D + w_a \, L_{game}

    with :math:`L_R` the mean pixel distance of the image and its restoration (Eq. 1), :math:`L_D`
    the patch losses (Eq. 2) and :math:`L_{game}` the non-saturating form of R's side of Eq. 3: the
    cross-entropy of calling D's patches of the restored image real.

    All three are means, so that weights mean the same for a tile and a slice. A mean over equal
    patches is the mean over pixels: Eq. 2 then repeats Eq. 1, and Eq. 4 as printed weighs the
    residual `lambda + 1`. The term is kept apart because the paper does.

    Args:
        lambda_reconstruction: Lambda of Eq. 4.
        patch_weight: Weight of the patch term; 0 leaves it out.
        adversarial_weight: Weight of the game; 0 leaves it out.
        patch_size: Side of a patch in pixels.
        distance: Pixel distance, see `pixel_distance`.

    Raises:
        ConfigurationError: If a weight is negative or the distance unknown.
    """

    def __init__(
        self,
        lambda_reconstruction: float = 0.2,
        patch_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        patch_size: int = 16,
        distance: Distance = "l2",
    ) -> None:
        super().__init__()
        weights = {"lambda_reconstruction": lambda_reconstruction, "patch_weight": patch_weight}
        for name, weight in (weights | {"adversarial_weight": adversarial_weight}).items():
            require(weight >= 0, f"{name} must not be negative, got {weight}")
        require(distance in {"l1", "l2"}, f"distance must be l1 or l2, got {distance!r}")
        self.lambda_reconstruction = lambda_reconstruction
        self.patch_weight = patch_weight
        self.adversarial_weight = adversarial_weight
        self.patch_size = patch_size
        self.distance = distance

    def forward(self, images: Tensor, restored: Tensor, restored_logits: Tensor | None) -> ReconstructorTerms:
        """Compute the loss.

        Args:
            images: Originals of shape `(B, C, H, W)`.
            restored: R's restorations, of the same shape.
            restored_logits: D's patch logits of the restorations, shape `(B, 1, h, w)`; `None`
                when the game is not played.

        Returns:
            The terms; `total` carries the gradient.
        """
        residual = pixel_distance(images, restored, self.distance)
        reconstruction = residual.mean()
        patch = patch_losses(residual, self.patch_size).mean()
        adversarial = residual.new_zeros(())
        if restored_logits is not None:
            adversarial = F.softplus(-restored_logits).mean()
        total = (
            self.lambda_reconstruction * reconstruction
            + self.patch_weight * patch
            + self.adversarial_weight * adversarial
        )
        return ReconstructorTerms(total, reconstruction, patch, adversarial)


class ForeignLoss(nn.Module):
    """Loss of a D that sees image and restoration: pixels of the foreground are original or foreign.

    Args:
        threshold: A pixel is foreign where the corruption changed it by more than this, in units of the image range.

    Example:
        >>> import torch
        >>> change, foreground = torch.rand(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
        >>> logits = torch.zeros(2, 1, 8, 8)
        >>> round(float(ForeignLoss()(logits, change, foreground)), 4)  # an undecided D: log 2
        0.6931
    """

    def __init__(self, threshold: float = 0.03) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, logits: Tensor, change: Tensor, foreground: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: D's logits, positive for "original", shape `(B, 1, h, w)`.
            change: How much the corruption changed each place (`pixel_distance`, `l1`), of the same shape.
            foreground: Mask of the same shape.

        Returns:
            Mean cross-entropy over the foreground, a scalar.
        """
        original = (change <= self.threshold).float()
        entropy = F.binary_cross_entropy_with_logits(logits, original, reduction="none")
        return (entropy * foreground).sum() / foreground.sum().clamp(min=1.0)
