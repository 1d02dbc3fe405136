"""PyTorch model of the one-class support vector machine: pool, project, compare with the support vectors."""

import numpy as np
import torch
from anomalib.models.components import DynamicBufferMixin
from sklearn.decomposition import PCA
from sklearn.svm import OneClassSVM
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.calibration import CalibratedModel
from anomalib_patchgan.models.components.image_size import check_multiple


class OneClassSvmModel(DynamicBufferMixin, CalibratedModel):
    r"""One-class support vector machine with a Gaussian kernel, on pooled pixels or their principal components.

    scikit-learn fits it; what it learned are buffers, and the decision function is torch, so that it is saved and
    exported like any other model. With the dual coefficients :math:`\alpha_i > 0`, the support vectors :math:`s_i` and

    .. math:: f(x) = \sum_i \alpha_i e^{-\gamma |x - s_i|^2} + b

    the residual is :math:`-\log((f(x) - b) / \sum_i \alpha_i)`: non-negative, strictly falling with the decision
    function :math:`f`, and without its loss of digits far from all support vectors. The map is the squared residual of
    the principal components, enlarged to the image; without components it is the residual of the image everywhere.
    See `CalibratedModel` for how both get into [0, 1).

    Args:
        feature_size: Side in pixels to which images are averaged down.
        components: Principal components that are kept, fewer if there are fewer images; `None` takes the pixels.
        nu: Upper bound of the share of training images outside, in (0, 1].

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> model = OneClassSvmModel(feature_size=8, components=4)
        >>> model.fit(model.features(torch.rand(20, 3, 32, 32)))
        >>> prediction = model(torch.rand(2, 3, 32, 32))
        >>> prediction.pred_score.shape, prediction.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 32, 32]))
    """

    fitted: Tensor
    mean: Tensor
    basis: Tensor
    support_vectors: Tensor
    dual_coefficients: Tensor
    intercept: Tensor
    gamma: Tensor

    def __init__(self, *, feature_size: int = 32, components: int | None = 64, nu: float = 0.1) -> None:
        super().__init__()
        msg = (
            f"feature_size and components must be positive (components may be null) and nu in (0, 1], got "
            f"{feature_size}, {components} and {nu}"
        )
        require(feature_size >= 1 and (components is None or components >= 1) and 0 < nu <= 1, msg)
        self.feature_size = feature_size
        self.components = components
        self.nu = nu
        width = 3 * feature_size**2
        self.register_buffer("fitted", torch.tensor(False))  # noqa: FBT003 - a tensor's value
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("basis", torch.zeros(components or 0, width))
        # How many there are follows from the data, and a checkpoint brings its own.
        self.register_buffer("support_vectors", torch.zeros(1, components or width))
        self.register_buffer("dual_coefficients", torch.ones(1))
        self.register_buffer("intercept", torch.tensor(0.0))
        self.register_buffer("gamma", torch.tensor(1.0))

    def check_size(self, height: int, width: int) -> None:
        """See `CalibratedModel`."""
        check_multiple("OneClassSvm", (height, width), self.feature_size)

    def features(self, images: Tensor) -> Tensor:
        """Average images `(B, 3, H, W)` in [0, 1] down and flatten them: `(B, 3 * feature_size ** 2)`.

        Raises:
            DataError: If a side of the images is no multiple of `feature_size`.
        """
        height, width = images.shape[-2:]
        self.check_size(height, width)
        # Not adaptive pooling, which the exporter takes for fixed sizes only.
        return F.avg_pool2d(images, (height // self.feature_size, width // self.feature_size)).flatten(1)

    def project(self, features: Tensor) -> Tensor:
        """Principal components `(B, C)` of features `(B, F)`, or the features where none are used."""
        return features if self.components is None else (features - self.mean) @ self.basis.T

    def log_similarity(self, projected: Tensor) -> Tensor:
        """Logarithm of the weighted kernel sum `f(x) - b` of rows `(B, C)`: `(B,)`."""
        # Both centred on a support vector: far from the origin the expanded square would lose its digits.
        origin = self.support_vectors[:1]
        rows, vectors = projected - origin, self.support_vectors - origin
        squares = rows.square().sum(1, keepdim=True) + vectors.square().sum(1) - 2 * rows @ vectors.T
        exponents = self.dual_coefficients.log() - self.gamma * squares.clamp(min=0.0)
        return torch.logsumexp(exponents, dim=1)

    def decision_function(self, features: Tensor) -> Tensor:
        """scikit-learn's decision function of features `(B, F)`: `(B,)`, positive for normal images."""
        return self.log_similarity(self.project(features)).exp() + self.intercept

    def residuals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Residual of the kernel sum `(B,)` and map `(B, 1, H, W)` of images `(B, 3, H, W)` in [0, 1].

        Raises:
            DataError: If a side of the images is no multiple of `feature_size`.
        """
        features = self.features(images)
        projected = self.project(features)
        scores = (self.dual_coefficients.sum().log() - self.log_similarity(projected)).clamp(min=0.0)
        if self.components is None:
            return scores, scores.reshape(-1, 1, 1, 1) * torch.ones_like(images[:, :1])
        restored = projected @ self.basis + self.mean
        residual = (features - restored).square().reshape(-1, 3, self.feature_size, self.feature_size)
        size = images.shape[-2:]
        return scores, F.interpolate(residual.mean(1, keepdim=True), size, mode="bilinear", align_corners=False)

    def fit(self, features: Tensor) -> None:
        """Fit the components and the machine, keep what they learned, and calibrate.

        Args:
            features: Features of normal images, `(N, F)` with N of at least 2.
        """
        rows = features.double().cpu().numpy()
        if self.components is not None:
            pca = PCA(min(self.components, *rows.shape), random_state=0).fit(rows)
            self._keep("mean", pca.mean_)
            # Components that so few images do not have are 0.
            self._keep("basis", np.pad(pca.components_, ((0, self.components - len(pca.components_)), (0, 0))))
            rows = pca.transform(rows)
        machine = OneClassSVM(kernel="rbf", gamma="scale", nu=self.nu).fit(rows)
        missing = self.support_vectors.shape[1] - rows.shape[1]
        self._keep("support_vectors", np.pad(machine.support_vectors_, ((0, 0), (0, missing))))
        self._keep("dual_coefficients", machine.dual_coef_[0])
        self._keep("intercept", machine.intercept_[0])
        # The number that gamma="scale" stands for, which scikit-learn keeps to itself.
        self._keep("gamma", 1.0 / (rows.shape[1] * rows.var()) if rows.var() else 1.0)
        self.calibrate(features.to(self.mean).reshape(-1, 3, self.feature_size, self.feature_size), batch_size=256)
        self.fitted.fill_(True)  # noqa: FBT003 - a tensor's value

    def _keep(self, name: str, values: object) -> None:
        buffer = getattr(self, name)
        # scikit-learn's may be column-major; those of a checkpoint are not, and scores would differ in the last bit.
        setattr(self, name, torch.as_tensor(values, dtype=buffer.dtype, device=buffer.device).contiguous())
