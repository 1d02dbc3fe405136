"""Trivial rule: how bright the image is."""

from typing import Any, Literal

from anomalib.models.components import AnomalibModule
from torch import Tensor

from anomalib_patchgan.models.rules.base import SignedModel, SignedRule


class MeanIntensityModel(SignedModel):
    """Mean brightness of the image, and its brightness as map.

    Example:
        >>> import torch
        >>> float(MeanIntensityModel()(torch.full((1, 3, 8, 8), 0.25)).pred_score)
        0.25
    """

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over all pixels `(B,)` and over channels `(B, 1, H, W)` of images in [0, 1]."""
        return images.mean((1, 2, 3)), images.mean(1, keepdim=True)


class MeanIntensity(SignedRule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Trivial rule: the mean brightness of the image is its score, its brightness the map.

    Args:
        sign: `brighter` or `darker` is anomalous; `learned` takes the side with the AUROC of at least 0.5 on the
            validation images, or `brighter` when they are all normal.
        **kwargs: `image_size`, `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see
            `PluginModule`.

    Raises:
        ConfigurationError: If `sign` is none of the three.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, MeanIntensity
        >>> Engine().train(MeanIntensity(), datamodule=BrainPhantom())  # doctest: +SKIP
        >>> MeanIntensity("darker").model.inverted
        tensor(True)
    """

    def __init__(self, sign: Literal["brighter", "darker", "learned"] = "learned", **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.model = MeanIntensityModel(inverted=self.configure_sign(sign, "brighter", "darker"))
