"""Paint the static parts of a toy street: sky and clouds, hills, ground with markings, buildings.

Lengths are in centimetres, fractions in 256ths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hdtrans.toycity.canvas import (
    GLASS,
    GLOW,
    LAMPLIGHT,
    Array,
    Canvas,
    Colour,
    Label,
    Light,
    Mask,
    SplitMix64,
    View,
    blend,
    fractal,
    hash_integers,
    noise,
)

SHOP_PAINTS = ((170, 40, 44), (28, 86, 138), (32, 110, 76), (222, 170, 46), (70, 54, 96), (196, 96, 40))
DOOR_PAINTS = ((92, 54, 34), (40, 78, 64), (120, 34, 34), (44, 56, 88))
DEEP = 1000  # building depth, away from the street
STOREY, GROUND_FLOOR, EAVES = 310, 360, 50

NOON = Light((84, 138, 208), (194, 214, 230), (250, 250, 250), 126, (138, 150, 176), (282, 276, 262), 70, 0)
EVENING = Light((92, 112, 172), (250, 190, 136), (255, 208, 176), 122, (140, 134, 158), (296, 236, 178), 90, 36)
OVERCAST = Light((166, 176, 188), (212, 216, 220), (226, 228, 232), 96, (222, 228, 234), (236, 238, 240), 130, 10)
LIGHTS = (NOON, NOON, NOON, EVENING, OVERCAST)


@dataclass(frozen=True)
class Material:
    """Wall material with its window style."""

    colours: tuple[Colour, ...]
    block: tuple[int, int]  # width and height of a brick, slab or stone
    joint: int  # height of a joint
    contrast: int  # shade variation between blocks, in 256ths
    bay: int  # smallest distance between window centres
    window: tuple[int, int]  # width and height
    frame: Colour
    roof: int  # height; 0 for a flat roof
    shutters: bool = False


BRICK = Material(((152, 92, 74), (132, 78, 66), (164, 108, 84)), (52, 20), 4, 52, 250, (104, 180), (232, 228, 218), 230)
PLASTER = Material(
    ((226, 202, 158), (216, 172, 128), (208, 210, 196), (196, 168, 150), (222, 190, 112)),
    (4000, 4000), 0, 12, 300, (116, 156), (244, 242, 236), 190, shutters=True,
)  # fmt: skip
CONCRETE = Material(
    ((168, 168, 164), (150, 154, 158), (184, 178, 168)), (330, 160), 5, 26, 340, (250, 150), (70, 74, 80), 0
)
STONE = Material(((190, 178, 152), (176, 166, 148)), (110, 50), 4, 34, 290, (120, 200), (96, 74, 58), 260)
MATERIALS = (BRICK, PLASTER, PLASTER, CONCRETE, STONE)


@dataclass(frozen=True)
class Building:
    """A building beside the street or at its end.

    Beside the street, its wall is at x = `plane` and starts at depth `near`. At the end of the street, the wall is at
    depth `near` and starts at x = `plane`, to the right.
    """

    near: int
    length: int
    plane: int
    storeys: int
    material: Material
    seed: int

    @property
    def far(self) -> int:
        """Far depth of a building beside the street."""
        return self.near + self.length

    @property
    def height(self) -> int:
        """Wall height without the roof."""
        return GROUND_FLOOR + self.storeys * STOREY + EAVES


@dataclass(frozen=True)
class Street:
    """Plan of a street straight ahead; x is relative to the camera, distances to the road's centre line."""

    centre: int  # x of the centre line
    half_road: int  # half the road width
    lanes: tuple[int, ...]  # distances of the lane centres, equal on both sides
    parking: int  # distance of parked cars; 0 for none
    sidewalk: int  # sidewalk width
    end: int  # depth of the buildings at the end; 0 for an open street
    zebra: int  # depth of a zebra crossing; 0 for none
    buildings: tuple[Building, ...]  # beside the street
    closing: tuple[Building, ...]  # at the end
    seed: int

    @property
    def junction(self) -> tuple[int, int]:
        """Near and far depth of the crossing road in front of the end."""
        return (self.end - 1500, self.end - 450) if self.end else (1 << 20, 1 << 20)


