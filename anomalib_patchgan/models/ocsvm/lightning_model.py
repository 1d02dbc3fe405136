"""One-class support vector machine, as an anomalib model.

Paper:
    Schölkopf et al., Estimating the Support of a High-Dimensional Distribution. Neural Computation 13(7), 2001.
"""

import logging
from typing import Any, cast

import torch
from anomalib.data import Batch
from anomalib.models.components import AnomalibModule
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from anomalib_patchgan.arguments import require
from anomalib_patchgan.errors import TrainingDivergedError
from anomalib_patchgan.models.components.base import PluginModule
from anomalib_patchgan.models.ocsvm.torch_model import OneClassSvmModel

logger = logging.getLogger(__name__)

# One point has no variance.
FEWEST = 2


class OneClassSvm(PluginModule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """One-class support vector machine on the principal components of an image's pixels.

    A baseline of Chen et al. (2025). The training epoch only collects images; scikit-learn fits at its end.

    Args:
        image_size: Height and width to which the default pre-processor resizes images; `None` leaves them as they
            are. Both must be multiples of `feature_size`.
        feature_size: Side in pixels to which images are averaged down.
        components: Principal components that are kept, fewer if there are fewer images; `None` takes the pixels.
        nu: Upper bound of the share of training images outside, in (0, 1].
        max_samples: Images to fit on; of more, a random choice is taken.
        seed: Seed of that choice.
        **kwargs: `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see `PluginModule`.

    Raises:
        ConfigurationError: If an argument is out of its range, or if it is validated before it was trained.
        DataError: If `image_size` is no multiple of `feature_size`.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, OneClassSvm
        >>> Engine().train(OneClassSvm(image_size=(128, 128)), datamodule=BrainPhantom())  # doctest: +SKIP
    """

    model: OneClassSvmModel

    def __init__(
        self,
        image_size: tuple[int, int] | None = (192, 192),
        feature_size: int = 32,
        components: int | None = 64,
        nu: float = 0.1,
        max_samples: int = 10_000,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(image_size, **kwargs)
        require(max_samples >= FEWEST, f"max_samples must be at least {FEWEST}, got {max_samples}")
        self.model = OneClassSvmModel(feature_size=feature_size, components=components, nu=nu)
        if self.resized:
            self.model.check_size(*self.resized)
        self.max_samples = max_samples
        self.seed = seed
        self._seen = 0

    def configure_optimizers(self) -> None:
        """Configure none."""

    def on_train_epoch_start(self) -> None:
        """Start a new collection."""
        self.model.fitted.fill_(False)  # noqa: FBT003 - a tensor's value
        self._generator = torch.Generator().manual_seed(self.seed)
        self._features: list[Tensor] = []
        self._keys: list[Tensor] = []
        self._seen = 0

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Collect a batch of normal images.

        Args:
            batch: Batch whose `image` has shape `(B, 3, H, W)`, values in [0, 1].
            batch_idx: Index of the batch.

        Returns:
            A loss of 0, without which Lightning does not count the step.

        Raises:
            TrainingDivergedError: If a value is NaN or infinite.
            DataError: If a side of the images is no multiple of `feature_size`.
        """
        features = self.model.features(cast("Tensor", batch.image)).detach().cpu()
        if not torch.isfinite(features).all():
            msg = f"training stopped: images of batch {batch_idx} hold NaN or infinite values; mend the data."
            raise TrainingDivergedError(msg)
        self._seen += len(features)
        self._features.append(features)
        self._keys.append(torch.rand(len(features), generator=self._generator))
        if sum(map(len, self._keys)) > 2 * self.max_samples:
            self._choose()
        return torch.zeros((), requires_grad=True, device=self.device)

    def _choose(self) -> None:
        """Keep the images with the smallest of the numbers that they drew: a random choice of all seen so far."""
        features, keys = torch.cat(self._features), torch.cat(self._keys)
        kept = torch.argsort(keys)[: self.max_samples]
        self._features, self._keys = [features[kept]], [keys[kept]]

    def on_validation_start(self) -> None:
        """Fit before validation: thresholds are found on the fitted machine's scores.

        Raises:
            ConfigurationError: If there are fewer than two training images.
        """
        if not self.model.fitted:
            self.fit()

    def on_train_epoch_end(self) -> None:
        """Fit if no validation did."""
        self.on_validation_start()

    def fit(self) -> None:
        """Fit on the collected images and calibrate.

        Raises:
            ConfigurationError: If there are fewer than two.
        """
        count = self._seen
        msg = f"OneClassSvm needs at least {FEWEST} training images and has {count}; train it before it is validated."
        require(count >= FEWEST, msg)
        self._choose()
        (features,) = self._features
        if count > len(features):
            logger.info("OneClassSvm is fitted on %d of %d training images (max_samples)", len(features), count)
        # Tensors made in inference mode could never be loaded into again.
        with torch.inference_mode(mode=False), torch.no_grad():
            self.model.fit(features)
        self._features, self._keys = [], []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the number of the checkpoint's support vectors, then check it like any other.

        Raises:
            DataError: If the weights do not fit this model or are not finite.
        """
        state = checkpoint.get("state_dict", {})
        for name in ("support_vectors", "dual_coefficients"):
            saved, own = state.get(f"model.{name}"), getattr(self.model, name)
            if isinstance(saved, Tensor) and saved.shape[1:] == own.shape[1:]:
                setattr(self.model, name, own.new_zeros(saved.shape))
        super().on_load_checkpoint(checkpoint)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One epoch on one device, validated after the fit; they override the user's."""
        return {"max_epochs": 1, "check_val_every_n_epoch": 1, "num_sanity_val_steps": 0, "devices": 1}
