"""Networks as they are exported: batch normalisations are part of the convolutions before them."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from anomalib_patchgan.models.components.base import PluginModule


@contextmanager
def fused(module: "PluginModule") -> "Iterator[PluginModule]":
    """Give a model fused networks while it is exported.

    OpenVINO fuses them, too, but then nothing in the graph says any more which layer a convolution is: fused here,
    weights keep their names.

    Args:
        module: Model in evaluation mode.
    """
    trained = module.model
    module.model = fuse_batch_norms(copy.deepcopy(trained))
    try:
        yield module
    finally:
        module.model = trained


def fuse_batch_norms(network: nn.Module) -> nn.Module:
    """Make batch normalisations that follow a convolution in a `Sequential` part of it, in place.

    Args:
        network: Network in evaluation mode.

    Example:
        >>> import torch
        >>> block = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)).eval()
        >>> images = torch.rand(1, 1, 8, 8)
        >>> before = block(images)
        >>> fused = fuse_batch_norms(block)
        >>> type(fused[1]).__name__, bool(torch.allclose(fused(images), before, atol=1e-6))
        ('Identity', True)
    """
    for block in network.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for place in range(len(block) - 1):
            convolution, norm = block[place], block[place + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[place] = fuse_conv_bn_eval(convolution, norm)
                block[place + 1] = nn.Identity()
    return network


def inner_weights(module: "PluginModule") -> set[str]:
    """Name the weights of convolutions that neither see an image nor make one.

    Args:
        module: Model.

    Returns:
        Names of parameters, for each of its networks without the first convolution and the last one.

    Example:
        >>> from anomalib_patchgan import PatchGan
        >>> names = inner_weights(PatchGan(image_size=(64, 64), width=8))
        >>> "model.reconstructor.bottom.body.1.weight" in names, "model.reconstructor.head.weight" in names
        (True, False)
    """
    from anomalib_patchgan.models.components.training import TrainedModule

    if not isinstance(module, TrainedModule):
        return set()
    owners = {id(parameter): name for name, parameter in module.named_parameters()}
    names: set[str] = set()
    for network in module.trained_networks():
        weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        names.update(owners[id(weight)] for weight in weights[1:-1])
    return names
