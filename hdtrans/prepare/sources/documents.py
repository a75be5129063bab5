"""Read annotation documents (text, JSON, XML) and their fields; errors give the file and the place in it."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError, nearest
from hdtrans.data.io.header import LARGEST_PIXELS

Points = npt.NDArray[np.float64]
"""(N, 2) points (x, y) in pixels; the centre of the first pixel is (0.5, 0.5)."""

_KINDS = {list: "a list", dict: "an object", str: "a text", int: "an integer", float: "a number", bool: "true or false"}
_LARGEST_COORDINATE = 1e7  # pixels
_WHOLE = re.compile(r"\s*([+-]?[0-9]{1,20})(?:\.0*)?\s*")
_T = TypeVar("_T")
_Key = TypeVar("_Key")


def read_text(path: Path, encoding: str = "utf-8-sig", argument: str | None = None) -> str:
    """Read a text file; raise UserError if it cannot be read, with the argument that gave it, if any."""
    try:
        return path.read_text(encoding=encoding)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", path=path, argument=argument) from error
    except UnicodeDecodeError as error:
        finding = f"is no {error.encoding} text: {error.reason} at byte {error.start}"
        raise UserError(finding, path=path, argument=argument) from error


def read_lines(path: Path) -> list[str]:
    """Read a text file as stripped lines, without empty lines and lines that start with `#`."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_json(path: Path, encoding: str = "utf-8-sig") -> Any:
    """Read a JSON file; raise UserError with its path and the line of a syntax error."""
    try:
        return json.loads(read_text(path, encoding))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"is no JSON, or cut off: {error}", path=path) from error


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file; raise UserError if it is not well-formed or has a DOCTYPE.

    A DOCTYPE can declare entities, which can fill the memory or read other files; no annotation tool writes one.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise UserError("has a DOCTYPE, which is not allowed in annotations; remove that line", path=path)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", path=path) from error
    except expat.ExpatError as error:
        raise UserError(f"is no XML, or cut off: {error}", path=path) from error
    return builder.close()


def field(values: object, key: str, kind: type[_T], where: str) -> _T:
    """Return `values[key]` after a type check; numbers may be written as texts, and integers as 40.0.

    Args:
        values: JSON object.
        key: its key.
        kind: required type: list, dict, str, int (64 bits), float (finite) or bool (also 0 or 1).
        where: file and place in it, for messages.

    Raises:
        UserError: `values` is no object, the key is missing, or the value has another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected an object with the key {key!r}, got {abridged(values)}")
    if key not in values:
        guess = nearest(key, [name for name in values if isinstance(name, str)])
        raise UserError(f"{where}: key {key!r} is missing.{guess}")
    read = _READERS.get(kind)
    value = read(values[key]) if read else values[key]
    if not isinstance(value, kind):
        raise UserError(f"{where}: {key!r} is not {_KINDS.get(kind, kind.__name__)}: {abridged(values[key])}")
    return value


def whole_number(value: object) -> int | None:
    """Return the integer of 64 bits written as 40, 40.0 or "40"; None for anything else, as 40.5, True or NaN."""
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value)):
        value = int(match[1])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < 2**63 else None


def identifier(value: object) -> int | str | None:
    """Return an id of a foreign file, so that 7, 7.0 and "7" are equal; None without one. "007" stays a text."""
    number = whole_number(value)
    if isinstance(value, str):
        return number if str(number) == value else value or None
    return number


def flag(values: Mapping[str, Any], key: str, default: bool, where: str) -> bool:
    """Return an optional `values[key]` that is true or false, or 0 or 1; null is the default."""
    return default if values.get(key) is None else field(values, key, bool, where)


def claim(seen: dict[_Key, str], key: _Key, where: str, noun: str) -> None:
    """Note the place of a key that must be unique; raise UserError with both places if it was seen before."""
    if (before := seen.setdefault(key, where)) != where:
        raise UserError(f"{where}: the {noun} {key!r} is that of {before} as well; give each its own, or remove one")


def _finite(value: object) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else {0: False, 1: True}.get(whole_number(value))  # type: ignore[arg-type]


_READERS: dict[type, Any] = {int: whole_number, float: _finite, bool: _truth}


def to_points(values: object, where: str) -> Points:
    """Convert a list of pairs, or a flat list x, y, x, y, to (N, 2) points; N may be 0.

    Args:
        values: the list; its numbers may be strings.
        where: file and place in it, for messages.

    Raises:
        UserError: the values are no pairs of numbers, not finite or absurdly large.
    """
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: points are no pairs of numbers: {abridged(values)}") from error
    if _has_truth(values):  # numpy reads true as 1
        raise UserError(f"{where}: points are no pairs of numbers: {abridged(values)}")
    if not np.isfinite(array).all() or (array.size and np.abs(array).max() > _LARGEST_COORDINATE):
        raise UserError(
            f"{where}: a coordinate is not finite or beyond {_LARGEST_COORDINATE:.0f} pixels: {abridged(values)}"
        )
    return array


def _has_truth(values: object) -> bool:
    if not isinstance(values, list | tuple):
        return isinstance(values, bool)
    kinds = set(map(type, values))
    return bool in kinds or (not kinds.isdisjoint((list, tuple)) and any(map(_has_truth, values)))


def size_of(values: object, where: str, height: str = "height", width: str = "width") -> tuple[int, int]:
    """Return (height, width) in pixels under these keys; raise UserError if empty or above the pixel limit."""
    found = field(values, height, int, where), field(values, width, int, where)
    if min(found) < 1 or found[0] * found[1] > LARGEST_PIXELS:
        raise UserError(f"{where}: has a size of {found[1]}x{found[0]} pixels; 1 to {LARGEST_PIXELS} are allowed")
    return found


def abridged(value: object) -> str:
    """Return a value as text of at most 60 characters, for messages."""
    text = ascii(value) if not isinstance(value, str | os.PathLike) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
