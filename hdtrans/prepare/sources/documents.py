"""Read annotation documents (text, JSON, XML) and their fields; errors give the file and the place in it."""

import json
import os
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
_T = TypeVar("_T")


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
    """Return `values[key]` after a type check; an integer passes as float.

    Args:
        values: JSON object.
        key: its key.
        kind: required type: list, dict, str, int (64 bits), float or bool.
        where: file and place in it, for messages.

    Raises:
        UserError: `values` is no object, the key is missing, or the value has another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected an object with the key {key!r}, got {abridged(values)}")
    if key not in values:
        guess = nearest(key, [name for name in values if isinstance(name, str)])
        raise UserError(f"{where}: key {key!r} is missing.{guess}")
    value = values[key]
    if kind is float and type(value) is int:
        value = float(value)
    number = kind is not int or (not isinstance(value, bool) and isinstance(value, int) and abs(value) < 2**63)
    if not isinstance(value, kind) or not number:
        raise UserError(f"{where}: {key!r} is not {_KINDS.get(kind, kind.__name__)}: {abridged(value)}")
    return value


def to_points(values: object, at_least: int, where: str) -> Points:
    """Convert a list of pairs, or a flat list x, y, x, y, to (N, 2) points.

    Args:
        values: the list; its numbers may be strings.
        at_least: smallest N.
        where: file and place in it, for messages.

    Raises:
        UserError: the values are no pairs, too few, not finite or absurdly large.
    """
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: points are no pairs of numbers: {abridged(values)}") from error
    if not np.isfinite(array).all() or (array.size and np.abs(array).max() > _LARGEST_COORDINATE):
        raise UserError(
            f"{where}: a coordinate is not finite or beyond {_LARGEST_COORDINATE:.0f} pixels: {abridged(values)}"
        )
    if len(array) < at_least:
        raise UserError(f"{where}: has {len(array)} point(s); at least {at_least} are required")
    return array


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
