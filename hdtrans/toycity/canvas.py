"""Hold the integer tools of the toy street scenes: hash noise, dice, the light and a canvas with its camera.

Every number here is an integer, so that a scene has the same pixels on every machine. Lengths of the street are in
centimetres: x to the right of the camera, y above the ground, z (the depth) ahead of it. Fractions are in 256ths.
Painting and lighting are apart: painters note what a pixel shows (colour, shade, how much sun), `Canvas.develop` lights
all pixels at once and adds the haze, the lens and the sensor's noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Array = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Number = Array | int
Choice = TypeVar("Choice")
NEUTRAL = 256  # a shade that leaves a colour as it is
GLOW = 257  # the amount of sun of what shines by itself: the sky, lamps, lit windows
OUTSIDE = -9999  # the height given to pixels that see nothing of a plane
GLASS = (104, 124, 142)
LAMPLIGHT = (255, 206, 128)


class Label(IntEnum):
    """Name the classes of a toy street scene; the number is the value in the label map."""

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


class Dice:
    """Draw integers from a 64-bit counter hash (splitmix64); the same keys give the same draws everywhere."""

    def __init__(self, *keys: int) -> None:
        self._state = 0
        for key in keys:
            self._state = (self._state ^ key) & 0xFFFF_FFFF_FFFF_FFFF
            self._state = self._draw()

    def _draw(self) -> int:
        self._state = (self._state + 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
        value = self._state
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9 & 0xFFFF_FFFF_FFFF_FFFF
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB & 0xFFFF_FFFF_FFFF_FFFF
        return value ^ (value >> 31)

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + self._draw() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of a hundred draws."""
        return self._draw() % 100 < percent

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Return one of the choices."""
        return choices[self._draw() % len(choices)]

    def seed(self) -> int:
        """Return a 31-bit seed for `scramble`, `noise` or another `Dice`."""
        return self._draw() >> 33


def scramble(*keys: Number) -> npt.NDArray[np.uint32]:
    """Mix integers, broadcast against each other, into uint32 hashes; put the smallest arrays first, for speed."""
    state = np.full(1, 0x9E37_79B9, np.uint32)
    for key in keys:
        state = (state ^ np.asarray(key).astype(np.uint32)) * np.uint32(0x7FEB_352D)
        state ^= state >> np.uint32(15)
        state *= np.uint32(0x846C_A68B)
        state ^= state >> np.uint32(16)
    return state


def noise(x: Array, y: Array, cell: int, seed: int) -> Array:
    """Return smooth noise in [0, 255], int32: hashes on a lattice of `cell` units, interpolated between its points."""
    column, row = x // cell, y // cell
    right, down = _ease((x - column * cell) * 256 // cell), _ease((y - row * cell) * 256 // cell)

    def edge(row: Array) -> Array:
        left = (scramble(seed, column, row) >> np.uint32(24)).astype(np.int32)
        return (left << 8) + ((scramble(seed, column + 1, row) >> np.uint32(24)).astype(np.int32) - left) * right

    upper, lower = edge(row), edge(row + 1)
    mixed: Array = ((upper << 8) + (lower - upper) * down) >> 16
    return mixed


def _ease(weight: Array) -> Array:
    return weight * weight * (768 - 2 * weight) >> 16


def fractal(x: Array, y: Array, cell: int, seed: int, octaves: int = 3) -> Array:
    """Return noise in [0, 255] whose every further octave has half the cell and half the strength."""
    total = noise(x, y, cell, seed) << (octaves - 1)
    for octave in range(1, octaves):
        total = total + (noise(x, y, max(1, cell >> octave), seed + octave) << (octaves - 1 - octave))
    return total // ((1 << octaves) - 1)


def ellipse(x: Array, y: Array, half_width: Number, half_height: Number) -> Array:
    """Return the squared distance from an ellipse's centre, scaled so that its outline is at 65536."""
    across, up = np.clip(x * 256 // half_width, -9999, 9999), np.clip(y * 256 // half_height, -9999, 9999)
    squared: Array = across * across + up * up
    return squared


def blend(first: Number, second: Number, amount: Number) -> Number:
    """Mix two values; amount 0 gives the first and 256 the second."""
    return first + ((second - first) * amount >> 8)


@dataclass(frozen=True)
class Light:
    """Describe a time of day. Colours of the sky are RGB in [0, 255]; ambient and sun are factors in 256ths."""

    zenith: Colour
    horizon: Colour
    cloud: Colour
    cloud_floor: int  # clouds show where noise in [0, 255] exceeds it
    ambient: Colour
    sun: Colour
    haze: int  # how fast the distance fades
    lit_windows: int  # percent
    side: int = 1  # the sun is to the right (1) or to the left (-1) of the street
    slope: int = 256  # the length of a shadow in 256ths of its caster's height; 0 for no hard shadows


@dataclass(frozen=True)
class View:
    """Hold a rectangle of pixels with the place on a plane of the street that each of them sees."""

    rows: slice
    columns: slice
    across: Array  # centimetres along the plane, broadcastable to the rectangle
    up: Array  # centimetres above the ground, broadcastable to the rectangle
    depth: Number  # centimetres from the camera, broadcastable to the rectangle
    footprint: Number  # centimetres along the plane that one pixel covers, broadcastable to the rectangle


class Canvas:
    """Collect what every pixel shows, seen by a camera in the street, and develop it into a photo."""

    def __init__(self, height: int, width: int, horizon: int, centre: int, eye: int, light: Light) -> None:
        """Start an empty canvas.

        height, width, horizon (a row) and centre (the column straight ahead) are in pixels, eye is the camera's height
        above the ground in centimetres.
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
        """Return (1, W) int32: twice the distance of pixel centres from the column straight ahead; odd, never zero."""
        columns = np.arange(first, self.width if last is None else last, dtype=np.int32)
        return (2 * (columns - self.centre) + 1)[None, :]

    def down_pixels(self, first: int = 0, last: int | None = None) -> Array:
        """Return (H, 1) int32: twice the distance of pixel centres below the horizon; odd, never zero."""
        rows = np.arange(first, self.height if last is None else last, dtype=np.int32)
        return (2 * (rows - self.horizon) + 1)[:, None]

    def frontal(self, depth: int, left: int, right: int, top: int, bottom: int = 0) -> View | None:
        """Return the view of a rectangle that faces the camera, or None where the picture holds nothing of it."""
        columns = self._columns(left, right, depth, depth)
        rows = self._span(self._row(top, depth), self._row(bottom, depth), self.height)
        if columns is None or rows is None:
            return None
        across = self.across_pixels(columns.start, columns.stop) * depth // (2 * self.focal)
        up = self.eye - self.down_pixels(rows.start, rows.stop) * depth // (2 * self.focal)
        return View(rows, columns, across, up, depth, depth // self.focal + 1)

    def lateral(self, x: int, near: int, far: int, top: int) -> View | None:
        """Return the view of a wall along the street from depth near to depth far; `across` holds depths."""
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
        """Return the view of a rectangle from x = left to right that leans away from the camera, or lies flat.

        Its edges are at the (depth, height) near and far; `across` is x. None where the picture holds nothing of it.
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
        inside[:-1] |= inside[1:]  # one row more, so that no crack opens to the surface above
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
        """Paint the masked pixels of a view; what is None stays as it was (a detail of a wall keeps its light).

        The owner is the place of a counted thing in the list of things, from 1; no other label needs one.
        """
        mask = np.broadcast_to(mask, (view.rows.stop - view.rows.start, view.columns.stop - view.columns.start))
        place = (view.rows, view.columns)
        self.label[place][mask] = label
        np.copyto(self.colour[place], np.asarray(colour, np.uint8), where=mask[..., None])
        for plane, value in ((self.shade, shade), (self.sun, sun), (self.owner, owner), (self.depth, view.depth)):
            if value is not None:
                np.copyto(plane[place], value, where=mask, casting="same_kind")

    def cast_shadow(self, x: int, z: int, half_width: int, half_depth: int, darkness: int) -> None:
        """Darken the ground in a soft ellipse; darkness in 256ths at its middle."""
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
        place = (slice(first, rows.stop), columns)
        inside = np.where(np.isin(self.label[place], GROUND), np.minimum(inside, 32768), 0)
        self.shade[place] = self.shade[place] * (256 - (inside >> 7) * darkness // 256) >> 8

    def ground_depth(self, first: int, last: int) -> Array:
        """Return (H, 1) int32: the depth of the ground in rows first to last, all below the horizon."""
        return np.minimum(2 * self.focal * self.eye // self.down_pixels(first, last), 60_000)

    def develop(self, seed: int) -> npt.NDArray[np.uint8]:
        """Return the photo, (H, W, 3) uint8 RGB: light, haze, a soft lens that darkens corners, and sensor noise."""
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
        developed: npt.NDArray[np.uint8] = np.clip(photo + self._sensor_noise(seed), 0, 255).astype(np.uint8)
        return developed

    def _sensor_noise(self, seed: int) -> Array:
        columns, rows = np.arange(self.width, dtype=np.int32), np.arange(self.height, dtype=np.int32)
        hashes = scramble(seed, columns[None, :], rows[:, None])
        parts = [((hashes >> np.uint32(shift)) & np.uint32(7)).astype(np.int32) for shift in (0, 3, 6, 9, 12)]
        grey = parts[0] + parts[1] - 7
        return np.stack([grey + (part >> 1) - 2 for part in parts[2:]], axis=-1) >> 1

    def _row(self, y: int, depth: int) -> int:
        return self.horizon - self.focal * (y - self.eye) // depth

    def _columns(self, left: int, right: int, near: int, far: int) -> slice | None:
        """Return the columns that hold x = left to right at the depths near and far, or None."""
        first = min(self.focal * left // depth for depth in (near, far))
        last = max(self.focal * right // depth for depth in (near, far))
        return self._span(self.centre + first, self.centre + last, self.width)

    @staticmethod
    def _span(first: int, last: int, limit: int) -> slice | None:
        """Return the pixels from first to last and one around them, within [0, limit), or None."""
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
