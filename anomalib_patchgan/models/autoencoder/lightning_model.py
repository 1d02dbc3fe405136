"""Autoencoder with a bottleneck, as an anomalib model."""

from collections.abc import Sequence
from typing import Any, cast

from anomalib.data import Batch
from anomalib.models.components import AnomalibModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.models.autoencoder.torch_model import AutoencoderModel
from anomalib_patchgan.models.components.networks import Reconstructor
from anomalib_patchgan.models.components.training import SchedulerName, TrainedModule


class Autoencoder(TrainedModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Autoencoder trained on lesion-free images with squared error: what it cannot restore is anomalous.

    A baseline of Chen et al. (2025). It has PatchGan's reconstructor without skip connections; the score is the mean
    squared residual of the whole image.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; `None` leaves them as they
            are. Both must be multiples of `2 ** depth`.
        width: Channels of the first level; doubled at each further level.
        depth: Levels of the network.
        kernel_size: Odd side of the kernels.
        decoder_widths: Channels of the decoder, deepest level first; `None` mirrors the encoder.
        smoothing: Standard deviation in pixels of the Gaussian that smooths the map; 0 for none.
        scheduler: `cosine` lets the learning rate fall towards 0 over `max_epochs`; `None` keeps it.
        **kwargs: `optimizer`, `lr`, `betas`, `weight_decay`, `clip_value`, `pre_processor`,
            `post_processor`, `evaluator` and `visualizer`, see `TrainedModule`.

    Raises:
        ConfigurationError: If an argument is out of its range.
        DataError: If `image_size` does not suit the network.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import Autoencoder, BrainPhantom
        >>> model = Autoencoder(image_size=(128, 128))
        >>> Engine(max_epochs=20).train(model, datamodule=BrainPhantom())  # doctest: +SKIP
    """

    model: AutoencoderModel
    used_after_training = frozenset({"smoothing"})

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        width: int = 16,
        depth: int = 4,
        kernel_size: int = 3,
        decoder_widths: Sequence[int] | None = None,
        smoothing: float = 1.5,
        scheduler: SchedulerName | None = "cosine",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(image_size, scheduler=scheduler, **kwargs)
        reconstructor = Reconstructor(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            decoder_widths=decoder_widths,
            skip_connections=False,
        )
        self.configure_training(AutoencoderModel(reconstructor, smoothing))

    def trained_networks(self) -> Sequence[nn.Module]:
        """The one network."""
        return (self.model.reconstructor,)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Train on one batch of normal images.

        Args:
            batch: Batch whose `image` has shape `(B, 3, H, W)`, values in [0, 1].
            batch_idx: Index of the batch.

        Returns:
            The loss.

        Raises:
            TrainingDivergedError: If the loss or a gradient is not finite; the step is not taken.
            DataError: If the size of the images does not suit the network.
        """
        del batch_idx
        images = self.model.prepare(cast("Tensor", batch.image))
        self.collect(images)
        loss = F.mse_loss(self.model.reconstructor(images), images)
        optimizer = cast("LightningOptimizer", self.optimizers())
        self.take_step(optimizer, self.model.reconstructor, "autoencoder", loss)
        return self.log_losses({"train_loss": loss}, len(images))
