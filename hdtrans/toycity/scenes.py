"""Render toy street scenes (label map, instance map, photo-like picture) and write them as a training folder.

Equal seeds give equal pixels on every machine. The seed determines the street in centimetres; height and width
determine only the resolution of the camera.

Instance ids follow Cityscapes: class * 1000 + k for thing classes, the class id elsewhere. Cars, trees and persons are
numbered separately from k = 0 for the nearest visible one. The parts of a thing share its k: a window of car k is
car_window * 1000 + k, the trunk of tree k is trunk * 1000 + k.
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
from hdtrans.common.files import write_bytes
from hdtrans.common.folder_lock import holds_files
from hdtrans.toycity.canvas import Canvas, Label, SplitMix64
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
# half the road width, lane centres on one side, centre of the parked cars there (0 for none)
_ROADS = ((350, (175,), 0), (350, (175,), 0), (540, (170,), 435), (690, (170, 510), 0))
_SCENES_PER_SEED = 1_000_000
_FOLDERS = ("label", "inst", "img")


@dataclass(frozen=True)
class Scene:
    """One rendered scene.

    Attributes:
        label: (H, W) uint8, class ids, indices of CLASS_NAMES.
        instance: (H, W) int32, class * 1000 + k for thing classes, else the class id.
        photo: (H, W, 3) uint8 RGB in [0, 255].
    """

    label: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    photo: npt.NDArray[np.uint8]


def render(seed: int, height: int, width: int) -> Scene:
    """Render a street scene.

    Args:
        seed: scene seed, >= 0; equal seeds give the same street at any size.
        height: picture height in pixels, in [32, 4096].
        width: picture width in pixels, in [32, 4096].

    Raises:
        UserError: `seed`, `height` or `width` is out of range.

    Example: `render(7, 256, 512).photo.shape` is `(256, 512, 3)`.
    """
    _check_size(height, width)
    if seed < 0:
        raise UserError(f"seed: got {seed}; give 0 or more")
    rng = SplitMix64(seed)
    slope = rng.between(120, 260)
    light = replace(rng.pick(LIGHTS), side=rng.pick((-1, 1)))
    light = replace(light, slope=slope if light.sun[0] - light.ambient[0] > 40 else 0)
    canvas = Canvas(
        height,
        width,
        height * rng.between(51, 57) // 100,
        width * rng.between(45, 55) // 100,
        rng.between(150, 200),
        light,
    )
    street = _plan_street(rng)
    paint_sky(canvas, rng.seed())
    paint_hills(canvas, rng.seed())
    paint_ground(canvas, street)
    things = sorted(_plan_things(street, rng), key=lambda each: each.depth)
    _paint_objects(canvas, street, things)
    return Scene(canvas.label, _instances(canvas, things), canvas.render_photo(rng.seed()))


def _paint_objects(canvas: Canvas, street: Street, things: list[Thing]) -> None:
    """Paint buildings and things from far to near; a thing's owner id is its index in the list, from 1."""
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
                f"size: got a {name} of {side} pixels; give {SMALLEST_SIDE} to {LARGEST_SIDE} pixels per side, for "
                "example 512x256"
            )


def _instances(canvas: Canvas, things: list[Thing]) -> npt.NDArray[np.int32]:
    """Return the (H, W) int32 instance map; hidden things get no number."""
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


def _plan_street(rng: SplitMix64) -> Street:
    """Draw a random street plan: lanes, width, optional junction at the end, buildings."""
    half_road, lanes, parking = rng.pick(_ROADS)
    end = rng.between(4200, 7500) if rng.chance(40) else 0
    zebra = rng.between(900, 2200) if rng.chance(45) else 0
    street = Street(
        centre=-rng.pick(lanes),
        half_road=half_road,
        lanes=lanes,
        parking=parking,
        sidewalk=rng.between(240, 420),
        end=end,
        zebra=zebra,
        buildings=(),
        closing=(),
        seed=rng.seed(),
    )
    materials = (rng.pick(MATERIALS), rng.pick(MATERIALS), rng.pick(MATERIALS))  # at most three materials per street
    tallest, far = rng.between(1, 4), street.junction[0] - street.sidewalk if end else 14_000
    buildings = [building for side in (-1, 1) for building in _plan_side(street, side, far, tallest, materials, rng)]
    closing = _plan_end(end, materials, rng) if end else ()
    return replace(street, buildings=tuple(buildings), closing=tuple(closing))


