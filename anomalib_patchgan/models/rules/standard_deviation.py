"""Trivial rule: how much the brightness of the image varies."""

from typing import Any, Literal

from anomalib.models.components import AnomalibModule
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.rules.base import SignedModel, SignedRule


class StandardDeviationModel(SignedModel):
    """Standard deviation of the image's brightness, and around each pixel as map.

    Around a pixel, it is the root mean square of the differences of its neighbours to the mean around each of them.

    Args:
        window: Odd side of the neighbourhood in pixels.
        inverted: Whether low values are anomalous.

    Raises:
        ConfigurationError: If `window` is even or not positive.

    Example:
        >>> import torch
        >>> halves = torch.zeros(1, 3, 8, 8)
        >>> halves[..., 4:] = 1.0
        >>> float(StandardDeviationModel()(halves).pred_score)
        0.5
    """

    def __init__(self, window: int = 9, *, inverted: bool = False) -> None:
        super().__init__(inverted=inverted)
        require(window >= 1 and window % 2, f"window must be odd and positive, got {window}")
        self.window = window

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Deviation of all pixels `(B,)` and of each neighbourhood `(B, 1, H, W)` of images in [0, 1]."""
        grey = images.mean(1, keepdim=True)
        score = (grey - grey.mean((1, 2, 3), keepdim=True)).square().mean((1, 2, 3)).sqrt()
        # Not the mean of squares minus the square of the mean, whose digits cancel where the image is smooth.
        return score, self._smooth((grey - self._smooth(grey)).square()).sqrt()

    def _smooth(self, pixels: Tensor) -> Tensor:
        """Mean over the neighbourhood of each pixel; borders are continued, because zeros would be an edge."""
        half = self.window // 2
        return F.avg_pool2d(F.pad(pixels, (half, half, half, half), mode="replicate"), self.window, stride=1)


class StandardDeviation(SignedRule, AnomalibModule):  # type: ignore[misc]  # anomalib's to_onnx is not Lightning's
    """Trivial rule: the standard deviation of the image's brightness is its score, that around each pixel the map.

    Args:
        sign: `higher` or `lower` is anomalous; `learned` takes the side with the AUROC of at least 0.5 on the
            validation images, or `higher` when they are all normal.
        window: Odd side of the neighbourhood of the map in pixels.
        **kwargs: `image_size`, `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see
            `PluginModule`.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, StandardDeviation
        >>> Engine().train(StandardDeviation(), datamodule=BrainPhantom())  # doctest: +SKIP
    """

    def __init__(
        self,
        sign: Literal["higher", "lower", "learned"] = "learned",
        window: int = 9,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self.model = StandardDeviationModel(window, inverted=self.configure_sign(sign, "higher", "lower"))
