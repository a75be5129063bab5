"""Rasterise shapes onto a label map and an instance map: a pixel belongs to a shape if its centre lies inside."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hdtrans.prepare.sources.documents import Points
from hdtrans.prepare.sources.source import NO_INSTANCE

Mask = npt.NDArray[np.bool_]

NO_PIXEL = "no pixel in the picture"
"""Reason of `Undrawn` for a shape of zero area, or outside of the picture."""

_MOST_PLACES = 5


@dataclass(frozen=True)
class Region:
    """A mask at row `top`, column `left` of the picture."""

    top: int
    left: int
    mask: Mask


class Canvas:
    """Label and instance map of one picture; later shapes cover earlier ones.

    Args:
        height, width: picture size in pixels.
        outside: label id of pixels without a shape.
    """

    def __init__(self, height: int, width: int, outside: int) -> None:
        self.label = np.full((height, width), outside, np.int32)
        self.instance = np.full((height, width), NO_INSTANCE, np.int64)

    def draw(self, region: Region, label: int, instance: int) -> bool:
        """Set class and instance id of a region's pixels; return False if it has none."""
        window = (
            slice(region.top, region.top + region.mask.shape[0]),
            slice(region.left, region.left + region.mask.shape[1]),
        )
        self.label[window][region.mask] = label
        self.instance[window][region.mask] = instance
        return bool(region.mask.any())


def polygon(points: Points, height: int, width: int) -> Region:
    """Fill a closed polygon by the even-odd rule, clipped to the picture.

    Args:
        points: (N, 2) corners, N >= 3.
        height, width: picture size in pixels.
    """
    x, y = points.T - 0.5  # pixel centres are now at integers
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
    np.logical_xor.at(changes, (rows - top, columns - left), True)  # an edge crossing toggles inside and outside
    return Region(top, left, np.logical_xor.accumulate(changes, axis=1)[:, :-1])


def box(points: Points, height: int, width: int) -> Region:
    """Fill the axis-aligned box between two opposite corners, (2, 2) points."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return polygon(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), height, width)


def stroke(points: Points, thickness: float, height: int, width: int) -> list[Region]:
    """Draw a polyline with round ends, one region per line segment; a single point gives a disc.

    Args:
        points: (N, 2) vertices, N >= 1.
        thickness: line width in pixels.
        height, width: picture size in pixels.
    """
    ends = points[1:] if len(points) > 1 else points
    return [_segment(start, end, thickness, height, width) for start, end in zip(points, ends, strict=False)]


def ellipse(centre: Points, radii: Points, degrees: float = 0.0) -> Points:
    """Return an ellipse as a polygon of 360 corners, rotated clockwise about its centre.

    Args:
        centre: (2,) point.
        radii: (2,) radii along x and y in pixels.
        degrees: rotation angle, clockwise as seen.
    """
    angle = np.deg2rad(np.arange(360.0))
    return rotate(centre + radii * np.stack([np.cos(angle), np.sin(angle)], axis=1), centre, degrees)


def rotate(points: Points, centre: Points, degrees: float) -> Points:
    """Rotate points about a centre, clockwise as seen (y points down)."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return np.asarray(centre + (points - centre) @ np.array([[cosine, sine], [-sine, cosine]]))


def paste(mask: Mask, left: int, top: int, height: int, width: int) -> Region:
    """Place a mask at column `left`, row `top` of the picture, clipped to it."""
    rows, columns = slice(max(-top, 0), max(height - top, 0)), slice(max(-left, 0), max(width - left, 0))
    return Region(max(top, 0), max(left, 0), mask[rows, columns])


class Undrawn:
    """Shapes of one picture that are not drawn, by reason: the rule of all formats.

    A shape without an area (a box without an outline, too few points, a line) costs its pixels, not its picture.
    Malformed numbers are errors.
    """

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}

    def add(self, reason: str, place: str) -> None:
        """Add a shape: the reason, such as `no outline`, and its place in the picture, such as `annotation 7`."""
        self._places.setdefault(reason, []).append(place)

    def outline(self, points: Points, place: str, at_least: int = 3) -> bool:
        """Return True if (N, 2) points are enough for a shape; otherwise add it."""
        if len(points) < at_least:
            self.add(f"fewer than {at_least} points", place)
        return len(points) >= at_least

    def notes(self) -> list[str]:
        """Return the note on all of them, or no note."""
        reasons = []
        for reason, places in self._places.items():
            more = ", ..." if len(places) > _MOST_PLACES else ""
            reasons.append(f"{len(places)} with {reason} ({', '.join(places[:_MOST_PLACES])}{more})")
        return [f"shapes that are not drawn: {'; '.join(reasons)}"] if reasons else []


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