def _plan_side(
    street: Street, side: int, far: int, tallest: int, materials: tuple[Material, ...], rng: SplitMix64
) -> Iterator[Building]:
    """Draw the buildings on one side (-1 left, 1 right) from the camera to depth `far`, with random gaps."""
    lawn = rng.pick((0, 0, 150, 350))
    plane = street.centre + side * (street.half_road + street.sidewalk + lawn)
    depth, gaps = 40, rng.pick((8, 25, 45))
    while depth < far - 500:
        length = min(rng.between(850, 1900), far - depth)
        storeys = max(1, tallest + rng.between(-1, 1))
        yield Building(depth, length, plane, storeys, rng.pick(materials), rng.seed())
        depth += length + (rng.between(300, 1000) if rng.chance(gaps) else 0)


def _plan_end(depth: int, materials: tuple[Material, ...], rng: SplitMix64) -> Iterator[Building]:
    """Draw the row of buildings at the end of the street, from left to right."""
    left, storeys = -13_000, rng.between(2, 4)
    while left < 13_000:
        length = rng.between(1000, 2200)
        yield Building(depth, length, left, storeys + rng.between(-1, 1), rng.pick(materials), rng.seed())
        left += length


def _plan_things(street: Street, rng: SplitMix64) -> list[Thing]:
    """Draw cars, trees, persons, lamps and signs."""
    last = street.junction[0] - street.sidewalk - 600 if street.end else 7000
    things = [*_cars(street, last, rng), *_trees(street, last, rng), *_persons(street, last, rng)]
    kerb = street.half_road + 45
    if rng.chance(80):
        first, turn = rng.between(700, 1600), rng.pick((0, 1))
        for number, depth in enumerate(range(first, last, 1500)):
            side = 1 if (number + turn) % 2 else -1
            things.append(Thing("lamp", street.centre + side * kerb, depth, rng.seed(), -side))
    for side in (-1, 1):
        depth = street.zebra - 40 if street.zebra else rng.between(800, 3000)
        if rng.chance(70):
            things.append(Thing("sign", street.centre + side * kerb, depth, rng.seed()))
    return things


def _cars(street: Street, last: int, rng: SplitMix64) -> Iterator[Thing]:
    """Draw cars in the lanes, parked at the kerbs, and on the crossing road."""
    for lane in (*street.lanes, *(-each for each in street.lanes)):
        traffic, depth = rng.pick((0, 40, 75)), rng.between(750, 1500)
        while depth < last:
            if rng.chance(traffic) and not (lane > 0 and depth < 1100):
                x = street.centre + lane + rng.between(-25, 25)
                yield Thing("car", x, depth, rng.seed(), 1 if lane > 0 else -1)
            depth += rng.between(750, 1500)
    for side in (-1, 1) if street.parking else ():
        for depth in range(rng.between(450, 1000), last, 590):
            if rng.chance(65):
                yield Thing("car", street.centre + side * street.parking, depth, rng.seed(), side)
    for facing, depth in ((-1, street.end - 800), (1, street.end - 1250)) if street.end else ():
        if rng.chance(60):
            yield Thing("car", rng.between(-1400, 1400), depth, rng.seed(), facing, crossing=True)


def _trees(street: Street, last: int, rng: SplitMix64) -> Iterator[Thing]:
    """Draw rows of trees beside the road, and up to five at the junction."""
    for side in (-1, 1):
        spacing, x = rng.pick((0, 800, 1100, 1500)), street.half_road + rng.between(80, street.sidewalk - 60)
        for depth in range(rng.between(900, 1500), last + 500, spacing) if spacing else ():
            if rng.chance(85):
                yield Thing("tree", street.centre + side * x, depth + rng.between(-120, 120), rng.seed())
    for _ in range(rng.between(0, 5) if street.end else 0):
        yield Thing("tree", rng.between(-4500, 4500), street.end - rng.between(60, 300), rng.seed())


