"""What every model of the plugin has in anomalib's Engine, trained or not."""

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from anomalib import LearningType
from anomalib.data import Batch
from anomalib.metrics import AUPR, AUROC, Evaluator, F1Score
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn
from torchvision.transforms.v2 import Resize

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.checkpoint import check_checkpoint, with_known_settings
from anomalib_patchgan.models.components.post_processor import RankPreservingPostProcessor
from anomalib_patchgan.models.components.slice_scores import SliceScores, normalises
from anomalib_patchgan.patient import PatientThreshold
from anomalib_patchgan.renamed import say_new_name

# Entry of a checkpoint, and attribute of a data module that knows it.
RECIPE = "volume_recipe"
# The same.
TRAINING_IMAGES = "training_images"

# anomalib lists the direct subclasses of `AnomalibModule` only: a model derives from it itself, after the class here,
# which would hide the model if it derived from it too. To a type checker it does.
if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule as _Base
else:
    _Base = LightningModule


class PluginModule(_Base):
    """Pre-processing, thresholds, metrics, validation and checkpoints; stands left of `AnomalibModule`.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; `None` leaves them.
        pre_processor: Pre-processor, or whether to use the default.
        post_processor: Post-processor, or whether to use the default.
        evaluator: Evaluator, or whether to use the default.
        visualizer: Visualizer, or whether to use the default.
        **unknown: None, or a message about the first of them.

    Attributes:
        resized: Height and width of the images that the model gets, if its own settings say so.
        volume_recipe: How volumes became the images that it was trained on, as a record of
            `anomalib_patchgan.data.prepare.volume_recipe.VolumeRecipe`; `None` if that is not known.
        training_images: Fingerprint of the images that it was trained on, see
            `anomalib_patchgan.data.PreparedFolder.training_images`; `None` if that is not known.
        patient_threshold: Threshold of the score of a patient, found by the last validation; `None` if the validation
            images are not known to be slices of patients, and in checkpoints of older versions.

    Raises:
        ConfigurationError: If there is no such argument.
    """

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        **unknown: Any,  # noqa: ANN401
    ) -> None:
        if unknown:
            msg = f"{type(self).__name__} takes no argument {next(iter(unknown))!r}"
            raise ConfigurationError(say_new_name(msg))
        resized = image_size if pre_processor is True else None
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(image_size) if image_size else False
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.resized = resized
        self.volume_recipe: dict[str, Any] | None = None
        self.training_images: dict[str, Any] | None = None
        self.patient_threshold: PatientThreshold | None = None
        self._validated = SliceScores()
        self._tested = SliceScores()

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:  # noqa: ANN401
        """Predict a validation batch as a test batch.

        Args:
            batch: Batch whose `image` has shape `(B, 3, H, W)`, values in [0, 1].
            *args: Unused.
            **kwargs: Unused.

        Returns:
            The batch with score and map.
        """
        del args, kwargs
        return self.test_step(batch, 0)

    def on_validation_batch_end(self, outputs: Any, batch: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Keep the scores of a validation batch."""
        super().on_validation_batch_end(outputs, batch, *args, **kwargs)
        self._keep(self._validated, outputs, batch)

    def on_validation_epoch_end(self) -> None:
        """Find the threshold of patients; that of slices, which normalises their scores, is known by now."""
        super().on_validation_epoch_end()
        found = self._validated.find_threshold(getattr(self.trainer, "datamodule", None), self.post_processor)
        if not self.trainer.sanity_checking:
            self.patient_threshold = found

    def on_test_batch_end(self, outputs: Any, batch: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Keep the scores of a test batch, which the post-processor has normalised."""
        super().on_test_batch_end(outputs, batch, *args, **kwargs)
        self._keep(self._tested, outputs, batch)

    def on_test_epoch_end(self) -> None:
        """Log how patients are told apart, where some are healthy; see `SliceScores.patient_metrics`."""
        super().on_test_epoch_end()
        # Of scores that nothing has normalised, the threshold is none.
        threshold = self.patient_threshold if normalises(self.post_processor) else None
        found = self._tested.patient_metrics(getattr(self.trainer, "datamodule", None), threshold)
        # Every process has gathered the same scores; lightning warns if nothing is said of that.
        self.log_dict(found, sync_dist=True)

    @staticmethod
    def _keep(slices: SliceScores, outputs: Any, batch: Any) -> None:  # noqa: ANN401
        scores = getattr(outputs, "pred_score", None)
        if scores is not None and batch.image_path is not None:
            slices.add(batch.image_path, scores)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # the other arguments are passed on as they are
        cls,
        checkpoint_path: str | Path | IO[bytes],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> _Base:
        """Make the model of a checkpoint, whatever its settings were called when it was written.

        Args:
            checkpoint_path: The checkpoint.
            *args: See `AnomalibModule.load_from_checkpoint`.
            **kwargs: The same.

        Raises:
            DataError: See `on_load_checkpoint`.
        """
        source: Any = with_known_settings(cls, checkpoint_path)
        return super().load_from_checkpoint(source, *args, **kwargs)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse checkpoints of other models or with NaN in them, in one line.

        Raises:
            DataError: If the weights do not fit this model or are not finite, or the threshold of patients is none.
        """
        check_checkpoint(self, checkpoint)
        self.volume_recipe = checkpoint.get(RECIPE)
        self.training_images = checkpoint.get(TRAINING_IMAGES)
        self.patient_threshold = PatientThreshold.from_record(checkpoint)
        super().on_load_checkpoint(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the training's images, how they were made, and from which score on a patient is anomalous."""
        super().on_save_checkpoint(checkpoint)
        data = getattr(self._trainer, "datamodule", None)
        checkpoint[RECIPE] = getattr(data, RECIPE, None) or self.volume_recipe
        checkpoint[TRAINING_IMAGES] = getattr(data, TRAINING_IMAGES, None) or self.training_images
        if self.patient_threshold is not None:
            checkpoint.update(self.patient_threshold.as_record())

    @property
    def learning_type(self) -> LearningType:
        """The model learns from normal images only."""
        return LearningType.ONE_CLASS

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize only; values stay in [0, 1].

        Without antialiasing, because an exported model cannot antialias and would disagree with
        training. Prepare images at the model's size, or a little larger, to lose nothing.
        """
        return PreProcessor(transform=Resize(image_size or (192, 192), antialias=False))

    def configure_post_processor(self) -> PostProcessor:
        """Thresholds of anomalib, and a normalisation that keeps the order of scores."""
        return RankPreservingPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Image and pixel metrics of the test, and `val_image_AUROC` for checkpoints and early stopping.

        anomalib's default has no validation metric and no area under the precision-recall curve, which tells models
        apart where lesions are few pixels.
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
