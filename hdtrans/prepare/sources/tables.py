"""Class tables from what a data set says of its classes, and raw values (ids, colours) turned into their ids."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable, Colour
from hdtrans.common.errors import UserError

_MOST_SHOWN = 8
_SMALL = 1 << 16
_NONE = -1


def class_table(names: Sequence[str], colours: Sequence[Colour | None] | None = None) -> ClassTable:
    """Return a table of classes, with colours of ours where none are given.

    Pixels without a class get 255, or 65535 where 255 is a class.
    """
    own = ClassTable.generic(max(len(names), 1)).colours
    given = colours or [None] * len(names)
    chosen = tuple(colour or other for colour, other in zip(given, own, strict=True)) if names else ()
    return ClassTable(tuple(names), chosen, ignore=255 if len(names) <= 255 else 65535)


def add_background(parser: ArgumentParser) -> None:
    """Add the option of formats that annotate parts of a picture: what the rest is."""
    parser.add_argument(
        "--background", metavar="NAME", help="the class of what is not annotated (default: it is ignored, id 255)"
    )


def with_background(names: Sequence[str], background: str | None) -> list[str]:
    """Return the names with that of the background, in front where it is none of them."""
    return [background, *names] if background is not None and background not in names else list(names)


def outside(classes: ClassTable, background: str | None) -> int:
    """Return the id of what is not annotated: that of the background, or the ignored one."""
    if background is not None:
        return classes.names.index(background)
    assert classes.ignore is not None
    return classes.ignore


def translate(raw: npt.NDArray[Any], ids: Mapping[int, int], where: str, what: str = "ids") -> npt.NDArray[np.int32]:
    """Turn raw values into ids, 0 or more: (H, W) integers to (H, W) int32.

    Raises:
        UserError: naming `where` and the values that are not in `ids`, with their pixels and first places.
    """
    keys = np.array(sorted(ids), dtype=np.int64)
    numbers = np.array([ids[key] for key in keys.tolist()], dtype=np.int32)
    if min(keys[0], raw.min()) >= 0 and max(keys[-1], raw.max()) < _SMALL:  # thirty times as fast
        table = np.full(_SMALL, _NONE, np.int32)
        table[keys] = numbers
        found = table[raw]
    else:
        places = np.searchsorted(keys, raw).clip(max=len(keys) - 1)
        found = np.where(keys[places] == raw, numbers[places], _NONE)
    if int(found.min()) == _NONE:
        wrong = np.flatnonzero(found == _NONE)
        values, first, counts = np.unique(raw.ravel()[wrong], return_index=True, return_counts=True)
        told = []
        for place in np.argsort(-counts, kind="stable")[:_MOST_SHOWN]:
            row, column = divmod(int(wrong[first[place]]), raw.shape[1])
            value = _colour(int(values[place])) if what == "colours" else int(values[place])
            told.append(f"{value} ({_pixels(counts[place])}, first at row {row}, column {column})")
        more = f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else ""
        raise UserError(f"{where}: {what} that are no class: {', '.join(told)}{more}")
    return found


def packed(colours: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return (..., 3) colours in [0, 255] as one number each: 65536 R + 256 G + B."""
    return np.asarray(colours[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32), np.int32)


def translate_colours(picture: npt.NDArray[Any], ids: Mapping[Colour, int], where: str) -> npt.NDArray[np.int32]:
    """Turn colours into ids: (H, W, 3) uint8 to (H, W) int32; raise UserError for colours that are not in `ids`."""
    return translate(packed(picture), {int(packed(np.array(c))): n for c, n in ids.items()}, where, "colours")


def same_size(found: tuple[int, ...], expected: tuple[int, ...], where: str, other: object) -> None:
    """Raise UserError if two maps of an item differ in (H, W)."""
    if found[:2] != expected[:2]:
        raise UserError(
            f"{where}: has {found[1]}x{found[0]} pixels, but {other} says {expected[1]}x{expected[0]}; "
            "they must be of one picture"
        )


def to_colour(values: object) -> Colour | None:
    """Return [red, green, blue], or #rrggbb, as a colour; None where it is neither."""
    if isinstance(values, str) and len(values) == 7 and values[0] == "#":
        try:
            number = int(values[1:], 16)
        except ValueError:
            return None
        return number >> 16, number >> 8 & 255, number & 255
    if isinstance(values, list | tuple) and len(values) == 3 and all(type(v) is int and 0 <= v <= 255 for v in values):
        return values[0], values[1], values[2]
    return None


def _colour(number: int) -> str:
    return f"[{number >> 16}, {number >> 8 & 255}, {number & 255}]"


def _pixels(count: int) -> str:
    return f"{count} pixel{'s' if count > 1 else ''}"
