"""Is this brightness or colour one that healthy tissue has? Density of local features of normal images."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.filters import make_blur
from anomalib_patchgan.models.patchgan.evidence.evidence import Evidence, View

# Brightness and two differences of colour, each at two scales, and the local standard deviation of brightness.
FEATURES = 7
# Standard deviations of the two scales and of the window of the local one, in map pixels.
FINE, COARSE, WINDOW = 1.0, 4.0, 2.0
# Of the order of the last bits of an 8-bit image: what never varies (colours of grey images) must not decide.
SMALLEST_SPREAD = 0.01
REGULARISATION = 1e-4
# Nats below the median of normal pixels from which on nothing is more unusual.
LIMIT = 15.0
SAMPLES = 40_000
FEWEST_PER_COMPONENT = 20


class Appearance(Evidence):
    """How far a place's brightness, colour and texture lie from those of normal tissue, wherever it is.

    Minus the log density of a mixture of Gaussians (Bishop, Pattern Recognition and Machine Learning, 2006, chapter 9)
    over seven features per pixel: brightness and two differences of colour, smoothed over 1 and 4 map pixels, and the
    standard deviation of brightness over 2. It is 0 at the median of normal pixels and has no preferred side: darker
    and brighter count alike. What R and D cannot see, an evenly bright lesion that is easy to restore, it can.

    Args:
        components: Gaussians of the mixture, each with a full covariance.
        smoothing: Standard deviation in map pixels of the Gaussian that smooths the map; 0 for none.
        mirror: See `Context`, as the next; a large lesion may reach both sides.
        margin: Width of the rim over which the map fades in.
        weight: Weight in the sum.
        power: See `Evidence`; its logarithms grow slowly enough.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> normal, mask = torch.rand(4, 3, 32, 32) * 0.2 + 0.4, torch.ones(4, 1, 32, 32)
        >>> appearance = Appearance(components=2)
        >>> appearance.calibrate([View(normal, normal, mask)])
        >>> odd = normal.clone()
        >>> odd[..., :8, :8] = 0.9
        >>> map = appearance(View(odd, odd, mask))
        >>> bool(map[..., :8, :8].mean() > 5 * map[..., 16:, 16:].mean())
        True
    """

    projections: Tensor
    offsets: Tensor
    constants: Tensor
    reference: Tensor

    def __init__(
        self,
        components: int = 10,
        smoothing: float = 2.0,
        mirror: float | None = 0.0,
        margin: float = 0.12,
        weight: float = 1.0,
        power: float = 1.0,
    ) -> None:
        super().__init__(weight, mirror, margin, power)
        require(components >= 1, f"components of Appearance must be at least 1, got {components}")
        self.components = components
        self.smoothing = smoothing
        self.blur = make_blur(smoothing)
        self.fine, self.coarse, self.window = (make_blur(sigma) for sigma in (FINE, COARSE, WINDOW))
        # Rows that turn features into the coordinates of each Gaussian, where it is round and of unit size.
        self.register_buffer("projections", torch.eye(FEATURES).repeat(components, 1)[..., None, None])
        self.register_buffer("offsets", torch.zeros(components * FEATURES))
        self.register_buffer("constants", torch.full((components,), -math.log(components)))
        self.register_buffer("reference", torch.tensor(0.0))

    def features(self, view: View) -> Tensor:
        """Features of every map pixel, shape `(B, 7, h, w)`."""
        images = F.avg_pool2d(view.images, view.factor)
        grey = images.mean(dim=1, keepdim=True)
        # Differences, not channels: those of a grey image are 0, and its brightness counts once.
        colours = torch.cat([grey, images[:, :1] - grey, images[:, 2:] - grey], dim=1)
        # Background is not averaged in: the rim of a head is no darker tissue.
        inside = self.coarse(view.foreground).clamp(min=1e-3)
        coarse = [self.coarse(colours[:, i : i + 1] * view.foreground) / inside for i in range(3)]
        fine = [self.fine(colours[:, i : i + 1]) for i in range(3)]
        spread = (self.window(grey.square()) - self.window(grey).square()).clamp(min=0.0).sqrt()
        return torch.cat([*fine, *coarse, spread], dim=1)

    def log_density(self, features: Tensor) -> Tensor:
        """Log density of features of shape `(B, 7, h, w)` up to a constant: shape `(B, 1, h, w)`."""
        distances = F.conv2d(features, self.projections, self.offsets).square()
        # A convolution with ones, because summing over some channels would have the exported graph reorder all of them.
        ones = torch.eye(self.components).to(distances).repeat_interleave(FEATURES, dim=1)[..., None, None]
        distances = F.conv2d(distances, ones)
        return torch.logsumexp(self.constants.view(1, -1, 1, 1) - 0.5 * distances, dim=1, keepdim=True)

    def raw(self, view: View) -> Tensor:
        """See `Evidence.raw`."""
        unusual = (self.reference - self.log_density(self.features(view))).clamp(0.0, LIMIT)
        smooth: Tensor = self.blur(unusual * view.foreground)
        return smooth

    def learn(self, views: Sequence[View]) -> None:
        """Fit the mixture to foreground pixels of normal images; with hardly any, it stays as it is."""
        # scikit-learn takes a second to import, which a model that only predicts need not wait for.
        from sklearn.mixture import GaussianMixture

        pixels = [self.features(view).permute(0, 2, 3, 1)[view.foreground[:, 0] > 0] for view in views]
        samples = torch.cat(pixels).double().cpu().numpy()
        if len(samples) < FEWEST_PER_COMPONENT * self.components:
            return
        chosen = np.random.default_rng(0).permutation(len(samples))[:SAMPLES]
        samples = samples[chosen]
        mean, spread = samples.mean(axis=0), samples.std(axis=0).clip(SMALLEST_SPREAD)
        mixture = GaussianMixture(self.components, reg_covar=REGULARISATION, random_state=0)
        mixture.fit((samples - mean) / spread)
        rows = mixture.precisions_cholesky_.transpose(0, 2, 1) / spread
        offsets = np.einsum("kij,kj->ki", rows, mean + mixture.means_ * spread)
        volumes = np.log(np.diagonal(mixture.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)
        self.projections.copy_(torch.from_numpy(rows.reshape(-1, FEATURES, 1, 1)))
        self.offsets.copy_(torch.from_numpy(-offsets.reshape(-1)))
        self.constants.copy_(torch.from_numpy(np.log(mixture.weights_) + volumes))
        columns = torch.from_numpy(samples.T[None, :, :, None]).to(self.projections)
        self.reference.copy_(self.log_density(columns).median())
