"""Normalisation of scores and maps by their thresholds."""

import torch
from anomalib.post_processing import PostProcessor
from torch import Tensor


class RankPreservingPostProcessor(PostProcessor):
    """anomalib's post-processor with a normalisation that is strictly monotone.

    anomalib scales by the range of the validation scores and clamps to [0, 1], so all test images
    above the validation's largest score become equal and AUROC changes. Scores of this plugin lie
    in [0, 1] already: here 0, the threshold and 1 go to 0, 0.5 and 1, with straight lines between.

    Example:
        >>> post_processor = RankPreservingPostProcessor()
        >>> normalized = post_processor._normalize(torch.tensor([0.0, 0.2, 0.6, 1.0]), None, None, torch.tensor(0.2))
        >>> [round(float(value), 4) for value in normalized]
        [0.0, 0.5, 0.75, 1.0]
    """

    @staticmethod
    def _normalize(
        preds: Tensor | None, norm_min: Tensor | None, norm_max: Tensor | None, threshold: Tensor
    ) -> Tensor | None:
        """Normalise scores or maps in [0, 1]; without a threshold (NaN) they stay as they are."""
        del norm_min, norm_max
        if preds is None:
            return None
        # A threshold at the very end of the range would divide by zero.
        safe = threshold.clamp(1e-6, 1 - 1e-6)
        normalized = torch.where(preds < safe, 0.5 * preds / safe, 0.5 + 0.5 * (preds - safe) / (1 - safe))
        return torch.where(torch.isnan(threshold), preds, normalized)
