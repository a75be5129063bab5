"""Build class tables, and translate raw values (ids, colours) to class ids."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable, Colour
from hdtrans.common.errors import UserError
from hdtrans.data.label_ids import find_ids
from hdtrans.prepare.sources.source import LARGEST_ID

_MOST_SHOWN = 8
_TABLE_SIZE = 1 << 16
_NONE = -1


def class_table(names: Sequence[str], colours: Sequence[Colour | None] | None = None) -> ClassTable:
    """Build a class table; classes without a colour get a generated one, the ignored id is `default_ignore`."""
    own = ClassTable.generic(max(len(names), 1)).colours
    given = colours or [None] * len(names)
    chosen = tuple(colour or other for colour, other in zip(given, own, strict=True)) if names else ()
    return ClassTable(tuple(names), chosen, default_ignore(len(names)))


def default_ignore(classes: int) -> int:
    """Return the ignored id for a number of classes: 255, or 65535 if 255 is a class."""
    return 255 if classes <= 255 else LARGEST_ID


def add_background(parser: ArgumentParser) -> None:
    """Add the option of a background class, for formats whose shapes do not cover the whole picture."""
    parser.add_argument(
        "--background", metavar="NAME", help="class of unannotated pixels (default: they are ignored, id 255)"
    )


def with_background(names: Sequence[str], background: str | None) -> list[str]:
    """Return the class names, with the background prepended unless it is one of them."""
    return [background, *names] if background is not None and background not in names else list(names)


def background_id(classes: ClassTable, background: str | None) -> int:
    """Return the id of unannotated pixels: the background class, or the ignored id."""
    if background is not None:
        return classes.names.index(background)
    assert classes.ignore is not None
    return classes.ignore


def translate(raw: npt.NDArray[Any], ids: Mapping[int, int], where: str, noun: str = "ids") -> npt.NDArray[np.int32]:
    """Translate (H, W) raw integers to (H, W) int32 class ids.

    Args:
        raw: (H, W) integers.
        ids: class id, >= 0, per raw value.
        where: file, for messages.
        noun: word for raw values in messages; `colours` shows them as [R, G, B].

    Raises:
        UserError: raw values are missing in `ids`; the message gives them with their counts and first pixels.
    """
    keys = np.array(sorted(ids), dtype=np.int64)
    numbers = np.array([ids[key] for key in keys.tolist()], dtype=np.int32)
    if min(keys[0], raw.min()) >= 0 and max(keys[-1], raw.max()) < _TABLE_SIZE:  # 30 times as fast as searching
        table = np.full(_TABLE_SIZE, _NONE, np.int32)
        table[keys] = numbers
        found = table[raw]
    else:
        indices = np.searchsorted(keys, raw).clip(max=len(keys) - 1)
        found = np.where(keys[indices] == raw, numbers[indices], _NONE)
    if int(found.min()) == _NONE:
        values = sorted(find_ids(raw, np.flatnonzero(found == _NONE)), key=lambda value: -value.pixels)
        coloured = noun == "colours"
        listed = [
            value.text(unpack_rgb(np.array(value.id)).tolist() if coloured else value.id)
            for value in values[:_MOST_SHOWN]
        ]
        more = f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else ""
        raise UserError(f"{where}: {noun} without a class: {', '.join(listed)}{more}")
    return found


def pack_rgb(colours: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Pack (..., 3) colours in [0, 255] into (...) int32: 65536 R + 256 G + B."""
    return np.asarray(colours[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32), np.int32)


def unpack_rgb(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Unpack (...) packed colours (`pack_rgb`) into (..., 3) RGB."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def translate_colours(picture: npt.NDArray[Any], ids: Mapping[Colour, int], where: str) -> npt.NDArray[np.int32]:
    """Translate (H, W, 3) uint8 RGB to (H, W) int32 class ids; raise UserError for colours missing in `ids`."""
    return translate(pack_rgb(picture), {int(pack_rgb(np.array(c))): n for c, n in ids.items()}, where, "colours")


def check_same_size(found: tuple[int, ...], expected: tuple[int, ...], where: str, other: object) -> None:
    """Raise UserError if two maps of an item differ in (H, W); `where` and `other` are their files."""
    if found[:2] != expected[:2]:
        raise UserError(
            f"{where}: has {size_text(found)} pixels, but {other} has {size_text(expected)}; "
            "both must belong to the same picture"
        )


def size_text(shape: tuple[int, ...]) -> str:
    """Return an (H, W, ...) shape as `WIDTHxHEIGHT`, for messages."""
    return f"{shape[1]}x{shape[0]}"


def parse_colour(values: object) -> Colour | None:
    """Parse [red, green, blue] or #rrggbb as a colour; return None for anything else."""
    if isinstance(values, str) and len(values) == 7 and values[0] == "#":
        try:
            number = int(values[1:], 16)
        except ValueError:
            return None
        return number >> 16, number >> 8 & 255, number & 255
    if isinstance(values, list | tuple) and len(values) == 3 and all(type(v) is int and 0 <= v <= 255 for v in values):
        return values[0], values[1], values[2]
    return None
