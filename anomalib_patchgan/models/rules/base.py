"""What the trivial rules share: no training, and which side of a number is the anomalous one."""

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, cast

import torch
from anomalib.data import Batch, ImageBatch, InferenceBatch
from anomalib.pre_processing import PreProcessor
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from anomalib_patchgan.arguments import require
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.base import PluginModule

logger = logging.getLogger(__name__)


class Rule(PluginModule):
    """A model that needs no training: one batch, one epoch, no optimizer."""

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Learn nothing; Lightning wants a loss to count the step."""
        del batch, batch_idx
        return torch.zeros((), requires_grad=True, device=self.device)

    def configure_optimizers(self) -> None:
        """Configure none."""

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One batch of one epoch on one device, and its validation, for thresholds; they override the user's."""
        return {
            "max_epochs": 1,
            "limit_train_batches": 1,
            "check_val_every_n_epoch": 1,
            "num_sanity_val_steps": 0,
            "devices": 1,
        }


class SignedModel(nn.Module, ABC):
    """A number per image and per pixel in [0, 1], of which high or low values are anomalous.

    Args:
        inverted: Whether low values are anomalous; a buffer, so that a checkpoint keeps what was learned.
    """

    inverted: Tensor

    def __init__(self, *, inverted: bool = False) -> None:
        super().__init__()
        self.register_buffer("inverted", torch.tensor(inverted))

    @abstractmethod
    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Measure images of shape `(B, 3, H, W)`: `(B,)` and `(B, 1, H, W)`, values in [0, 1]."""

    def forward(self, images: Tensor) -> InferenceBatch:
        """Predict scores `(B,)` and maps `(B, 1, H, W)` in [0, 1] for images `(B, 3, H, W)` in [0, 1]."""
        score, pixels = (torch.where(self.inverted, 1 - values, values) for values in self.measure(images))
        return InferenceBatch(pred_score=score.detach(), anomaly_map=pixels.detach())


class SignedRule(Rule):
    """A rule that can learn from the validation images which side is the anomalous one."""

    model: SignedModel

    def configure_sign(self, sign: str, high: str, low: str) -> bool:
        """Keep the choice.

        Args:
            sign: One of `high`, `low` and `learned`.
            high: Word for high values.
            low: Word for low values.

        Returns:
            Whether low values are anomalous.

        Raises:
            ConfigurationError: If it is none of them.
        """
        require(sign in {high, low, "learned"}, f"sign must be {high}, {low} or learned, got {sign!r}")
        self._words = (high, low)
        self._learns_sign = sign == "learned"
        return sign == low

    def on_validation_start(self) -> None:
        """Learn the sign before the validation of a fit, whose scores set the thresholds."""
        if not self._learns_sign or self.trainer.state.fn != TrainerFn.FITTING:
            return
        self.model.inverted.fill_(False)  # noqa: FBT003 - a tensor's value
        scores, labels = self._validation_scores()
        name, (high, low) = type(self).__name__, self._words
        if labels.unique().numel() < 2:  # noqa: PLR2004 - normal and anomalous
            logger.warning("%s: validation holds one class only, so the sign is not learned but %s", name, high)
            return
        auroc = roc_auc_score(labels.numpy(), scores.numpy())
        self.model.inverted.fill_(auroc < 0.5)  # noqa: PLR2004 - chance
        logger.info("%s: %s is anomalous (AUROC of high values %.3f)", name, low if auroc < 0.5 else high, auroc)  # noqa: PLR2004

    def score(self, batch: Batch) -> Tensor:
        """Score the images of a pre-processed batch, `(B,)`."""
        image = cast("Tensor", batch.image)
        score: Tensor = self.model(image.to(self.device)).pred_score
        return score

    def _validation_scores(self) -> tuple[Tensor, Tensor]:
        """Score the validation images once, pre-processed by the hook that anomalib uses."""
        loaders = self.trainer.val_dataloaders
        loaders = loaders if isinstance(loaders, list) else [loaders]
        scores, labels = [], []
        for loader, limit in zip(loaders, self.trainer.num_val_batches, strict=True):
            for index, batch in enumerate(itertools.islice(loader, int(limit))):
                if isinstance(self.pre_processor, PreProcessor):
                    self.pre_processor.on_validation_batch_start(self.trainer, self, batch, index)
                scores.append(self.score(batch).cpu())
                labels.append(batch.gt_label.cpu().bool())
        return torch.cat(scores), torch.cat(labels)


class FileRule(Rule, ABC):
    """A rule about the files of images, or what is known of them, and not about pixels: it cannot be exported."""

    no_image: ClassVar[str]
    """What to say where there are only pixels."""

    @abstractmethod
    def score_files(self, paths: Sequence[str]) -> Tensor:
        """Score image files, `(B,)`, in [0, 1]."""

    def score(self, batch: Batch) -> Tensor:
        """Score the files of a batch, `(B,)`.

        Raises:
            ConfigurationError: The images of the batch are from no files.
        """
        paths = cast("ImageBatch", batch).image_path
        if paths is None:
            raise ConfigurationError(self.no_image)
        return self.score_files(paths).to(self.device)

    def test_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:  # noqa: ANN401
        """Score a batch by its files.

        Args:
            batch: Batch with `image` of shape `(B, 3, H, W)` and `image_path`.
            *args: Unused.
            **kwargs: Unused.

        Returns:
            The batch with scores `(B,)` in [0, 1] and constant maps `(B, 1, H, W)`.
        """
        del args, kwargs
        batch = cast("ImageBatch", batch)
        image = cast("Tensor", batch.image)
        scores = self.score(batch).to(image)
        maps = scores.reshape(-1, 1, 1, 1).expand(-1, 1, *image.shape[-2:]).contiguous()
        return batch.update(pred_score=scores, anomaly_map=maps)

    predict_step = test_step

    def to_torch(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401
        """Refuse to export.

        Raises:
            ConfigurationError: Always.
        """
        del args, kwargs
        raise ConfigurationError(self.no_image)

    to_onnx = to_torch
    to_openvino = to_torch
