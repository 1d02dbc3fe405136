"""Exports a model to OpenVINO, with a model card beside it and inside it."""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anomalib_patchgan.deploy.fused import fused, inner_weights
from anomalib_patchgan.deploy.model_card import ModelCard, describe, write_card
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.version import ONNX_OPSET

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

Compression = Literal["FP32", "FP16", "INT8", "INT8_PTQ", "INT8_ACQ"]
XML = "model.xml"
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

    if compression in {"INT8_PTQ", "INT8_ACQ"} and data is None:
        msg = f"{compression} needs images to calibrate with: give --data, or another compression."
        raise ConfigurationError(msg)
    card = describe(module, compression)
    module.eval()
    # A line for each constant that it shares.
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    kinds = {"FP16": CompressionType.FP16, "INT8": CompressionType.INT8}
    try:
        with tempfile.TemporaryDirectory() as name:
            with fused(module) as ready:
                settings = {"opset_version": ONNX_OPSET, "verbose": False}
                xml = ready.to_openvino(name, compression_type=kinds.get(compression), onnx_kwargs=settings)
            if data is not None and compression in {"INT8_PTQ", "INT8_ACQ"}:
                from anomalib_patchgan.deploy.quantize import quantize

                quantize(xml, data, card.image_size, compression, inner_weights(module) if networks_only else None)
            return _install(xml, folder, card)
    except OSError as error:
        msg = f"the model cannot be written to {folder} ({error.strerror or error}): check space and permissions."
        raise DataError(msg) from error


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