def paint_sky(canvas: Canvas, seed: int) -> None:
    """Paint the sky: a gradient, and noise clouds on a plane high above the street."""
    light, rows = canvas.light, max(canvas.horizon, 1)
    rise = np.maximum(-canvas.down_pixels(0, rows), 1) * 512 // canvas.focal  # 1024 at 45 degrees
    fraction = np.minimum(rise * 3 // 4, 256)[..., None]
    sky = blend(np.array(light.horizon, np.int32), np.array(light.zenith, np.int32), fraction)
    distance = 400_000 // (rise + 110)
    x, z = canvas.across_pixels() * 512 // canvas.focal * distance >> 9, distance * 4
    thickness = fractal(x + 50_000, z, 2200, seed, 4)
    cover = np.clip((thickness - light.cloud_floor) * 7, 0, 250)[..., None]
    belly = 268 - np.clip(thickness - light.cloud_floor, 0, 80)[..., None] * 3 // 4
    cloud = np.minimum(np.array(light.cloud, np.int32) * belly >> 8, 255)
    canvas.colour[:] = light.horizon
    canvas.colour[:rows] = blend(sky, cloud, cover * np.minimum(rise + 60, 256)[..., None] >> 8)


def paint_hills(canvas: Canvas, seed: int) -> None:
    """Paint two ranges of wooded hills."""
    angle = canvas.across_pixels() * 512 // canvas.focal
    for depth, low, high, colour in ((9_000, 30, 150, (84, 112, 96)), (5_000, 6, 84, (78, 108, 62))):
        crest = low + (high - low) * fractal(angle + 9000, np.zeros_like(angle), 420, seed + depth, 3) // 256
        first = max(canvas.horizon - canvas.focal * high // 1024 - 1, 0)
        rise = -canvas.down_pixels(first, canvas.horizon) * 512 // canvas.focal
        view = View(slice(first, max(canvas.horizon, first)), slice(0, canvas.width), angle, rise, depth, 1)
        woods = 224 + (fractal(angle, rise * 2, 24, seed, 2) - 128) * 3 // 4
        canvas.paint(view, rise < crest, Label.HILL, colour, woods, 190)


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Paint road, sidewalks and grass up to the horizon, with building shadows."""
    depth = canvas.ground_depth(canvas.horizon, canvas.height)
    x = canvas.across_pixels() * depth // (2 * canvas.focal) - street.centre
    footprint = depth // canvas.focal + 1
    view = View(slice(canvas.horizon, canvas.height), slice(0, canvas.width), x, depth, depth, footprint)
    side, (crossing, pavement) = np.abs(x), street.junction
    across = (depth >= crossing) & (depth < pavement)
    road = (side < street.half_road) | across
    sidewalk = (side < street.half_road + street.sidewalk) | (depth >= crossing - street.sidewalk)
    sun = _ground_sun(canvas, street, x, depth)
    strength = 10 * 256 // (10 + footprint)  # fade distant texture, which would alias
    fine, patches = noise(x, depth, 7, street.seed) - 128, fractal(x, depth, 330, street.seed + 1, 3) - 128
    grass = 240 + patches // 3 + ((noise(x, depth // 2, 9, street.seed + 2) - 128) * strength >> 9)
    canvas.paint(view, ~(road | sidewalk), Label.GRASS, (96, 128, 58), grass, sun)
    canvas.paint(
        view, sidewalk & ~road, Label.SIDEWALK, (172, 166, 158), _paving(street, x, depth, footprint, patches), sun
    )
    tracks = np.where(np.abs(side % 340 - 170) // 8 == 9, -10, 0)
    asphalt = 244 + patches // 5 + tracks + (fine * strength >> 10)
    canvas.paint(view, road, Label.ROAD, (104, 104, 108), asphalt, sun)
    worn = 250 + patches // 4 + (fine * strength >> 10)
    canvas.paint(
        view, road & ~across & _markings(street, x, depth, footprint), Label.MARKING, (232, 230, 220), worn, sun
    )


def _paving(street: Street, x: Array, depth: Array, footprint: Array, patches: Array) -> Array:
    """Return the sidewalk's shade: slabs with joints, and a pale kerb."""
    row, column = depth // 70, x // 70
    tone = (hash_integers(street.seed, row, column) & np.uint32(31)).astype(np.int32)
    joints = ((depth - row * 70 < 5) | (x - column * 70 < 5)) & (footprint < 20)
    slabs = np.where(joints, 196, 232 + tone) + patches // 5
    kerb = np.abs(np.abs(x) - street.half_road) < 18
    return np.where(kerb, 290, np.where(footprint < 60, slabs, 244))


def _markings(street: Street, x: Array, depth: Array, footprint: Array) -> Mask:
    """Return the mask of white road markings: lines, zebra crossing and stop line."""
    side, thin = np.abs(x), np.maximum(footprint // 2, 8)
    lines: Mask = np.abs(side - street.half_road + 40) < thin
    for line in (0, *((inner + outer) // 2 for inner, outer in pairwise(street.lanes))):
        lines = lines | (np.abs(side - line) < thin) & (depth % 900 < 420)
    lines = lines & (depth < 9000)
    if not street.zebra:
        return lines
    stripes = (
        (depth >= street.zebra) & (depth < street.zebra + 340) & (side < street.half_road - 30) & (side % 110 < 58)
    )
    stop = (depth >= street.zebra - 150) & (depth < street.zebra - 100) & (x > 10) & (side < street.half_road - 30)
    return lines & ((depth < street.zebra - 100) | (depth > street.zebra + 400)) | stripes | stop


def _ground_sun(canvas: Canvas, street: Street, x: Array, depth: Array) -> Array:
    """Return the sunlight on the ground, in [30, 256], with building shadows."""
    side, light = canvas.light.side, canvas.light
    edge = np.full_like(depth, 1 << 20)  # distance from the centre line where shadow begins
    for building in street.buildings:
        if building.plane * side > 0 and light.slope:
            within = (depth >= building.near) & (depth < building.far)
            wall = (building.plane - street.centre) * side
            edge = np.where(within, wall - (building.height * light.slope >> 8), edge)
    sun: Array = np.clip(256 - (x * side - edge) * 3, 30, 256)
    return sun


def paint_building(canvas: Canvas, building: Building) -> None:
    """Paint a building beside the street: the wall facing the camera, then the one along the street."""
    side = 1 if building.plane > 0 else -1
    top = building.height + building.material.roof + 90
    overlap = building.near // canvas.focal + 1  # closes the seam between the two walls
    inner, outer = abs(building.plane) - overlap, abs(building.plane) + DEEP
    left, right = sorted((inner * side, outer * side))
    view = canvas.frontal(building.near, left, right, top)
    if view is not None:
        paint_wall(canvas, replace(view, across=view.across * side - inner), building, DEEP, 130)
    view = canvas.lateral(building.plane, building.near, building.far, top)
    if view is not None:
        sun = 250 if building.plane * canvas.light.side < 0 else 20
        paint_wall(canvas, replace(view, across=view.across - building.near), building, building.length, sun)


def paint_closing_building(canvas: Canvas, building: Building) -> None:
    """Paint a building at the end of the street, facing the camera."""
    left, right = building.plane, building.plane + building.length
    view = canvas.frontal(building.near, left, right, building.height + building.material.roof + 90)
    if view is not None:
        paint_wall(canvas, replace(view, across=view.across - left), building, building.length, 160)


def paint_wall(canvas: Canvas, view: View, building: Building, length: int, sun: int) -> None:
    """Paint one wall of a building; `view.across` is in [0, length) on the wall."""
    rng, material = SplitMix64(building.seed), building.material
    colour, shop = rng.pick(material.colours), rng.chance(45)
    along, up = view.across, view.up
    inside = (along >= 0) & (along < length) & (up >= 0)
    wall = inside & (up < building.height)
    shade = _masonry(view, material, building.seed)
    shade = np.where((up < 70) | (building.height - up < EAVES), shade * 3 >> 2, shade)
    shade = np.where((up - GROUND_FLOOR) % STOREY < 14, shade * 9 >> 3, shade)
    canvas.paint(view, wall, Label.BUILDING, colour, shade - np.maximum(40 - along, 0), sun)
    if material.roof:
        _paint_roof(canvas, view, building, inside, sun)
    bays = max(1, length // material.bay)
    bay = length // bays
    sharp = view.footprint * 4 < material.window[0]
    _paint_windows(canvas, view, building, wall & sharp & (along < bay * bays), bay)
    _paint_ground_floor(canvas, view, building, wall & sharp & (along < bay * bays), bay, shop)


def _masonry(view: View, material: Material, seed: int) -> Array:
    """Return a wall's shade: rows of blocks with joints where the resolution suffices, and stains."""
    width, height = material.block
    course = view.up // height
    shifted = view.across + (course & 1) * (width // 2)
    tone = (hash_integers(seed, course, shifted // width) & np.uint32(255)).astype(np.int32)
    blocks = np.where(view.up - course * height < material.joint, 218, 256 + ((tone - 128) * material.contrast >> 8))
    stains = fractal(view.across, view.up, 260, seed, 2) - 128
    return np.where(view.footprint < height, blocks, 252) + stains * 40 // 128


def _paint_roof(canvas: Canvas, view: View, building: Building, inside: Mask, sun: int) -> None:
    """Paint a tiled roof with chimneys above a wall."""
    rng = SplitMix64(building.seed, 1)
    colour = rng.pick(((122, 62, 48), (98, 60, 52), (82, 84, 92)))
    above, roof = view.up - building.height, building.material.roof
    chimney = (view.across + rng.between(0, 500)) % 760 < 70
    row = above // 24
    tiles = (hash_integers(building.seed, row, (view.across + (row & 1) * 14) // 28) & np.uint32(31)).astype(np.int32)
    shade = 210 + above * 40 // roof + np.where(view.footprint < 20, tiles, 16)
    canvas.paint(view, inside & chimney & (above >= 0) & (above < roof + 80), Label.ROOF, (140, 84, 68), 230, sun)
    canvas.paint(view, inside & (above >= 0) & (above < roof), Label.ROOF, colour, shade, sun)


def _paint_windows(canvas: Canvas, view: View, building: Building, wall: Mask, bay: int) -> None:
    """Paint the windows of the upper storeys, one per bay."""
    material = building.material
    width, height = material.window
    storey = (view.up - GROUND_FLOOR) // STOREY
    index = view.across // bay
    u, v = view.across - index * bay - bay // 2, view.up - GROUND_FLOOR - storey * STOREY - 80
    wall = wall & (storey >= 0) & (storey < building.storeys)
    side = np.abs(u)
    if material.shutters:
        slats = np.where(v % 14 < 4, 190, 256)
        paint = SplitMix64(building.seed, 2).pick(((74, 104, 84), (104, 70, 56), (88, 110, 132), (150, 60, 50)))
        canvas.paint(view, wall & (side < width // 2 + 38) & (v >= 0) & (v < height), Label.BUILDING, paint, slats)
    canvas.paint(view, wall & (side < width // 2 + 14) & (v >= -14) & (v < 0), Label.BUILDING, material.frame, 224)
    opening = wall & (side < width // 2) & (v >= 0) & (v < height)
    _paint_glass(
        canvas, view, opening, u, v, width, height, material.frame, hash_integers(building.seed, index, storey)
    )


def _paint_glass(
    canvas: Canvas, view: View, opening: Mask, u: Array, v: Array,
    width: int, height: int, frame: Colour, hashes: npt.NDArray[np.uint32],
) -> None:  # fmt: skip
    """Paint window panes: reflected sky, a bright streak, curtains; some rooms are lit."""
    draw = (hashes & np.uint32(0xFFFF)).astype(np.int32)
    lit = opening & (draw % 100 < canvas.light.lit_windows)
    streak = np.where((u + v + draw) % 150 < 36, 34, 0)
    shade = 116 + v * 150 // height + streak + (draw >> 11)
    curtain = (draw & 0x300 == 0) & (np.abs(u) > width // 4)
    canvas.paint(view, opening, Label.WINDOW, GLASS, shade)
    canvas.paint(view, opening & curtain, Label.WINDOW, (206, 200, 188), 150 + shade // 4)
    canvas.paint(view, lit, Label.WINDOW, LAMPLIGHT, 170 + v * 80 // height - np.where(curtain, 40, 0), GLOW)
    edge = (width // 2 - np.abs(u) < 9) | (v < 9) | (height - v <= 9) | (np.abs(u) < 5)
    canvas.paint(view, opening & edge & (view.footprint < 14), Label.WINDOW, frame, 240)


def _paint_ground_floor(canvas: Canvas, view: View, building: Building, wall: Mask, bay: int, shop: bool) -> None:
    """Paint doors, and shop windows with a sign board (`shop`) or low windows."""
    rng = SplitMix64(building.seed, 3)
    index = view.across // bay
    u, up = view.across - index * bay - bay // 2, view.up
    side = np.abs(u)
    entrance = index % 4 == rng.between(0, 3)
    hashes = hash_integers(building.seed, index, 77)
    if shop:
        board = rng.pick(SHOP_PAINTS)
        letters = (
            (hash_integers(building.seed, view.across // 18) & np.uint32(3) > 0)
            & (np.abs(up - 302) < 14)
            & (view.across % 18 < 13)
        )
        canvas.paint(view, wall & (up >= 272) & (up < 332), Label.SIGN, board, 236)
        canvas.paint(view, wall & letters & (view.footprint < 10), Label.SIGN, (240, 236, 222), 250)
        pane = wall & ~entrance & (side < bay // 2 - 16) & (up >= 56) & (up < 262)
        _paint_glass(canvas, view, pane, u, up - 56, bay - 32, 206, board, hashes)
    else:
        width, height = building.material.window
        pane = wall & ~entrance & (side < width // 2) & (up >= 110) & (up < 110 + height)
        _paint_glass(canvas, view, pane, u, up - 110, width, height, building.material.frame, hashes)
    door = wall & entrance & (side < 58) & (up < 226)
    panels = np.where((side % 30 < 5) | (up % 70 < 7), 180, 250)
    canvas.paint(view, door, Label.DOOR, rng.pick(DOOR_PAINTS), panels)
    canvas.paint(view, door & (side < 40) & (up > 150) & (up < 210), Label.DOOR, GLASS, 130 + up // 3)
