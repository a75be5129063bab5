"""Integer renderer of the toy street scenes: random numbers, hash noise, light, and a canvas with a camera.

All arithmetic is on integers, so that a scene has the same pixels on every machine. Lengths are in centimetres: x to
the right of the camera, y above the ground, z (depth) ahead. Fractions are in 256ths.

Shading is deferred: painters store colour, shade and sunlight per pixel. `Canvas.render_photo` then computes lighting,
haze, lens blur, vignetting and sensor noise for all pixels at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hdtrans.common.hashing import GOLDEN_GAMMA, MASK_64, mix64

Colour = tuple[int, int, int]
Array = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Number = Array | int
Choice = TypeVar("Choice")
NEUTRAL = 256  # shade that keeps the colour
GLOW = 257  # sunlight value of light sources: sky, lamps, lit windows
OUTSIDE = -9999  # height assigned to pixels outside a plane
GLASS = (104, 124, 142)
LAMPLIGHT = (255, 206, 128)


class Label(IntEnum):
    """Classes of a toy street scene; the value is the id in the label map."""

    SKY = 0
    HILL = 1
    BUILDING = 2
    WINDOW = 3
    DOOR = 4
    ROOF = 5
    ROAD = 6
    MARKING = 7
    SIDEWALK = 8
    GRASS = 9
    CAR = 10
    CAR_WINDOW = 11
    WHEEL = 12
    CAR_LIGHT = 13
    TREE = 14
    TRUNK = 15
    PERSON = 16
    POLE = 17
    SIGN = 18


GROUND = (Label.ROAD, Label.MARKING, Label.SIDEWALK, Label.GRASS)


class SplitMix64:
    """Integer random numbers from SplitMix64 (Steele et al., 2014); equal keys give equal numbers on every machine."""

    def __init__(self, *keys: int) -> None:
        self._state = 0
        for key in keys:
            self._state = (self._state ^ key) & MASK_64
            self._state = self._draw()

    def _draw(self) -> int:
        self._state = (self._state + GOLDEN_GAMMA) & MASK_64
        return mix64(self._state)

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + self._draw() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True with a probability of `percent` / 100."""
        return self._draw() % 100 < percent

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Return a random element of `choices`."""
        return choices[self._draw() % len(choices)]

    def seed(self) -> int:
        """Return a 31-bit seed for `hash_integers`, `noise` or another `SplitMix64`."""
        return self._draw() >> 33


def hash_integers(*keys: Number) -> npt.NDArray[np.uint32]:
    """Hash integers, broadcast against each other, to uint32; put the smallest arrays first, for speed."""
    state = np.full(1, 0x9E37_79B9, np.uint32)
    for key in keys:
        state = (state ^ np.asarray(key).astype(np.uint32)) * np.uint32(0x7FEB_352D)
        state ^= state >> np.uint32(15)
        state *= np.uint32(0x846C_A68B)
        state ^= state >> np.uint32(16)
    return state


def noise(x: Array, y: Array, cell: int, seed: int) -> Array:
    """Return value noise, int32 in [0, 255]: hashes on a lattice of `cell` units, smoothly interpolated."""
    column, row = x // cell, y // cell
    right, down = _ease((x - column * cell) * 256 // cell), _ease((y - row * cell) * 256 // cell)

    def edge(row: Array) -> Array:
        left = (hash_integers(seed, column, row) >> np.uint32(24)).astype(np.int32)
        return (left << 8) + ((hash_integers(seed, column + 1, row) >> np.uint32(24)).astype(np.int32) - left) * right

    upper, lower = edge(row), edge(row + 1)
    mixed: Array = ((upper << 8) + (lower - upper) * down) >> 16
    return mixed


def _ease(weight: Array) -> Array:
    return weight * weight * (768 - 2 * weight) >> 16


def fractal(x: Array, y: Array, cell: int, seed: int, octaves: int = 3) -> Array:
    """Return fractal noise in [0, 255]: each octave has half the cell and half the amplitude of the previous one."""
    total = noise(x, y, cell, seed) << (octaves - 1)
    for octave in range(1, octaves):
        total = total + (noise(x, y, max(1, cell >> octave), seed + octave) << (octaves - 1 - octave))
    return total // ((1 << octaves) - 1)


def ellipse(x: Array, y: Array, half_width: Number, half_height: Number) -> Array:
    """Return the squared distance from an ellipse's centre, scaled to 65536 on its outline."""
    across, up = np.clip(x * 256 // half_width, -9999, 9999), np.clip(y * 256 // half_height, -9999, 9999)
    squared: Array = across * across + up * up
    return squared


def blend(first: Number, second: Number, amount: Number) -> Number:
    """Interpolate linearly between two values; amount 0 gives the first, 256 the second."""
    return first + ((second - first) * amount >> 8)


@dataclass(frozen=True)
class Light:
    """Light of a time of day; sky colours are RGB in [0, 255], ambient and sun are RGB factors in 256ths."""

    zenith: Colour
    horizon: Colour
    cloud: Colour
    cloud_floor: int  # threshold of cloud noise, in [0, 255]
    ambient: Colour
    sun: Colour
    haze: int  # fading per distance
    lit_windows: int  # percent
    side: int = 1  # side of the sun: right (1) or left (-1) of the street
    slope: int = 256  # shadow length in 256ths of the caster's height; 0 for no hard shadows


@dataclass(frozen=True)
class View:
    """Rectangle of pixels with the point of a street plane seen by each pixel."""

    rows: slice
    columns: slice
    across: Array  # centimetres along the plane, broadcastable to the rectangle
    up: Array  # centimetres above the ground, broadcastable to the rectangle
    depth: Number  # centimetres from the camera, broadcastable to the rectangle
    footprint: Number  # centimetres of the plane per pixel, broadcastable to the rectangle


class Canvas:
    """Per-pixel buffers (class, instance, colour, shade, sunlight, depth) of a camera in the street."""

    def __init__(self, height: int, width: int, horizon: int, centre: int, eye: int, light: Light) -> None:
        """Create an empty canvas.

        Args:
            height, width: picture size in pixels.
            horizon: row of the horizon.
            centre: column straight ahead.
            eye: camera height above the ground in centimetres.
            light: time of day.
        """
        self.height, self.width, self.light = height, width, light
        self.horizon, self.centre, self.eye = horizon, centre, eye
        self.focal = 3 * min(4 * height, 3 * width) // 10  # pixels; 1.2 times the height of a wide picture
        self.label = np.zeros((height, width), np.uint8)
        self.owner = np.zeros((height, width), np.int32)
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.shade = np.full((height, width), NEUTRAL, np.int32)
        self.sun = np.full((height, width), GLOW, np.int32)
        self.depth = np.zeros((height, width), np.int32)

    def across_pixels(self, first: int = 0, last: int | None = None) -> Array:
        """Return (1, W) int32: twice the distance of pixel centres from column `centre`; odd, never zero."""
        columns = np.arange(first, self.width if last is None else last, dtype=np.int32)
        return (2 * (columns - self.centre) + 1)[None, :]

    def down_pixels(self, first: int = 0, last: int | None = None) -> Array:
        """Return (H, 1) int32: twice the distance of pixel centres below the horizon; odd, never zero."""
        rows = np.arange(first, self.height if last is None else last, dtype=np.int32)
        return (2 * (rows - self.horizon) + 1)[:, None]

    def frontal(self, depth: int, left: int, right: int, top: int, bottom: int = 0) -> View | None:
        """Return the view of a rectangle facing the camera, or None if it is outside the picture."""
        columns = self._columns(left, right, depth, depth)
        rows = self._span(self._row(top, depth), self._row(bottom, depth), self.height)
        if columns is None or rows is None:
            return None
        across = self.across_pixels(columns.start, columns.stop) * depth // (2 * self.focal)
        up = self.eye - self.down_pixels(rows.start, rows.stop) * depth // (2 * self.focal)
        return View(rows, columns, across, up, depth, depth // self.focal + 1)

    def lateral(self, x: int, near: int, far: int, top: int) -> View | None:
        """Return the view of a wall along the street from depth near to far (`across` is depth), or None if outside."""
        columns = self._columns(x, x, near, far)
        rows = self._span(self._row(top, near), self._row(0, near), self.height)
        if x == 0 or columns is None or rows is None:
            return None
        pixels = self.across_pixels(columns.start, columns.stop)
        side = pixels * x > 0
        depth = np.where(side, 2 * self.focal * abs(x) // np.abs(pixels), far + 1)
        up = self.eye - self.down_pixels(rows.start, rows.stop) * np.minimum(depth, far) // (2 * self.focal)
        return View(rows, columns, depth, up, depth, depth * depth // (self.focal * abs(x)) + 1)

    def leaning(self, near: tuple[int, int], far: tuple[int, int], left: int, right: int) -> View | None:
        """Return the view of a rectangle that leans away from the camera or is flat, or None if outside.

        Args:
            near, far: (depth, height) of its near and far edge.
            left, right: range of x; `across` of the view is x.
        """
        (near_depth, base), (far_depth, top) = near, far
        length, rise = far_depth - near_depth, top - base
        columns = self._columns(left, right, near_depth, far_depth)
        upper, lower = sorted((self._row(top, far_depth), self._row(base, near_depth)))
        rows = self._span(upper, lower, self.height)
        if columns is None or rows is None:
            return None
        down = self.down_pixels(rows.start, rows.stop).astype(np.int64)
        slope = rise * 2 * self.focal + down * length
        step = ((self.eye - base) * 2 * self.focal - down * near_depth) * 1024 // np.where(slope > 0, slope, 1)
        inside = (slope > 0) & (step >= 0) & (step < 1024)
        inside[:-1] |= inside[1:]  # one more row closes the seam to the surface above
        step = np.clip(step, 0, 1023).astype(np.int32)
        depth = near_depth + (step * length >> 10)
        up = np.where(inside, base + (step * rise >> 10), OUTSIDE)
        across = self.across_pixels(columns.start, columns.stop) * depth // (2 * self.focal)
        return View(rows, columns, across, up, depth, near_depth // self.focal + 1)

    def paint(
        self,
        view: View,
        mask: Mask,
        label: Label,
        colour: Colour | Array,
        shade: Number = NEUTRAL,
        sun: Number | None = None,
        owner: int | None = None,
    ) -> None:
        """Paint the masked pixels of a view; buffers whose value is None keep their content.

        Args:
            view: rectangle of pixels.
            mask: pixels to paint, broadcastable to the rectangle.
            label: class.
            colour: RGB in [0, 255], one or per pixel.
            shade: factor in 256ths.
            sun: sunlight in [0, 256], or `GLOW`.
            owner: index of the object in the list of things, from 1; required for classes with instances.
        """
        mask = np.broadcast_to(mask, (view.rows.stop - view.rows.start, view.columns.stop - view.columns.start))
        window = (view.rows, view.columns)
        self.label[window][mask] = label
        np.copyto(self.colour[window], np.asarray(colour, np.uint8), where=mask[..., None])
        for plane, value in ((self.shade, shade), (self.sun, sun), (self.owner, owner), (self.depth, view.depth)):
            if value is not None:
                np.copyto(plane[window], value, where=mask, casting="same_kind")

    def cast_shadow(self, x: int, z: int, half_width: int, half_depth: int, darkness: int) -> None:
        """Darken the ground in a soft ellipse; `darkness` is in 256ths at its centre."""
        rows = self._span(self._row(0, z + half_depth), self._row(0, max(z - half_depth, 50)), self.height)
        if rows is None or rows.stop <= self.horizon + 1:
            return
        first = max(rows.start, self.horizon + 1)
        depth = self.ground_depth(first, rows.stop)
        columns = self._columns(x - half_width, x + half_width, int(depth[-1, 0]), int(depth[0, 0]))
        if columns is None:
            return
        across = self.across_pixels(columns.start, columns.stop) * depth // (2 * self.focal)
        inside = np.maximum(65536 - ellipse(across - x, depth - z, half_width, half_depth), 0)
        window = (slice(first, rows.stop), columns)
        inside = np.where(np.isin(self.label[window], GROUND), np.minimum(inside, 32768), 0)
        self.shade[window] = self.shade[window] * (256 - (inside >> 7) * darkness // 256) >> 8

    def ground_depth(self, first: int, last: int) -> Array:
        """Return (H, 1) int32: ground depth of the rows first to last, all below the horizon."""
        return np.minimum(2 * self.focal * self.eye // self.down_pixels(first, last), 60_000)

    def render_photo(self, seed: int) -> npt.NDArray[np.uint8]:
        """Render the photo, (H, W, 3) uint8 RGB: lighting, haze, lens blur, vignetting and sensor noise."""
        ambient, sun = np.array(self.light.ambient, np.int32), np.array(self.light.sun, np.int32)
        steps = np.arange(257, dtype=np.int32)[:, None]
        factors = np.concatenate([blend(ambient, sun, steps), np.full((1, 3), NEUTRAL, np.int32)])
        photo = self.colour * np.take(factors, self.sun, axis=0) >> 8
        photo = photo * self.shade[..., None] >> 8
        fade = np.minimum(self.depth * self.light.haze >> 12, 190)[..., None]
        photo = blend(photo, np.array(self.light.horizon, np.int32), fade)
        photo = _soften(_soften(np.minimum(photo, 255), 0), 1)
        across, down = self.across_pixels() * 256 // self.width, self.down_pixels() * 256 // self.height
        photo = photo * (256 - ((across * across + down * down) * 40 >> 17))[..., None] >> 8
        photo_bytes: npt.NDArray[np.uint8] = np.clip(photo + self._sensor_noise(seed), 0, 255).astype(np.uint8)
        return photo_bytes

    def _sensor_noise(self, seed: int) -> Array:
        columns, rows = np.arange(self.width, dtype=np.int32), np.arange(self.height, dtype=np.int32)
        hashes = hash_integers(seed, columns[None, :], rows[:, None])
        parts = [((hashes >> np.uint32(shift)) & np.uint32(7)).astype(np.int32) for shift in (0, 3, 6, 9, 12)]
        grey = parts[0] + parts[1] - 7
        return np.stack([grey + (part >> 1) - 2 for part in parts[2:]], axis=-1) >> 1

    def _row(self, y: int, depth: int) -> int:
        return self.horizon - self.focal * (y - self.eye) // depth

    def _columns(self, left: int, right: int, near: int, far: int) -> slice | None:
        """Return the columns of x = left to right at the depths near and far, or None if outside."""
        first = min(self.focal * left // depth for depth in (near, far))
        last = max(self.focal * right // depth for depth in (near, far))
        return self._span(self.centre + first, self.centre + last, self.width)

    @staticmethod
    def _span(first: int, last: int, limit: int) -> slice | None:
        """Return the pixels from first to last with a margin of one, within [0, limit), or None if empty."""
        first, last = max(first - 1, 0), min(last + 2, limit)
        return slice(first, last) if first < last else None


def _soften(photo: Array, axis: int) -> Array:
    """Blur an (H, W, 3) picture along one axis with the weights 1, 6, 1."""
    padding = [(1, 1) if each == axis else (0, 0) for each in range(3)]
    padded = np.pad(photo, padding, mode="edge")
    size = photo.shape[axis]
    before, after = np.take(padded, range(size), axis), np.take(padded, range(2, size + 2), axis)
    softened: Array = (before + 6 * photo + after) >> 3
    return softened
