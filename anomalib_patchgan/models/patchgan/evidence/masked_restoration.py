"""Could it be restored without being seen? The residual of R where it had nothing to copy."""

from torch import Tensor

from anomalib_patchgan.models.patchgan.evidence.evidence import View
from anomalib_patchgan.models.patchgan.evidence.restoration import Restoration


class MaskedRestoration(Restoration):
    """Distance of an image to what R puts where it sees nothing (see `restore_unseen`).

    R learns to keep what it does not recognise as corrupted, and the longer it trains, the more of a lesion it copies.
    Here it cannot. What it puts instead is less exact, so that this stands beside `Restoration` and not in its place.
    It has the same arguments.

    Example:
        >>> import torch
        >>> images, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 16, 16)
        >>> MaskedRestoration()(View(images, images, mask, unseen=0.9 * images)).shape
        torch.Size([2, 1, 16, 16])
    """

    needs_masking = True

    def raw(self, view: View) -> Tensor:
        """See `Evidence.raw`."""
        assert view.unseen is not None  # the model masks when an evidence needs it
        residual: Tensor = self.residual(view.images, view.unseen, view.factor)
        return residual
