"""Quantizes the weights and activations of an exported model, calibrated and checked on validation images.

anomalib 2.7 offers both, but neither leaves a part of the graph in float, and its INT8_ACQ measures on the test images
what it may lose, without resetting its metric in between.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nncf
import numpy as np
import openvino
from sklearn.metrics import roc_auc_score

from anomalib_patchgan.deploy import Compression
from anomalib_patchgan.deploy.accuracy import spread
from anomalib_patchgan.deploy.plain_operations import resize_as_graph
from anomalib_patchgan.errors import DataError

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

# nncf's own advice; more change nothing and take time.
QUANTIZATION_IMAGES = 300
MAX_DROP = 0.01


def quantize(
    xml: Path,
    data: "AnomalibDataModule",
    size: tuple[int, int],
    method: Compression = "INT8_PTQ",
    weights: Collection[str] | None = None,
) -> None:
    """Quantize an exported model in place.

    Args:
        xml: The model's XML file, with its BIN file beside it.
        data: Data module, set up; its validation images calibrate.
        size: Height and width of the images that the graph gets.
        method: One of `QUANTIZED`; `INT8_ACQ` takes layers back to float until the image AUROC of the validation
            images is at most 0.01 below that of the model in float.
        weights: Names of the weights whose convolutions are quantized, and what lies between them: the layers that see
            an image or make one, residual, smoothing, ranking and map stay in float. `None` quantizes all that can be.

    Raises:
        DataError: There are no validation images, or for `INT8_ACQ` they are all normal.
    """
    dataset: Any = data.val_data
    if not len(dataset):
        msg = "there is no validation image to calibrate with: give the data module a validation split."
        raise DataError(msg)
    items = [dataset[index] for index in spread(dataset, QUANTIZATION_IMAGES)]
    images = [resize_as_graph(item.image.numpy()[None], size) for item in items]
    labels = [bool(item.gt_label) for item in items]
    model = openvino.Core().read_model(xml)
    # Batches of one: the graph is read with any size, and nncf would take the first for the only one.
    model.reshape([1, 3, *size])
    scope = None
    if weights is not None:
        scope = nncf.IgnoredScope(names=outside_of_networks(model, weights), validate=False)
    arguments: dict[str, Any] = {
        "ignored_scope": scope,
        "subset_size": len(images),
        # What a leaky ReLU lets through is not symmetric.
        "preset": nncf.QuantizationPreset.MIXED,
    }
    # Made on images that are mostly background, the correction shifts R's output by more than a lesion's residual.
    advanced = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
    if method == "INT8_PTQ":
        quantized = nncf.quantize(model, nncf.Dataset(images), advanced_parameters=advanced, **arguments)
    else:
        if len(set(labels)) < 2:  # noqa: PLR2004 - normal and abnormal
            msg = "INT8_ACQ needs normal and abnormal validation images, these are of one kind: take INT8_PTQ."
            raise DataError(msg)

        def accuracy(compiled: Any, items: Iterable[np.ndarray]) -> tuple[float, list[float]]:  # noqa: ANN401 - openvino's
            scores = [float(np.squeeze(compiled(image)["pred_score"])) for image in items]
            # nncf also asks for single images, by whose scores it ranks the layers.
            return float(roc_auc_score(labels, scores) if len(scores) == len(labels) else np.mean(scores)), scores

        quantized = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(images),
            nncf.Dataset(images),
            accuracy,
            max_drop=MAX_DROP,
            advanced_quantization_parameters=advanced,
            **arguments,
        )
    quantized.reshape({0: openvino.PartialShape([-1, 3, *size])})
    target = xml.with_name("quantized.xml")
    openvino.save_model(quantized, target, compress_to_fp16=False)
    # The old file is mapped into memory as long as its model lives.
    del model, quantized
    for suffix in (".xml", ".bin"):
        target.with_suffix(suffix).replace(xml.with_suffix(suffix))


def outside_of_networks(model: "openvino.Model", weights: Collection[str]) -> list[str]:
    """Name the operations of a graph that are not between two convolutions that have some weights.

    Not by their kind: an activation has the operations of a residual, and one that is left out within a network has
    its quantized neighbours lose more than quantizing everything does.

    Args:
        model: Graph.
        weights: Names of the parameters of the inner layers of networks.
    """
    convolutions = {node for node in model.get_ops() if node.get_type_name().endswith("Convolution")}
    inner = {node for node in convolutions if _weight_of(node).get_friendly_name() in weights}
    after = _reach(
        inner, convolutions - inner, lambda node: [i.get_node() for o in node.outputs() for i in o.get_target_inputs()]
    )
    before = _reach(inner, convolutions - inner, lambda node: [value.get_node() for value in node.input_values()])
    inside = inner | (after & before)
    return [node.get_friendly_name() for node in model.get_ops() if node not in inside]


def _reach(start: set[Any], border: set[Any], neighbours: Callable[[Any], list[Any]]) -> set[Any]:
    """Return what is reached from some nodes without passing a border."""
    reached, waiting = set(start), list(start)
    while waiting:
        found = set(neighbours(waiting.pop())) - border - reached
        reached |= found
        waiting += found
    return reached


def _weight_of(convolution: Any) -> Any:  # noqa: ANN401 - openvino's
    """Return the constant that a convolution's weights are made of."""
    node = convolution.input_value(1).get_node()
    while node.get_type_name() != "Constant" and node.get_input_size():
        node = node.input_value(0).get_node()
    return node
