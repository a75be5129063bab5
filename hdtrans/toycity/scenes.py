"""Render toy street scenes, an exact label map with a photo-like picture, and write them as a training folder.

A scene needs no download and has the same pixels for the same seed on every machine. The seed decides the plan of the
street in centimetres; height and width only decide how finely a camera sees it.

Instances follow Cityscapes: a pixel of a counted class holds class * 1000 + k, any other pixel its class. Cars, trees
and persons are counted, each kind from k = 0 for the nearest that can be seen. The parts of a thing share its k: the
windows, wheels and lights of car k are car_window * 1000 + k and so on, the trunk of tree k is trunk * 1000 + k.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.files import PART_SUFFIX, write_bytes
from hdtrans.toycity.canvas import Canvas, Dice, Label
from hdtrans.toycity.street import (
    LIGHTS,
    MATERIALS,
    Building,
    Material,
    Street,
    paint_building,
    paint_closing_building,
    paint_ground,
    paint_hills,
    paint_sky,
)
from hdtrans.toycity.things import PAINTERS, Thing

__all__ = ["CLASS_COLOURS", "CLASS_NAMES", "COUNTED", "Scene", "render", "write_dataset"]

CLASS_NAMES: tuple[str, ...] = tuple(label.name.lower() for label in Label)
CLASS_COLOURS: tuple[tuple[int, int, int], ...] = (
    (70, 130, 180), (96, 120, 96), (70, 70, 70), (102, 150, 200), (130, 80, 50), (150, 60, 50), (128, 64, 128),
    (240, 240, 240), (244, 35, 232), (152, 251, 152), (0, 0, 142), (0, 150, 230), (30, 30, 30), (255, 190, 90),
    (107, 142, 35), (110, 76, 40), (220, 20, 60), (153, 153, 153), (220, 220, 0),
)  # fmt: skip
_PARTS: dict[str, tuple[Label, ...]] = {
    "car": (Label.CAR, Label.CAR_WINDOW, Label.WHEEL, Label.CAR_LIGHT),
    "tree": (Label.TREE, Label.TRUNK),
    "person": (Label.PERSON,),
}
COUNTED: tuple[int, ...] = tuple(int(label) for parts in _PARTS.values() for label in parts)

SMALLEST_SIDE, LARGEST_SIDE = 32, 4096
# half of the road's width, the middles of the lanes on one side, and of the cars parked there (0 for none)
_ROADS = ((350, (175,), 0), (350, (175,), 0), (540, (170,), 435), (690, (170, 510), 0))
_SCENES_PER_SEED = 1_000_000
_FOLDERS = ("label", "inst", "img")


@dataclass(frozen=True)
class Scene:
    """Hold one rendered scene.

    Attributes:
        label: (H, W) uint8, class ids that index CLASS_NAMES.
        instance: (H, W) int32, class * 1000 + k for counted classes, else the class id.
        photo: (H, W, 3) uint8 RGB in [0, 255].
    """

    label: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    photo: npt.NDArray[np.uint8]


def render(seed: int, height: int, width: int) -> Scene:
    """Render the street scene of a seed.

    Args:
        seed: 0 or more; the same seed gives the same street at any size.
        height: in pixels, in [32, 4096].
        width: in pixels, in [32, 4096].

    Raises:
        UserError: the seed is negative or a side is out of range.

    Example: `render(7, 256, 512).photo.shape` is `(256, 512, 3)`.
    """
    _check_size(height, width)
    if seed < 0:
        raise UserError(f"seed: got {seed}; give 0 or more")
    dice = Dice(seed)
    slope = dice.between(120, 260)
    light = replace(dice.pick(LIGHTS), side=dice.pick((-1, 1)))
    light = replace(light, slope=slope if light.sun[0] - light.ambient[0] > 40 else 0)
    canvas = Canvas(
        height,
        width,
        height * dice.between(51, 57) // 100,
        width * dice.between(45, 55) // 100,
        dice.between(150, 200),
        light,
    )
    street = _plan_street(dice)
    paint_sky(canvas, dice.seed())
    paint_hills(canvas, dice.seed())
    paint_ground(canvas, street)
    things = sorted(_place_things(street, dice), key=lambda each: each.depth)
    _paint_standing(canvas, street, things)
    return Scene(canvas.label, _instances(canvas, things), canvas.develop(dice.seed()))


def _paint_standing(canvas: Canvas, street: Street, things: list[Thing]) -> None:
    """Paint buildings and things, the far ones first; the owner of a thing is its place in the list, from 1."""
    steps: list[tuple[int, Callable[[], None]]] = []
    for building in street.closing:
        steps.append((building.near, partial(paint_closing_building, canvas, building)))
    for building in street.buildings:
        steps.append((building.far, partial(paint_building, canvas, building)))
    for owner, thing in enumerate(things, start=1):
        steps.append((thing.depth, partial(PAINTERS[thing.kind], canvas, thing, owner)))
    for _, paint in sorted(steps, key=lambda step: -step[0]):
        paint()


def _check_size(height: int, width: int) -> None:
    for name, side in (("height", height), ("width", width)):
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise UserError(
                f"size: a {name} of {side} pixels; the sides of a toy scene have {SMALLEST_SIDE} to {LARGEST_SIDE} "
                "pixels, for example 512x256"
            )


def _instances(canvas: Canvas, things: list[Thing]) -> npt.NDArray[np.int32]:
    """Return the (H, W) int32 instance map; things that cannot be seen take no number."""
    counted = np.isin(np.arange(len(Label)), COUNTED)[canvas.label]
    owner_map = np.where(counted, canvas.owner, 0)
    visible = np.bincount(owner_map.ravel(), minlength=len(things) + 1) > 0
    numbers, counts = np.zeros(len(things) + 1, np.int32), dict.fromkeys(_PARTS, 0)
    for owner, thing in enumerate(things, start=1):
        if thing.kind in counts and visible[owner]:
            numbers[owner] = counts[thing.kind]
            counts[thing.kind] += 1
    label = canvas.label.astype(np.int32)
    return np.where(counted, label * 1000 + numbers[owner_map], label)


def _plan_street(dice: Dice) -> Street:
    """Draw the plan of a street: its lanes, its width, whether houses close it at a junction, its buildings."""
    half_road, lanes, parking = dice.pick(_ROADS)
    end = dice.between(4200, 7500) if dice.chance(40) else 0
    zebra = dice.between(900, 2200) if dice.chance(45) else 0
    street = Street(
        centre=-dice.pick(lanes),
        half_road=half_road,
        lanes=lanes,
        parking=parking,
        sidewalk=dice.between(240, 420),
        end=end,
        zebra=zebra,
        buildings=(),
        closing=(),
        seed=dice.seed(),
    )
    mood = (dice.pick(MATERIALS), dice.pick(MATERIALS), dice.pick(MATERIALS))  # a street is not built of everything
    tallest, far = dice.between(1, 4), street.junction[0] - street.sidewalk if end else 14_000
    buildings = [building for side in (-1, 1) for building in _plan_side(street, side, far, tallest, mood, dice)]
    closing = _plan_end(end, mood, dice) if end else ()
    return replace(street, buildings=tuple(buildings), closing=tuple(closing))


def _plan_side(
    street: Street, side: int, far: int, tallest: int, mood: tuple[Material, ...], dice: Dice
) -> Iterator[Building]:
    """Draw the buildings on one side (-1 is the left) from the camera to depth far, with some gaps between them."""
    lawn = dice.pick((0, 0, 150, 350))
    plane = street.centre + side * (street.half_road + street.sidewalk + lawn)
    depth, gaps = 40, dice.pick((8, 25, 45))
    while depth < far - 500:
        length = min(dice.between(850, 1900), far - depth)
        storeys = max(1, tallest + dice.between(-1, 1))
        yield Building(depth, length, plane, storeys, dice.pick(mood), dice.seed())
        depth += length + (dice.between(300, 1000) if dice.chance(gaps) else 0)


def _plan_end(depth: int, mood: tuple[Material, ...], dice: Dice) -> Iterator[Building]:
    """Draw the buildings that close the street, side by side from the far left to the far right."""
    left, storeys = -13_000, dice.between(2, 4)
    while left < 13_000:
        length = dice.between(1000, 2200)
        yield Building(depth, length, left, storeys + dice.between(-1, 1), dice.pick(mood), dice.seed())
        left += length


def _place_things(street: Street, dice: Dice) -> list[Thing]:
    """Draw what stands on the street and moves along it."""
    last = street.junction[0] - street.sidewalk - 600 if street.end else 7000
    things = [*_cars(street, last, dice), *_trees(street, last, dice), *_persons(street, last, dice)]
    kerb = street.half_road + 45
    if dice.chance(80):
        first, turn = dice.between(700, 1600), dice.pick((0, 1))
        for number, depth in enumerate(range(first, last, 1500)):
            side = 1 if (number + turn) % 2 else -1
            things.append(Thing("lamp", street.centre + side * kerb, depth, dice.seed(), -side))
    for side in (-1, 1):
        depth = street.zebra - 40 if street.zebra else dice.between(800, 3000)
        if dice.chance(70):
            things.append(Thing("sign", street.centre + side * kerb, depth, dice.seed()))
    return things


def _cars(street: Street, last: int, dice: Dice) -> Iterator[Thing]:
    """Draw cars: in the lanes on both sides of the middle, parked at the kerbs, and on the crossing road."""
    for lane in (*street.lanes, *(-each for each in street.lanes)):
        traffic, depth = dice.pick((0, 40, 75)), dice.between(750, 1500)
        while depth < last:
            if dice.chance(traffic) and not (lane > 0 and depth < 1100):
                x = street.centre + lane + dice.between(-25, 25)
                yield Thing("car", x, depth, dice.seed(), 1 if lane > 0 else -1)
            depth += dice.between(750, 1500)
    for side in (-1, 1) if street.parking else ():
        for depth in range(dice.between(450, 1000), last, 590):
            if dice.chance(65):
                yield Thing("car", street.centre + side * street.parking, depth, dice.seed(), side)
    for facing, depth in ((-1, street.end - 800), (1, street.end - 1250)) if street.end else ():
        if dice.chance(60):
            yield Thing("car", dice.between(-1400, 1400), depth, dice.seed(), facing, crossing=True)


def _trees(street: Street, last: int, dice: Dice) -> Iterator[Thing]:
    """Draw rows of trees beside the road, and sometimes some at the junction."""
    for side in (-1, 1):
        spacing, x = dice.pick((0, 800, 1100, 1500)), street.half_road + dice.between(80, street.sidewalk - 60)
        for depth in range(dice.between(900, 1500), last + 500, spacing) if spacing else ():
            if dice.chance(85):
                yield Thing("tree", street.centre + side * x, depth + dice.between(-120, 120), dice.seed())
    for _ in range(dice.between(0, 5) if street.end else 0):
        yield Thing("tree", dice.between(-4500, 4500), street.end - dice.between(60, 300), dice.seed())


def _persons(street: Street, last: int, dice: Dice) -> Iterator[Thing]:
    """Draw persons on the sidewalks, and some on the zebra crossing."""
    for _ in range(dice.between(2, 11)):
        x = dice.pick((-1, 1)) * (street.half_road + dice.between(40, street.sidewalk - 30))
        yield Thing("person", street.centre + x, dice.between(650, min(last, 3600)), dice.seed(), dice.pick((-1, 1)))
    for _ in range(dice.between(0, 4) if street.zebra else 0):
        x, depth = dice.between(-street.half_road, street.half_road), street.zebra + dice.between(40, 300)
        yield Thing("person", street.centre + x, depth, dice.seed(), dice.pick((-1, 1)))


def write_dataset(
    out: Path,
    train: int,
    test: int,
    height: int,
    width: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write scenes in the pix2pixHD layout: {train,test}_{label,inst,img}/NNNNN.png and dataset.json.

    Labels are 8-bit and instances 16-bit grey PNG files, photos 8-bit RGB ones. Test scenes never repeat training
    scenes, whatever the seeds. Files that are already there are kept, so that the same command goes on where it was
    stopped, and larger numbers add scenes.

    Args:
        out: the folder; it must be new, empty, or written by this function with the same size and seed.
        train: how many scenes for training, from 0 to 1,000,000.
        test: how many scenes for tests, from 0 to 1,000,000.
        height: of every scene, in pixels, in [32, 4096].
        width: of every scene, in pixels, in [32, 4096].
        seed: 0 or more.
        progress: called after every scene with the number of scenes done and of all scenes.

    Raises:
        UserError: a number is out of range, or the folder holds something else or cannot be written.
    """
    _check_size(height, width)
    for name, number, most in (
        ("train", train, _SCENES_PER_SEED),
        ("test", test, _SCENES_PER_SEED),
        ("seed", seed, 1 << 40),
    ):
        if not 0 <= number <= most:
            raise UserError(f"{name}: got {number}; give a number from 0 to {most}")
    _claim(out, {"height": height, "width": width, "seed": seed})
    scenes = [("train", number) for number in range(train)] + [("test", number) for number in range(test)]
    for done, (split, number) in enumerate(scenes, start=1):
        paths = [out / f"{split}_{folder}" / f"{number:05d}.png" for folder in _FOLDERS]
        if not all(path.exists() for path in paths):
            # Even seeds are for training, odd ones for tests, and no two of the user's seeds share one.
            _write_scene(render(2 * (seed * _SCENES_PER_SEED + number) + (split == "test"), height, width), *paths)
        if progress is not None:
            progress(done, len(scenes))


