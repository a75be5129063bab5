"""Read the documents that annotations come in: text, JSON and XML, with one clear error for what is wrong in them."""

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
"""(N, 2) places as x and y; the centre of the first pixel is (0.5, 0.5)."""

_KINDS = {list: "a list", dict: "an object", str: "a text", int: "an integer", float: "a number", bool: "true or false"}
_FARTHEST = 1e7  # pixels
_T = TypeVar("_T")


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Read a text file; raise UserError naming it where it cannot be read."""
    try:
        return path.read_text(encoding=encoding)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text in {error.encoding}: {error.reason} at byte {error.start}") from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, stripped, without empty ones and those that start with `#`."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_json(path: Path, encoding: str = "utf-8-sig") -> Any:
    """Read a JSON file; raise UserError naming it, and the line where it is wrong."""
    try:
        return json.loads(read_text(path, encoding))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON, or not all of it: {error}") from error


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file; raise UserError for one that is not well-formed, or has a DOCTYPE (and so could have entities).

    Entities can fill the memory or read other files; no annotation tool writes any.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise UserError(f"{path}: has a DOCTYPE, which annotations do not need and which is not read; remove that line")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except expat.ExpatError as error:
        raise UserError(f"{path}: is no XML, or not all of it: {error}") from error
    return builder.close()


def field(values: object, key: str, kind: type[_T], where: str) -> _T:
    """Return `values[key]`, which must be of a kind; raise UserError naming `where` and the key."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected an object with the key {key!r}, got {shown(values)}")
    if key not in values:
        guess = nearest(key, [name for name in values if isinstance(name, str)])
        raise UserError(f"{where}: the key {key!r} is missing.{guess}")
    value = values[key]
    if kind is float and type(value) is int:
        value = float(value)
    number = kind is not int or (not isinstance(value, bool) and isinstance(value, int) and abs(value) < 2**63)
    if not isinstance(value, kind) or not number:
        raise UserError(f"{where}: {key!r} is not {_KINDS.get(kind, kind.__name__)}: {shown(value)}")
    return value


def to_points(values: object, at_least: int, where: str) -> Points:
    """Return a list of pairs, or a flat list x, y, x, y, as (N, 2) places; raise UserError naming `where`."""
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its points are no pairs of numbers: {shown(values)}") from error
    if not np.isfinite(array).all() or (array.size and np.abs(array).max() > _FARTHEST):
        raise UserError(f"{where}: a point lies nowhere near a picture: {shown(values)}")
    if len(array) < at_least:
        raise UserError(f"{where}: has {len(array)} point(s), at least {at_least} are needed")
    return array


def size_of(values: object, where: str, height: str = "height", width: str = "width") -> tuple[int, int]:
    """Return (height, width) under these keys, both 1 or more, and no more pixels than a picture may have."""
    found = field(values, height, int, where), field(values, width, int, where)
    if min(found) < 1 or found[0] * found[1] > LARGEST_PIXELS:
        raise UserError(f"{where}: has a size of {found[1]}x{found[0]} pixels; 1 to {LARGEST_PIXELS} are allowed")
    return found


def shown(value: object) -> str:
    """Return a short picture of a wrong value for a message."""
    text = ascii(value) if not isinstance(value, str | os.PathLike) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
