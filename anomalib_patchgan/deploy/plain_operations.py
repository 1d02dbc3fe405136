"""Operations of a graph in plainer ones: resizing with NumPy, and a graph for processors without AVX.

There OpenVINO 2026.4 can make code of neither `Interpolate` nor `TopK` ("bad combination"), and many small boxes have
such a Celeron or Atom.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Each place takes a pass over the values.
MAX_PLACES = 32


def resize_as_graph(images: np.ndarray, size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize images as the pre-processor in the graph does: bilinear, not antialiased, pixels as squares.

    That is `torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)`.

    Args:
        images: `(..., H, W)` of any type and range.
        size: Height and width in pixels.

    Returns:
        `(..., h, w)` in the same range.

    Example:
        >>> resize_as_graph(np.array([[0, 2], [4, 6]]), (2, 4))[0].tolist()
        [0.0, 0.5, 1.5, 2.0]
    """
    if images.shape[-2:] == size:
        return images.astype(np.float32)
    (above, below, down), (left, right, across) = map(_neighbours, images.shape[-2:], size)
    # Rows first and in their own type: of a large photograph only few are needed.
    down = down[:, None]
    upper, lower = (images[..., lines, :].astype(np.float32) for lines in (above, below))
    rows = upper + (lower - upper) * down
    return rows[..., left] + (rows[..., right] - rows[..., left]) * across


def _neighbours(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each new pixel of a line the two old ones around its middle, and the weight of the second."""
    middles = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, None)
    first = middles.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (middles - first).astype(np.float32)


def use_plain_operations(model: Any) -> None:  # noqa: ANN401 - openvino's
    """Put interpolations and rankings of a graph into plainer operations; those of an unknown kind stay.

    Args:
        model: OpenVINO's model with images of a fixed size, changed in place.
    """
    plainer = {"Interpolate": _interpolate, "TopK": _highest}
    for node in model.get_ordered_ops():
        replacement = plainer[node.get_type_name()](node) if node.get_type_name() in plainer else None
        if replacement is not None:
            replacement.get_tensor().add_names(node.output(0).get_names())
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(replacement)
    model.validate_nodes_and_infer_types()


def _interpolate(node: Any) -> Any:  # noqa: ANN401 - openvino's
    """Return the output of products of matrices that interpolate rows and columns; `None` if it is not known how."""
    from openvino import opset13

    old, new = (list(output.get_shape()) for output in (node.input_value(0), node.output(0)))
    if len(old) != 4 or old[:2] != new[:2]:  # noqa: PLR2004 - images and channels stay
        return None
    down, across = (make_matrix(node.get_attributes(), *sides) for sides in zip(old[2:], new[2:], strict=True))
    if down is None or across is None:
        return None
    rows = opset13.matmul(down, node.input_value(0), transpose_a=False, transpose_b=False)
    return opset13.matmul(rows, across, transpose_a=False, transpose_b=True).output(0)


def make_matrix(attributes: dict[str, Any], old: int, new: int) -> NDArray[np.float32] | None:
    """Return the matrix `(new, old)` that interpolates a line; `None` if it is not known how that is to be done.

    Args:
        attributes: Of OpenVINO's `Interpolate`.
        old: Values of the line.
        new: Values that it gets.

    Example:
        >>> linear = {"mode": "linear_onnx", "coordinate_transformation_mode": "half_pixel"}
        >>> make_matrix(linear, 2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    kind = attributes["mode"], attributes["coordinate_transformation_mode"]
    identity = np.eye(old, dtype=np.float32)
    if kind in {("linear", "half_pixel"), ("linear_onnx", "half_pixel")} and not attributes.get("antialias"):
        # Of columns, since lines are rows of the identity.
        return resize_as_graph(identity, (new, old))
    if kind == ("nearest", "asymmetric") and new % old == 0:
        return np.repeat(identity, new // old, axis=0)
    return None


def _highest(node: Any) -> Any:  # noqa: ANN401 - openvino's
    """Return the output of one maximum after the other; `None` if they are too many, or their places are asked for."""
    from openvino import opset13

    attributes = node.get_attributes()
    axis = attributes["axis"]
    places = node.output(0).get_shape()[axis]
    # Sorted by their places they would come in another order.
    known = (attributes["mode"], attributes["sort"]) == ("max", "value")
    if not known or places > MAX_PLACES or node.output(1).get_target_inputs():
        return None
    rest, axes = node.input_value(0), np.array([axis], np.int64)
    found = []
    for _ in range(places):
        highest = opset13.reduce_max(rest, axes, keep_dims=True)
        found.append(highest)
        # Of equal ones the first is taken out.
        same = opset13.convert(opset13.equal(rest, highest), "i32")
        first = opset13.equal(opset13.multiply(same, opset13.cum_sum(same, np.int64(axis))), np.int32(1))
        rest = opset13.select(first, np.float32(-np.inf), rest)
    return opset13.concat(found, axis).output(0)