def _claim(out: Path, made: dict[str, int]) -> None:
    """Mark a new folder as a toy city of this size and seed, or make sure that it is one."""
    table = out / "dataset.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a new or an empty folder")
    if out.is_dir() and any(not each.name.endswith(PART_SUFFIX) for each in out.iterdir()):
        found = _read_mark(table)
        if found is None:
            raise UserError(f"{out}: holds files that are not a toy city; give a new or an empty folder")
        if found != made:
            raise UserError(
                f"{out}: holds a toy city with {found}, not with {made}; give another folder or the same values"
            )
        return
    ClassTable(names=CLASS_NAMES, colours=CLASS_COLOURS, ignore=255).write(table, {"toycity": made})


def _read_mark(table: Path) -> object:
    """Return what `_claim` wrote about a toy city, or None where the folder is none."""
    try:
        values = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("toycity") if isinstance(values, dict) else None


def _write_scene(scene: Scene, label: Path, instance: Path, photo: Path) -> None:
    """Write the three pictures of a scene as PNG files; the largest instance is 16999, so that 16 bits hold it."""
    write_bytes(label, _png(scene.label))
    write_bytes(instance, _png(scene.instance.astype(np.uint16)))
    write_bytes(photo, _png(cv2.cvtColor(scene.photo, cv2.COLOR_RGB2BGR)))


def _png(picture: npt.NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done, "cv2 writes every uint8 and uint16 picture as PNG"
    return data.tobytes()
