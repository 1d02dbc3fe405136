"""A model whose test scores are no numbers, as those of one whose training diverged."""

import torch

from anomalib_patchgan import MeanIntensity


class NanScores(MeanIntensity):
    """Validates well and tests badly."""

    def test_step(self, batch, batch_idx, *args, **kwargs):
        """Replace one score."""
        prediction = super().test_step(batch, batch_idx, *args, **kwargs)
        prediction.pred_score = torch.full_like(prediction.pred_score, float("nan"))
        return prediction
