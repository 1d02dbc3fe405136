"""Graphs in plainer operations give the same, and what is not known stays as it is."""

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.deploy.plain_operations import use_plain_operations

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


def compute(model, *arrays):
    """Outputs of a graph."""
    compiled = openvino.Core().compile_model(model, "CPU", SETTINGS)
    return [np.array(compiled(arrays)[output]) for output in compiled.outputs]


def kinds(model):
    return {node.get_type_name() for node in model.get_ops()}


def resizing(size, **settings):
    """A graph that makes images of `(2, 3, 6, 5)` another size."""
    image = opset13.parameter([2, 3, 6, 5], np.float32)
    attributes = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"} | settings
    axes = np.int64([2, 3])
    resized = opset13.interpolate(image, np.int64(size), axes=axes, shape_calculation_mode="sizes", **attributes)
    return openvino.Model([resized.output(0)], [image], "resizing")


@pytest.mark.parametrize("size", [(6, 5), (12, 5), (3, 9), (17, 4)])
def test_bilinear_resizing(size):
    model = resizing(size, mode="linear_onnx")
    use_plain_operations(model)
    assert "Interpolate" not in kinds(model)
    images = np.random.default_rng(0).random((2, 3, 6, 5), np.float32)
    expected = F.interpolate(torch.from_numpy(images), size, mode="bilinear", align_corners=False).numpy()
    assert compute(model, images)[0] == pytest.approx(expected, abs=1e-6)


def test_nearest_resizing_by_whole_factors():
    model = resizing((18, 10), mode="nearest", coordinate_transformation_mode="asymmetric")
    use_plain_operations(model)
    assert "Interpolate" not in kinds(model)
    images = np.random.default_rng(0).random((2, 3, 6, 5), np.float32)
    assert (compute(model, images)[0] == images.repeat(3, axis=2).repeat(2, axis=3)).all()


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((7, 5), {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}),
        ((12, 10), {"mode": "nearest"}),
        ((12, 10), {"mode": "cubic"}),
        ((12, 10), {"mode": "linear_onnx", "coordinate_transformation_mode": "align_corners"}),
    ],
)
def test_resizing_of_another_kind_stays(size, settings):
    model = resizing(size, **settings)
    images = np.random.default_rng(0).random((2, 3, 6, 5), np.float32)
    before = compute(model, images)[0]
    use_plain_operations(model)
    assert "Interpolate" in kinds(model)
    assert (compute(model, images)[0] == before).all()


def ranking(places, mode="max", sort="value", *, with_places=False):
    losses = opset13.parameter([4, 40], np.float32)
    ranked = opset13.topk(losses, np.int64(places), 1, mode, sort)
    outputs = ranked.outputs() if with_places else [ranked.output(0)]
    return openvino.Model(outputs, [losses], "ranking")


@pytest.mark.parametrize("places", [1, 2, 32])
def test_ranking(places):
    model = ranking(places)
    use_plain_operations(model)
    assert "TopK" not in kinds(model)
    # Equal ones, too.
    losses = np.random.default_rng(0).integers(0, 9, (4, 40)).astype(np.float32)
    assert (compute(model, losses)[0] == np.sort(losses, axis=1)[:, ::-1][:, :places]).all()


@pytest.mark.parametrize(
    "settings", [{"mode": "min"}, {"sort": "index"}, {"places": 33}, {"with_places": True}], ids=str
)
def test_ranking_of_another_kind_stays(settings):
    model = ranking(**({"places": 2} | settings))
    use_plain_operations(model)
    assert "TopK" in kinds(model)


def test_exported_model_says_the_same(exported):
    core = openvino.Core()
    models = [core.read_model(exported) for _ in range(2)]
    for model in models:
        model.reshape([2, 3, 64, 64])
    use_plain_operations(models[1])
    assert kinds(models[0]) >= {"Interpolate", "TopK"}
    assert not kinds(models[1]) & {"Interpolate", "TopK"}
    images = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    for one, other in zip(*(compute(model, images) for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
