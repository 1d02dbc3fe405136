"""Batch normalisations are fused for export only, and filters are told from the layers of networks."""

import openvino
import pytest
import torch
from torch import nn

from anomalib_patchgan import Alocc, Autoencoder, OneClassSvm, PatchGan
from anomalib_patchgan.deploy.export import export_model, fused, inner_weights
from anomalib_patchgan.deploy.quantize import outside_of_networks

SIZE = (64, 64)
KINDS = [
    pytest.param(lambda: PatchGan(image_size=SIZE, width=8), id="default"),
    pytest.param(lambda: PatchGan(image_size=(256, 256), width=4), id="folded"),
    pytest.param(lambda: PatchGan(image_size=SIZE, width=8, network="plain", discriminator="patch"), id="plain"),
    pytest.param(lambda: Autoencoder(image_size=SIZE), id="autoencoder"),
    pytest.param(lambda: Alocc(image_size=SIZE), id="alocc"),
]


def make(kind):
    """A model whose batch normalisations do something."""
    torch.manual_seed(0)
    module = kind().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_fused_networks_say_the_same(kind):
    module = make(kind)
    images = torch.rand(2, 3, *module.resized)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    with torch.no_grad():
        before = module.model(images)
        with fused(module) as ready:
            assert not any(isinstance(layer, nn.BatchNorm2d) for layer in ready.modules())
            inside = module.model(images)
        after = module.model(images)
    torch.testing.assert_close(inside.anomaly_map, before.anomaly_map, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(inside.pred_score, before.pred_score, atol=1e-4, rtol=1e-4)
    assert torch.equal(after.anomaly_map, before.anomaly_map)
    assert norms == sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) > 0


def test_networks_come_back_after_a_failed_export():
    module = make(KINDS[0].values[0])
    trained = module.model
    with pytest.raises(RuntimeError, match="disk"), fused(module):
        raise RuntimeError("disk")  # noqa: EM101 - any error
    assert module.model is trained


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_see_or_make_an_image_are_no_inner_ones(kind):
    module = make(kind)
    inner = inner_weights(module)
    assert inner
    shapes = dict(module.named_parameters())
    for network in module.trained_networks():
        convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        assert (
            sum(any(shapes[name] is layer.weight for name in inner) for layer in convolutions) == len(convolutions) - 2
        )
    # Image channels come in and go out by the layers that are left out alone.
    assert not any(3 in shapes[name].shape[:2] for name in inner)


def test_a_model_without_networks_has_no_inner_layers():
    assert inner_weights(OneClassSvm(image_size=(32, 32))) == set()


def test_what_lies_outside_of_the_networks(tmp_path):
    module = make(KINDS[1].values[0])
    inner = inner_weights(module)
    export_model(module, tmp_path)
    graph = openvino.Core().read_model(tmp_path / "model.xml")
    outside = set(outside_of_networks(graph, inner))
    within = [node for node in graph.get_ops() if node.get_friendly_name() not in outside]
    kinds = {node.get_type_name() for node in within}
    assert kinds == {"Convolution", "PRelu", "Add", "Interpolate"}
    kernels = [list(node.input(1).get_shape())[:2] for node in within if node.get_type_name() == "Convolution"]
    # R restores three times.
    restorer = sum(name.startswith("model.reconstructor") for name in inner)
    assert len(kernels) == 3 * restorer + len(inner) - restorer
    assert not any(1 in kernel for kernel in kernels)
    convolutions = [node for node in graph.get_ops() if node.get_type_name() == "Convolution"]
    left = {tuple(node.input(1).get_shape())[:2] for node in convolutions if node.get_friendly_name() in outside}
    assert left >= {(1, 1), (70, 7), (48, 4), (4, 48)}
