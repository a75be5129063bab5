"""Draw shapes onto a label map and an instance map: a pixel belongs to a shape if its centre lies inside."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hdtrans.prepare.sources.documents import Points
from hdtrans.prepare.sources.source import UNCOUNTED

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A mask whose first pixel lies at row `top`, column `left` of the picture."""

    top: int
    left: int
    mask: Mask


class Canvas:
    """The two maps of a picture, on which later shapes cover earlier ones.

    Args:
        height, width: of the picture.
        outside: the id of what nothing is drawn on.
    """

    def __init__(self, height: int, width: int, outside: int) -> None:
        self.label = np.full((height, width), outside, np.int32)
        self.instance = np.full((height, width), UNCOUNTED, np.int64)

    def draw(self, region: Region, label: int, instance: int) -> bool:
        """Give the pixels of a region a class and an instance; return whether there are any."""
        window = (
            slice(region.top, region.top + region.mask.shape[0]),
            slice(region.left, region.left + region.mask.shape[1]),
        )
        self.label[window][region.mask] = label
        self.instance[window][region.mask] = instance
        return bool(region.mask.any())


def polygon(points: Points, height: int, width: int) -> Region:
    """Fill a closed polygon by the even-odd rule, cut off at the borders of the picture.

    Along each row of pixel centres, inside and outside change where an edge is crossed.
    """
    x, y = points.T - 0.5  # the centres of pixels are whole numbers now
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first = np.ceil(np.minimum(y, next_y)).clip(0, height).astype(np.int64)
    counts = np.ceil(np.maximum(y, next_y)).clip(0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(x)), counts)
    if not edge.size:
        return Region(0, 0, np.zeros((0, 0), np.bool_))
    rows = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    crossings = x[edge] + (rows - y[edge]) * (next_x - x)[edge] / (next_y - y)[edge]
    columns = np.ceil(crossings).clip(0, width).astype(np.int64)
    top, left = int(rows.min()), int(columns.min())
    shape = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    changes = np.zeros(shape, np.bool_)
    np.logical_xor.at(changes, (rows - top, columns - left), True)
    return Region(top, left, np.logical_xor.accumulate(changes, axis=1)[:, :-1])


def box(points: Points, height: int, width: int) -> Region:
    """Fill the box between two opposite corners."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return polygon(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), height, width)


def stroke(points: Points, thickness: float, height: int, width: int) -> list[Region]:
    """Draw the lines from point to point with round ends; a single point gives a disc."""
    ends = points[1:] if len(points) > 1 else points
    return [_segment(start, end, thickness, height, width) for start, end in zip(points, ends, strict=False)]


def ellipse(centre: Points, radii: Points, degrees: float = 0.0) -> Points:
    """Return the outline of an ellipse whose axes are turned clockwise, as a polygon of 360 corners."""
    angle = np.deg2rad(np.arange(360.0))
    return turned(centre + radii * np.stack([np.cos(angle), np.sin(angle)], axis=1), centre, degrees)


def turned(points: Points, centre: Points, degrees: float) -> Points:
    """Turn points clockwise, as they are seen, about a centre."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return np.asarray(centre + (points - centre) @ np.array([[cosine, sine], [-sine, cosine]]))


def pasted(mask: Mask, left: int, top: int, height: int, width: int) -> Region:
    """Put a mask at a place of the picture and cut off what lies outside."""
    rows, columns = slice(max(-top, 0), max(height - top, 0)), slice(max(-left, 0), max(width - left, 0))
    return Region(max(top, 0), max(left, 0), mask[rows, columns])


def empty_note(names: list[str]) -> list[str]:
    """Return the note about shapes that cover no pixel, if there are any."""
    return [f"shapes that cover no pixel: {', '.join(names)}"] if names else []


def _segment(start: Points, end: Points, thickness: float, height: int, width: int) -> Region:
    radius = thickness / 2
    left, top = np.floor(np.minimum(start, end) - radius).clip(0, [width, height]).astype(int).tolist()
    right, bottom = np.ceil(np.maximum(start, end) + radius).clip(0, [width, height]).astype(int).tolist()
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    along = end - start
    length = float(along @ along)
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length if length else np.zeros_like(x)
    share = share.clip(0, 1)
    distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
    return Region(top, left, distance <= radius)
