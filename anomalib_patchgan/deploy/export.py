"""Exports a model to OpenVINO, with a model card beside it and inside it."""

import copy
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anomalib_patchgan.deploy import QUANTIZED, Compression
from anomalib_patchgan.deploy.bundle import XML
from anomalib_patchgan.deploy.model_card import ModelCard, describe, write_card
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.outputs import writing
from anomalib_patchgan.version import ONNX_OPSET

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

_SECTION = "patchgan"


def export_model(
    module: "PluginModule",
    folder: Path,
    compression: Compression = "FP32",
    data: "AnomalibDataModule | None" = None,
    *,
    networks_only: bool = False,
) -> ModelCard:
    """Export a model to `folder/model.xml`, `model.bin` and `model_card.json`.

    The graph takes any number of images, and of any size unless its activations are quantized. Everything is written
    elsewhere first: the folder holds the former model or the new one.

    Args:
        module: Trained model.
        folder: Where to; made if missing.
        compression: `FP32`, `FP16` or `INT8` (weights only) as anomalib exports them; `INT8_PTQ` and `INT8_ACQ` also
            quantize activations, see `anomalib_patchgan.deploy.quantize`. Both need `data`.
        data: Data module, set up, whose validation images calibrate.
        networks_only: Quantize the activations of the networks only.

    Returns:
        The card.

    Raises:
        ConfigurationError: `data` is missing.
        DataError: The files cannot be written, or the model has no image size of its own.
    """
    from anomalib.deploy import CompressionType

    if compression in QUANTIZED and data is None:
        msg = f"{compression} needs images to calibrate with: give --data, or another compression."
        raise ConfigurationError(msg)
    card = describe(module, compression)
    module.eval()
    # A line for each constant that it shares.
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    kinds = {"FP16": CompressionType.FP16, "INT8": CompressionType.INT8}
    with writing("the model", folder), tempfile.TemporaryDirectory() as name:
        with fused(module) as ready:
            settings = {"opset_version": ONNX_OPSET, "verbose": False}
            xml = ready.to_openvino(name, compression_type=kinds.get(compression), onnx_kwargs=settings)
        if data is not None and compression in QUANTIZED:
            from anomalib_patchgan.deploy.quantize import quantize

            quantize(xml, data, card.image_size, compression, inner_weights(module) if networks_only else None)
        return _install(xml, folder, card)


def _install(xml: Path, folder: Path, card: ModelCard) -> ModelCard:
    """Put the card into the graph, and move the files where they belong."""
    import openvino

    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    try:
        model = openvino.Core().read_model(xml)
        for name, value in card.as_dict().items():
            if name not in {"sha256", "format"}:
                model.set_rt_info(value if isinstance(value, str) else json.dumps(value), [_SECTION, name])
        openvino.save_model(model, staging / XML, compress_to_fp16=False)
        del model
        card = write_card(card, staging / XML)
        # The card last: with it, a mix of old and new files is noticed when it is loaded.
        for file in sorted(staging.iterdir(), key=lambda file: file.suffix == ".json"):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return card


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
