"""What plots share: names of points, plain text, and the outline of a lesion over its image."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

# Of a lesion; seen on grey images as well as on skin.
OUTLINE = "#00d0ff"
# Points of 1/72 inch: around a marker, and between a point and the nearest place of its name.
MARKER, NEAR = 4.0, 7.0
DISTANCES = (NEAR, *range(14, 240, 9))
# Beside the point first, then above and below.
DEGREES = (0, 180, 20, -20, 160, -160, 45, -45, 135, -135, 75, -75, 105, -105)


def write_names(
    axes: Axes, points: Sequence[tuple[str, tuple[float, float]]], *, size: float = 7.5, taken: Sequence[Bbox] = ()
) -> list[Annotation]:
    """Write the name of each point where there is room, with a line to it where that is not beside it.

    Args:
        axes: Axes of a figure that was drawn with everything but the names, so that their place is known. Their
            limits are final.
        points: Name and place of each point.
        size: Size of the letters in points.
        taken: What else shall not be covered, such as error bars, in pixels.

    Returns:
        The names, in the order of the points.
    """
    scale = axes.figure.dpi / 72
    # Lines that lead to names must not move what they lead to.
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    inside = axes.get_window_extent()
    places = [axes.transData.transform(point) for _, point in points]
    around = MARKER * scale
    covered = [*taken, *(Bbox.from_extents(x - around, y - around, x + around, y + around) for x, y in places)]
    written = []
    for (name, point), (x, y) in zip(points, places, strict=True):
        text = axes.annotate("", point, (0, 0), textcoords="offset points", size=size, va="center")
        set_plain_text(text, name)
        # Letters of a file without pixels, such as an SVG, may be a little wider.
        extent = text.get_window_extent().padded(scale)
        tried = itertools.product(DISTANCES, map(math.radians, DEGREES))
        boxes = [_box(x, y, distance * scale, angle, extent) for distance, angle in tried]
        free = (box for box in boxes if _within(box, inside) and not any(box.overlaps(other) for other in covered))
        box = next(free, boxes[0])
        covered.append(box)
        text.set_position(((box.x0 - x) / scale + 1, ((box.y0 + box.y1) / 2 - y) / scale))
        if math.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)) > (NEAR + 1) * scale:
            corner = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            end = axes.transData.inverted().transform(corner)
            axes.plot([point[0], end[0]], [point[1], end[1]], color="0.7", linewidth=0.6, zorder=0)
        written.append(text)
    return written


def set_plain_text(text: Text, content: str) -> None:
    """Set the content of a text that was made without, in which dollar signs shall be no formula.

    Args:
        text: The text. As a label of a legend, content with an underscore in front would have been dropped.
        content: What it shall say.
    """
    text.set_parse_math(False)
    text.set_text(content)


def draw_outline(axes: Axes, mask: NDArray, *, colour: str = OUTLINE, width: float = 0.7) -> None:
    """Draw the outline of a lesion over its image, whose limits stay as they are.

    Args:
        axes: Axes with the image.
        mask: Lesion, `(H, W)`, bool or 0 to 1; without any, nothing is drawn.
        colour: Colour of the line.
        width: Its width in points.
    """
    height, columns = mask.shape
    if not (mask > 0.5).any():  # noqa: PLR2004 - the level of the outline
        return
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    # A rim of zeros closes the outline of a lesion that reaches the edge.
    grid = np.arange(-1, columns + 1), np.arange(-1, height + 1)
    axes.contour(*grid, np.pad(mask, 1), levels=[0.5], colors=colour, linewidths=width)


def _box(x: float, y: float, distance: float, angle: float, extent: Bbox) -> Bbox:
    """Return where a name lies whose nearest edge is that far from a point."""
    dx, dy = distance * math.cos(angle), distance * math.sin(angle)
    # Left of the point it ends there, right of it it begins there; above and below it, something between.
    left = x + dx - extent.width * (1 - math.cos(angle)) / 2
    middle = y + dy + extent.height / 2 * math.sin(angle)
    return Bbox.from_bounds(left, middle - extent.height / 2, extent.width, extent.height)


def _within(box: Bbox, outer: Bbox) -> bool:
    return box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1
