"""Paint the objects of a toy street: cars, trees, persons, lamps and signs.

Each painter computes the masks of an object's parts for all pixels of a view at once. Lengths are in centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hdtrans.toycity.canvas import (
    GLASS,
    GLOW,
    LAMPLIGHT,
    NEUTRAL,
    Array,
    Canvas,
    Colour,
    Label,
    Mask,
    Number,
    SplitMix64,
    View,
    ellipse,
    fractal,
    noise,
)

CAR_PAINTS = (
    (186, 30, 34),
    (30, 66, 140),
    (226, 228, 230),
    (44, 46, 50),
    (150, 156, 162),
    (214, 160, 32),
    (36, 104, 70),
)
CAR_HALF_WIDTH, BONNET_DROP = 88, 22
RUBBER = (34, 34, 36)
METAL = (84, 90, 96)


@dataclass(frozen=True)
class Thing:
    """An object in the street.

    Attributes:
        kind: key of `PAINTERS`.
        x: distance to the right of the camera.
        depth: distance ahead of the camera.
        seed: seed of its appearance.
        facing: 1 ahead or right, -1 towards the camera or left.
        crossing: a car across the street instead of along it.
    """

    kind: str
    x: int
    depth: int
    seed: int
    facing: int = 1
    crossing: bool = False


@dataclass(frozen=True)
class CarShape:
    """Side outline of a car: a body, and a cabin with sloping ends."""

    length: int
    belt: int  # body height
    roof: int  # total height
    cabin: tuple[int, int]  # rear and front end of the cabin at belt height, from the car's rear
    slopes: tuple[int, int]  # inward lean of its rear and front end at roof height

    @property
    def profile(self) -> list[tuple[int, int]]:
        """Outline from rear to front as (distance from the rear, height above the ground)."""
        (rear, front), (rear_slope, front_slope) = self.cabin, self.slopes
        roof = [(rear + rear_slope, self.roof), (front - front_slope, self.roof)]
        return [(0, self.belt), (rear, self.belt), *roof, (front, self.belt), (self.length, self.belt - BONNET_DROP)]


SALOON = CarShape(440, 92, 143, (50, 330), (60, 90))
HATCHBACK = CarShape(390, 92, 148, (4, 300), (34, 84))
VAN = CarShape(500, 112, 212, (2, 450), (6, 60))
CAR_SHAPES = (SALOON, SALOON, HATCHBACK, HATCHBACK, VAN)


def paint_car(canvas: Canvas, thing: Thing, owner: int) -> None:
    """Paint a car: long side, top and near end in perspective; only the side if it crosses the street."""
    rng = SplitMix64(thing.seed)
    shape, colour = rng.pick(CAR_SHAPES), rng.pick(CAR_PAINTS)
    if thing.crossing:
        _paint_crossing_car(canvas, thing, shape, colour, owner)
        return
    near, far = thing.depth, thing.depth + shape.length
    canvas.cast_shadow(thing.x + 25 * -canvas.light.side, near + shape.length // 2, 150, shape.length * 2 // 3, 190)
    plane = thing.x - CAR_HALF_WIDTH if thing.x > 0 else thing.x + CAR_HALF_WIDTH
    if plane * thing.x > 0:
        view = canvas.lateral(plane, near, far, shape.roof)
        if view is not None:
            along = view.across - near if thing.facing > 0 else far - view.across
            sun = 230 if plane * canvas.light.side < 0 else 60
            _paint_car_side(canvas, view, along, shape, colour, sun, owner)
    _paint_car_top(canvas, thing, shape, colour, owner)
    view = canvas.frontal(near, thing.x - CAR_HALF_WIDTH, thing.x + CAR_HALF_WIDTH, shape.belt)
    if view is not None:
        _paint_car_end(canvas, replace(view, across=view.across - thing.x), shape, colour, thing.facing > 0, owner)


def _paint_car_top(canvas: Canvas, thing: Thing, shape: CarShape, colour: Colour, owner: int) -> None:
    """Paint the surfaces behind the near end: roof, leaning window, boot or bonnet."""
    profile = shape.profile if thing.facing > 0 else [(shape.length - along, up) for along, up in shape.profile[::-1]]
    edge, foot, brow, back = [(thing.depth + along, up) for along, up in profile[:4]]
    for near, far in ((brow, back), (foot, brow), (edge, foot)):
        view = canvas.leaning(near, far, thing.x - CAR_HALF_WIDTH, thing.x + CAR_HALF_WIDTH)
        if view is None:
            continue
        u, up = view.across - thing.x, view.up
        surface = (np.abs(u) < CAR_HALF_WIDTH + view.footprint) & (up >= 0)  # one more pixel closes the seam
        canvas.paint(view, surface, Label.CAR, colour, 276 if near[1] > shape.belt or near == edge else 230, 200, owner)
        if near == foot:
            pane = surface & (np.abs(u) < CAR_HALF_WIDTH - 10) & (up > near[1] + 5) & (up < far[1] - 7)
            shade = 100 + (up - near[1]) * 2 + np.where((u + up) % 110 < 26, 44, 0)
            canvas.paint(view, pane, Label.CAR_WINDOW, GLASS, shade, 160, owner)


def _paint_crossing_car(canvas: Canvas, thing: Thing, shape: CarShape, colour: Colour, owner: int) -> None:
    """Paint a car across the street, seen from its side."""
    half = shape.length // 2
    canvas.cast_shadow(thing.x, thing.depth + 60, half + 20, 150, 190)
    view = canvas.frontal(thing.depth, thing.x - half, thing.x + half, shape.roof)
    if view is not None:
        along = half + (view.across - thing.x) * thing.facing
        _paint_car_side(canvas, view, along, shape, colour, 150, owner)


def _paint_car_side(
    canvas: Canvas, view: View, along: Array, shape: CarShape, colour: Colour, sun: int, owner: int
) -> None:
    """Paint the long side of a car; `along` is the distance from its rear."""
    up = view.up
    rear, front = shape.cabin
    lean_rear, lean_front = ((up - shape.belt) * lean // (shape.roof - shape.belt) for lean in shape.slopes)
    bonnet = np.maximum(along - front, 0) * BONNET_DROP // max(shape.length - front, 1)
    ends = np.minimum(along, shape.length - 1 - along)
    body = (ends >= 0) & (up >= 24) & (up < shape.belt - bonnet) & (ends + up // 3 > 12)
    cabin = (up >= shape.belt - 8) & (up < shape.roof) & (along >= rear + lean_rear) & (along < front - lean_front)
    shade = np.where(up < 44, 120, 214 + (up - 40) // 2) + np.where(np.abs(up - shape.belt + 14) < 5, 36, 0)
    shade = np.where((np.abs(along - (rear + front) // 2) < 3) & (up > 40), shade - 60, shade)
    canvas.paint(view, body | cabin, Label.CAR, colour, shade, sun, owner)
    pane = cabin & (up > shape.belt + 2) & (up < shape.roof - 9)
    pane &= (
        (along >= rear + lean_rear + 14) & (along < front - lean_front - 14) & (np.abs(along - (rear + front) // 2) > 6)
    )
    canvas.paint(view, pane, Label.CAR_WINDOW, GLASS, 100 + (up - shape.belt) * 2, sun, owner)
    light = (ends >= 0) & (ends < 26) & (up > 62) & (up < 78) & body
    canvas.paint(view, light & (along < 100), Label.CAR_LIGHT, (190, 24, 22), 256, sun, owner)
    canvas.paint(view, light & (along > 100), Label.CAR_LIGHT, (250, 244, 214), 256, sun, owner)
    axle = np.where(along < shape.length // 2, along - 82, along - shape.length + 84)
    distance = axle * axle + (up - 33) * (up - 33)
    canvas.paint(view, body & (distance < 42 * 42), Label.CAR, RUBBER, 150, sun, owner)
    canvas.paint(view, distance < 33 * 33, Label.WHEEL, RUBBER, 256, sun, owner)
    canvas.paint(view, distance < 20 * 20, Label.WHEEL, (168, 172, 176), 256 - (axle + up & 7) * 8, sun, owner)


def _paint_car_end(canvas: Canvas, view: View, shape: CarShape, colour: Colour, rear: bool, owner: int) -> None:
    """Paint the rear or front of a car; `view.across` is the distance from its centre."""
    u, up, half = view.across, view.up, CAR_HALF_WIDTH
    side, top = np.abs(u), shape.belt if rear else shape.belt - BONNET_DROP

    def part(mask: Mask, label: Label, paint: Colour, shade: Number, sun: int = 140) -> None:
        canvas.paint(view, mask, label, paint, shade, sun, owner)

    part((side > half - 28) & (side < half - 4) & (up >= 0) & (up < 40), Label.WHEEL, RUBBER, 220)
    body = (up >= 20) & (up < top + view.footprint) & (side < half + view.footprint) & (half - side + up > 26)
    part(body, Label.CAR, colour, 186 + up // 2 - side // 4 + np.where(top - up < 6, 30, 0))
    part(body & (up < 40), Label.CAR, (58, 60, 62), 230)
    lamps = (side > half - 34) & (side < half - 5) & (up > top - 32) & (up < top - 10)
    if rear:
        part((side < 27) & (up > 50) & (up < 63), Label.CAR, (232, 232, 224), 250)
        part(lamps, Label.CAR_LIGHT, (206, 28, 24), 200 + (top - up) * 2, GLOW)
    else:
        part((side < 46) & (up > top - 28) & (up < top - 12), Label.CAR, (40, 42, 46), np.where(up % 6 < 2, 360, 230))
        part((side < 25) & (up > 27) & (up < 37), Label.CAR, (232, 232, 224), 250)
        part(lamps, Label.CAR_LIGHT, (252, 246, 220), 256, GLOW)


def paint_tree(canvas: Canvas, thing: Thing, owner: int) -> None:
    """Paint a tree: a trunk and a crown of seven overlapping ellipses, brighter towards the sun."""
    rng = SplitMix64(thing.seed)
    height, radius = rng.between(430, 760), rng.between(130, 220)
    clear = height * rng.between(28, 38) // 100
    canvas.cast_shadow(thing.x - canvas.light.side * radius, thing.depth + 40, radius + 60, radius, 150)
    view = canvas.frontal(thing.depth, thing.x - radius * 3 // 2, thing.x + radius * 3 // 2, height)
    if view is None:
        return
    u, up = view.across - thing.x, view.up
    half = np.maximum(rng.between(11, 17) + np.maximum(24 - up, 0) // 2, view.footprint // 2 + 1)
    bark = 200 + (noise(u * 4, up, 26, thing.seed) - 128) // 2 + u * 2 * canvas.light.side
    canvas.paint(view, (np.abs(u) < half) & (up >= 0) & (up < clear + 70), Label.TRUNK, (98, 76, 58), bark, 140, owner)
    colour = rng.pick(((70, 108, 44), (84, 118, 50), (58, 98, 52), (104, 124, 52)))
    edge, shade = np.full((1, 1), 1 << 30, np.int32), np.zeros((1, 1), np.int32)
    middle, tall = (height + clear) // 2, (height - clear) // 2
    for ball in range(7):
        x, y = (0, 0) if ball == 0 else (rng.between(-radius, radius) * 5 // 8, rng.between(-tall, tall) * 5 // 8)
        size = (radius * 3 // 4, tall * 3 // 4) if ball == 0 else (radius // 2, tall * 2 // 5)
        away = ellipse(u - x, up - middle - y, *size)
        bright = 176 + (up - middle - y) * 60 // size[1] + (u - x) * 40 * canvas.light.side // size[0] + y * 50 // tall
        edge, shade = np.minimum(edge, away), np.where(away < edge, bright, shade)
    leaves = fractal(u, up, 44, thing.seed, 2)
    twigs = noise(u, up, 11, thing.seed + 9)
    ragged = (leaves - 128) * 200 + (twigs - 128) * 130
    crown = edge + ragged < 65536
    canvas.paint(view, crown, Label.TREE, colour, shade + (leaves - 128) * 5 // 8 + (twigs - 128) // 2, 210, owner)


def paint_person(canvas: Canvas, thing: Thing, owner: int) -> None:
    """Paint a person walking towards `facing`."""
    rng = SplitMix64(thing.seed)
    size, stride = rng.between(152, 188), rng.between(4, 24)
    skin = rng.pick(((226, 184, 156), (198, 148, 116), (138, 96, 72), (92, 62, 48)))
    hair = rng.pick(((40, 30, 26), (92, 62, 38), (170, 132, 78), (120, 116, 112)))
    coat = rng.pick(
        ((168, 48, 50), (44, 74, 124), (206, 200, 188), (60, 62, 66), (70, 112, 86), (208, 152, 56), (120, 70, 120))
    )
    trousers = rng.pick(((44, 52, 74), (52, 48, 46), (96, 88, 78)))
    canvas.cast_shadow(thing.x - canvas.light.side * 30, thing.depth, 60, 40, 150)
    view = canvas.frontal(thing.depth, thing.x - 60, thing.x + 60, size)
    if view is None:
        return
    u, up = (view.across - thing.x) * thing.facing, view.up * 176 // size
    thin = view.footprint // 3
    shade = 226 + (view.across - thing.x) * canvas.light.side
    spread = (86 - np.minimum(up, 86)) * stride // 86

    def part(mask: Mask, colour: Colour, tone: Number = 0) -> None:
        canvas.paint(view, mask, Label.PERSON, colour, shade + tone, 190, owner)

    for leg in (-1, 1):
        middle = u - leg * spread
        part((np.abs(middle) < 9 + thin) & (up >= 6) & (up < 90), trousers, leg * 16)
        part((middle > -10 - thin) & (middle < 14 + thin) & (up >= 0) & (up < 8), (46, 38, 34))
    shoulder = np.maximum(up - 136, 0)
    part((np.abs(u) < 20 + thin - shoulder) & (up >= 80) & (up < 150), coat)
    swing = (140 - up) * stride // 90
    for arm in (-1, 1):
        middle = np.abs(u - arm * (swing + 14))
        part((middle < 6 + thin) & (up >= 88) & (up < 142), coat, -24)
        part((middle < 5 + thin) & (up >= 78) & (up < 88), skin)
    part((np.abs(u) < 5 + thin) & (up >= 148) & (up < 156), skin, -30)
    head = ellipse(u, up - 163, 11 + thin, 13)
    part(head < 65536, skin)
    part((head < 65536) & ((up > 167) | (u < -5)), hair)


def paint_lamp(canvas: Canvas, thing: Thing, owner: int) -> None:
    """Paint a street lamp with its arm towards `facing`."""
    view = canvas.frontal(thing.depth, thing.x - 190, thing.x + 190, 640)
    if view is None:
        return
    u, up = (view.across - thing.x) * thing.facing, view.up
    half = np.maximum(7 - up // 160, view.footprint // 2 + 1)
    post = (np.abs(u) < half) & (up >= 0) & (up < 610) | (np.abs(u) < 13) & (up >= 0) & (up < 80)
    arm = (u >= 0) & (u < 150) & (np.abs(up - 606 - u // 8) < np.maximum(4, view.footprint // 2 + 1))
    canvas.paint(
        view, post | arm, Label.POLE, METAL, 230 - np.clip(u, -9, 9) * 4 * canvas.light.side * thing.facing, 170
    )
    head = (u >= 128) & (u < 182) & (np.abs(up - 622) < np.maximum(9, view.footprint))
    canvas.paint(view, head, Label.POLE, LAMPLIGHT if canvas.light.lit_windows > 20 else (196, 200, 204), 256, GLOW)


def paint_sign(canvas: Canvas, thing: Thing, owner: int) -> None:
    """Paint a traffic sign or traffic lights on a pole."""
    rng = SplitMix64(thing.seed)
    view = canvas.frontal(thing.depth, thing.x - 45, thing.x + 45, 330)
    if view is None:
        return
    u, up = view.across - thing.x, view.up
    pole = (np.abs(u) < np.maximum(5, view.footprint // 2 + 1)) & (up >= 0) & (up < 300)
    canvas.paint(view, pole, Label.POLE, METAL, 230, 170)
    kind, plate = rng.between(0, 3), (u, up - 262)

    def part(mask: Mask, colour: Colour, shade: int = NEUTRAL, sun: int = 180) -> None:
        canvas.paint(view, mask, Label.SIGN, colour, shade, sun)

    if kind == 0:
        part((np.abs(u) < 19) & (up > 206) & (up < 312), (36, 38, 40))
        lit = rng.between(0, 2)
        for lens, colour in enumerate(((235, 44, 36), (246, 180, 40), (60, 214, 110))):
            shade = NEUTRAL if lens == lit else NEUTRAL // 4
            part(ellipse(u, up - 294 + lens * 35, 14, 14) < 65536, colour, shade, GLOW)
    elif kind == 1:
        part(ellipse(*plate, 36, 36) < 65536, (196, 32, 36))
        part(ellipse(*plate, 25, 25) < 65536, (240, 240, 236))
    elif kind == 2:
        part(ellipse(*plate, 36, 36) < 65536, (28, 84, 168))
        part(
            (np.abs(u) < 5) & (np.abs(up - 260) < 22) | (np.abs(u) + up > 270) & (np.abs(u) + up < 284) & (up > 250),
            (240, 240, 236),
        )
    else:
        slope = (300 - up) * 40 // 70
        part((np.abs(u) < slope) & (up > 232), (196, 32, 36))
        part((np.abs(u) < slope - 12) & (up > 241), (238, 234, 222))


PAINTERS = {
    "car": paint_car,
    "tree": paint_tree,
    "person": paint_person,
    "lamp": paint_lamp,
    "sign": paint_sign,
}