def _persons(street: Street, last: int, rng: SplitMix64) -> Iterator[Thing]:
    """Draw persons on the sidewalks and on the zebra crossing."""
    for _ in range(rng.between(2, 11)):
        x = rng.pick((-1, 1)) * (street.half_road + rng.between(40, street.sidewalk - 30))
        yield Thing("person", street.centre + x, rng.between(650, min(last, 3600)), rng.seed(), rng.pick((-1, 1)))
    for _ in range(rng.between(0, 4) if street.zebra else 0):
        x, depth = rng.between(-street.half_road, street.half_road), street.zebra + rng.between(40, 300)
        yield Thing("person", street.centre + x, depth, rng.seed(), rng.pick((-1, 1)))


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

    Label maps are 8-bit, instance maps 16-bit grey PNGs, photos 8-bit RGB. Training and test scenes differ for all
    seeds. Existing files are kept: the same call resumes a stopped one, and larger numbers add scenes.

    Args:
        out: output folder: new, empty, or written by this function with the same size and seed.
        train: number of training scenes, 0 to 1,000,000.
        test: number of test scenes, 0 to 1,000,000.
        height: picture height in pixels, in [32, 4096].
        width: picture width in pixels, in [32, 4096].
        seed: data set seed, 0 to 2**40.
        progress: called after every scene with (scenes done, scenes in total).

    Raises:
        UserError: a number is out of range, or the folder contains other files or cannot be written.
    """
    _check_size(height, width)
    for name, number, most in (
        ("train", train, _SCENES_PER_SEED),
        ("test", test, _SCENES_PER_SEED),
        ("seed", seed, 1 << 40),
    ):
        if not 0 <= number <= most:
            raise UserError(f"{name}: got {number}; give a number from 0 to {most}")
    _open_folder(out, {"height": height, "width": width, "seed": seed})
    scenes = [("train", number) for number in range(train)] + [("test", number) for number in range(test)]
    for done, (split, number) in enumerate(scenes, start=1):
        paths = [out / f"{split}_{folder}" / f"{number:05d}.png" for folder in _FOLDERS]
        if not all(path.exists() for path in paths):
            # Scene seeds are even for training and odd for test, and differ for different `seed`.
            _write_scene(render(2 * (seed * _SCENES_PER_SEED + number) + (split == "test"), height, width), *paths)
        if progress is not None:
            progress(done, len(scenes))


def _open_folder(out: Path, settings: dict[str, int]) -> None:
    """Write dataset.json into a new folder; raise UserError if an existing one has other settings or files."""
    table = out / "dataset.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a new or an empty folder")
    if out.is_dir() and holds_files(out):
        found = _read_settings(table)
        if found is None:
            raise UserError(f"{out}: contains files that are not a toy city; give a new or an empty folder")
        if found != settings:
            raise UserError(
                f"{out}: contains a toy city with {found}, but {settings} is requested; give another folder or the "
                "same values"
            )
        return
    ClassTable(names=CLASS_NAMES, colours=CLASS_COLOURS, ignore=255).write(table, {"toycity": settings})


def _read_settings(table: Path) -> object:
    """Return the toy city settings in dataset.json, or None if there are none."""
    try:
        values = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("toycity") if isinstance(values, dict) else None


def _write_scene(scene: Scene, label: Path, instance: Path, photo: Path) -> None:
    """Write label map, instance map (ids up to 16999 fit 16 bits) and photo as PNG files."""
    write_bytes(label, _png(scene.label))
    write_bytes(instance, _png(scene.instance.astype(np.uint16)))
    write_bytes(photo, _png(cv2.cvtColor(scene.photo, cv2.COLOR_RGB2BGR)))


def _png(picture: npt.NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done, f"cv2 cannot encode {picture.dtype} {picture.shape} as PNG"
    return data.tobytes()
