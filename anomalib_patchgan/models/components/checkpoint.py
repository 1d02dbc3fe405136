"""Parts that all models of the plugin share."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from anomalib.metrics import AUPR, AUROC, Evaluator, F1Score
from anomalib.post_processing import PostProcessor
from lightning.pytorch import LightningModule
from torch import Tensor

from anomalib_patchgan.errors import DataError

logger = logging.getLogger(__name__)


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


def make_evaluator() -> Evaluator:
    """Image and pixel metrics of the test, and `val_image_AUROC` for checkpoints and early stopping.

    anomalib's default has no validation metric and no area under the precision-recall curve, which tells models apart
    where lesions are few pixels.

    Returns:
        A new evaluator.

    Example:
        >>> [metric.name for metric in make_evaluator().val_metrics]
        ['val_image_AUROC']
    """
    return Evaluator(
        val_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="val_image_", strict=False)],
        test_metrics=[
            AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
            F1Score(fields=["pred_label", "gt_label"], prefix="image_"),
            AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
            AUPR(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
            F1Score(fields=["pred_mask", "gt_mask"], prefix="pixel_", strict=False),
        ],
    )


def check_checkpoint(module: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Check the weights of a checkpoint before they are loaded.

    Settings that fit the weights but differ from those of the training (another patch size, say) are allowed, since
    they can be meant, and logged as a warning, since they change scores.

    Args:
        module: The model that is to take the weights.
        checkpoint: Loaded Lightning checkpoint.

    Raises:
        DataError: If the checkpoint is of another model, of one with other layers, or holds NaN or infinite weights.
    """
    name = type(module).__name__
    found = {key: value for key, value in checkpoint.get("state_dict", {}).items() if key.startswith("model.")}
    expected = {key: value for key, value in module.state_dict().items() if key.startswith("model.")}
    # A trivial rule has no weights, and nor has its checkpoint.
    if expected and not found.keys() & expected.keys():
        msg = f"the checkpoint holds none of the weights of {name}, it is another model's; give one of {name}"
        raise DataError(msg)

    trained = checkpoint.get("hyper_parameters", {})
    settings = ", ".join(
        f"{key}={trained[key]!r} (now {module.hparams[key]!r})"
        for key in sorted(trained.keys() & module.hparams.keys())
        if _plain(trained[key]) != _plain(module.hparams[key])
    )
    misfits = sorted(found.keys() ^ expected.keys())
    misfits = misfits or [key for key, value in expected.items() if value.shape != found[key].shape]
    if misfits:
        msg = (
            f"the checkpoint does not fit this {name} (first difference: {misfits[0]}); build the model as it was "
            "trained (--config with the config.yaml of its training, for compare its folder): "
            f"{settings or 'its settings are not recorded'}"
        )
        raise DataError(msg)
    broken = [key for key, value in found.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        msg = f"the checkpoint holds NaN or infinite weights (first in {broken[0]}); use an earlier one"
        raise DataError(msg)
    if settings:
        logger.warning("%s was trained with other settings than it has now: %s", name, settings)


def check_multiple(name: str, size: tuple[int, int], multiple: int) -> None:
    """Check that both sides of images are multiples of a number.

    Args:
        name: Name of the model.
        size: Height and width in pixels.
        multiple: What both sides must be multiples of.

    Raises:
        DataError: If they are not; the message names the nearest size that is.

    Example:
        >>> check_multiple("Autoencoder", (64, 96), 16)
    """
    if any(side < multiple or side % multiple for side in size):
        nearest = [max(round(side / multiple), 1) * multiple for side in size]
        msg = (
            f"{name} got images of {size[0]}x{size[1]} pixels, but both sides must be multiples of {multiple}; set "
            f"image_size of the model, e.g. --model.init_args.image_size '{nearest}'"
        )
        raise DataError(msg)


def _plain(value: object) -> object:
    """Make tuples and lists comparable: a config file gives the one where a checkpoint has the other."""
    return list(value) if isinstance(value, tuple) else value
