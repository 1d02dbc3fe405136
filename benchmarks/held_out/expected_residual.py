"""An evidence whose scale of the residual is learned for every place (direction `expected_residual`)."""

import math
from itertools import cycle, islice

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.models.components.loss import pixel_distance
from anomalib_patchgan.models.patchgan.evidence import Restoration, View
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel
from held_out.direction import as_input, show

WIDTH = 16
LEARNING_RATE = 2e-3
# Softplus of it is of the order of a residual, so that training begins near its end.
FIRST_LOGIT = -3.0
# In units of the residual, in [0, 1]: the least that is expected, and what is added to it where it divides.
FLOOR, DAMPING = 1e-3, 0.01


class Head(nn.Module):
    """Expects a residual at every place from a restoration alone: a small U-Net of two levels.

    Args:
        factor: Image pixels along a map pixel.

    Example:
        >>> Head(2)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 1, 16, 16])
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.fold = 2 * factor
        self.fine = _convolution(self.fold**2, WIDTH)
        self.coarse = nn.Sequential(
            nn.AvgPool2d(2),
            _convolution(WIDTH, 2 * WIDTH),
            _convolution(2 * WIDTH, 2 * WIDTH),
            nn.Upsample(scale_factor=2, mode="bilinear"),
        )
        self.last = nn.Sequential(_convolution(3 * WIDTH, WIDTH), nn.Conv2d(WIDTH, 4, 1), nn.PixelShuffle(2))

    def forward(self, restored: Tensor) -> Tensor:
        """Expect residuals of shape `(B, 1, h, w)` from restorations of shape `(B, C, H, W)`."""
        fine = self.fine(F.pixel_unshuffle(restored.mean(dim=1, keepdim=True), self.fold))
        logits = self.last(torch.cat([fine, self.coarse(fine)], dim=1)) + FIRST_LOGIT
        return F.softplus(logits) + FLOOR


class ExpectedResidual(Restoration):
    """`Restoration` without damping at edges, divided by the residual that is expected there.

    Args:
        factor: Image pixels along a map pixel.
    """

    def __init__(self, factor: int) -> None:
        super().__init__(edge_damping=None)
        self.head = Head(factor)

    def fit(self, model: PatchGanModel, images: Tensor, steps: int, batch_size: int) -> None:
        """Train the head on clean normal images: absolute residuals, whose scale it gives.

        The loss is the negative log likelihood of a Laplace distribution, whose maximum is the mean residual.

        Args:
            model: The trained model, in the state of a test.
            images: Normal images of shape `(N, 3, H, W)`, uint8.
            steps: Steps.
            batch_size: Images per step.
        """
        self.to(next(model.parameters()).device)
        optimizer = optim.AdamW(self.head.parameters(), LEARNING_RATE)
        order = cycle(torch.randperm(len(images)).tolist())
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            with torch.no_grad():
                normalized, foreground = show(model, as_input(model, images[list(islice(order, batch_size))]))
                # Neither D nor masking, which `PatchGanModel.view` would ask for the other evidences.
                view = View(normalized, model.reconstructor(normalized), foreground)
            expected = self.head(view.restored)
            loss = (self._distance(view) / expected + expected.log()) * view.foreground
            optimizer.zero_grad()
            (loss.sum() / view.foreground.sum().clamp(min=1.0)).backward()
            optimizer.step()

    def raw(self, view: View) -> Tensor:
        """See `Evidence.raw`."""
        relative = self._distance(view) / (self.head(view.restored) + DAMPING)
        smooth: Tensor = self.residual.blur(relative * view.foreground)
        return smooth

    def _distance(self, view: View) -> Tensor:
        return F.avg_pool2d(pixel_distance(view.images, view.restored, "l1"), view.factor)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())
