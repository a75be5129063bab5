"""Class table of a data set: names, colours and ignored id; read from and written to dataset.json."""

from __future__ import annotations

import colorsys
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import UserError
from hdtrans.common.files import write_text

__all__ = ["CITYSCAPES", "ClassTable", "Colour"]

Colour = tuple[int, int, int]
"""(red, green, blue) in [0, 255]."""

_FORMAT = 1
_GOLDEN_RATIO = 0.6180339887498949
_DESCRIPTION = "the class table"  # place in messages about a table without a file


@dataclass(frozen=True)
class ClassTable:
    """Classes of a data set; the id of a class is its index.

    Args:
        names: one name per class.
        colours: one (red, green, blue) in [0, 255] per class.
        ignore: id of pixels without a class, which may also be the id of a class; None if every pixel has a class.

    Raises:
        UserError: no class, unequal numbers of names and colours, or a value of a wrong type or range.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignore: int | None = 255

    def __post_init__(self) -> None:
        if not self.names:
            raise UserError(f"{_DESCRIPTION}: no class; give one name and one colour per class")
        if len(self.names) != len(self.colours):
            raise UserError(
                f"{_DESCRIPTION}: {len(self.names)} names but {len(self.colours)} colours; give one of each per class"
            )
        for place, (name, colour) in enumerate(zip(self.names, self.colours, strict=True)):
            _check_name(name, f"{_DESCRIPTION}: names[{place}]")
            _read_colour(colour, f"{_DESCRIPTION}: colours[{place}]")
        _read_ignore(self.ignore, f"{_DESCRIPTION}: ignore")

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    def colourise(self, label: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
        """Paint a label map: (H, W) integers to (H, W, 3) uint8 RGB in [0, 255].

        The ignored id and ids outside the table become black.

        Raises:
            UserError: `label` is not a two-dimensional array of integers.

        Example: `CITYSCAPES.colourise(np.array([[7, 255]]))` gives `[[[128, 64, 128], [0, 0, 0]]]`.
        """
        if label.ndim != 2 or label.dtype.kind not in "iu":
            raise UserError(f"a label map must be integers of shape (H, W), got {label.dtype} of shape {label.shape}")
        black = len(self)
        table = np.zeros((max(black + 1, 256), 3), dtype=np.uint8)
        table[:black] = self.colours
        if self.ignore is not None and 0 <= self.ignore < black:
            table[self.ignore] = 0
        if label.dtype != np.uint8:  # all uint8 values are in the table
            label = np.where((label < 0) | (label > black), black, label).astype(np.intp)
        return np.take(table, label, axis=0)

    @classmethod
    def generic(cls, count: int, ignore: int | None = 255) -> ClassTable:
        """Return a table of `count` numbered classes in distinct colours, equal on every call.

        Raises:
            UserError: `count` is below 1.
        """
        if count < 1:
            raise UserError(f"the number of classes must be 1 or more, got {count}")
        return cls(
            names=tuple(f"class {place}" for place in range(count)),
            colours=tuple(_spread_colour(place) for place in range(count)),
            ignore=ignore,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain values, in the layout of dataset.json."""
        classes = [
            {"id": place, "name": name, "colour": list(colour)}
            for place, (name, colour) in enumerate(zip(self.names, self.colours, strict=True))
        ]
        return {"format": _FORMAT, "classes": classes, "labels": len(self), "ignore": self.ignore}

    @classmethod
    def from_dict(cls, values: object, where: str = _DESCRIPTION) -> ClassTable:
        """Return the table in plain values with the layout of dataset.json; other keys are skipped.

        Missing `labels` and `ignore` are the number of classes and 255.

        Raises:
            UserError: a key is missing or wrong; the message starts with `where`.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: expected an object with the key 'classes', got {_shown(values)}")
        if (found := values.get("format")) != _FORMAT or isinstance(found, bool):
            raise UserError(f"{where}: format: expected {_FORMAT}, got {_shown(found)}; is it from another version?")
        entries = values.get("classes")
        if not isinstance(entries, list | tuple) or not entries:
            raise UserError(f"{where}: classes: expected a list of one or more classes, got {_shown(entries)}")
        by_id = dict(_read_class(entry, place, len(entries), where) for place, entry in enumerate(entries))
        if missing := sorted(set(range(len(entries))) - set(by_id)):
            raise UserError(f"{where}: classes: an id is given twice and id {missing[0]} is missing; ids count from 0")
        labels = values.get("labels", len(entries))
        if labels != len(entries) or isinstance(labels, bool):
            raise UserError(f"{where}: labels: expected {len(entries)} (one for each class), got {_shown(labels)}")
        ordered = [by_id[place] for place in range(len(entries))]
        return cls(
            names=tuple(name for name, _ in ordered),
            colours=tuple(colour for _, colour in ordered),
            ignore=_read_ignore(values.get("ignore", 255), f"{where}: ignore"),
        )

    def write(self, path: str | os.PathLike[str], extra: Mapping[str, object] | None = None) -> None:
        """Write the table as dataset.json, whole or not at all, followed by the keys of `extra`.

        Raises:
            UserError: the file cannot be written.
        """
        own = self.to_dict()
        added = dict(extra or {})
        assert not own.keys() & added.keys(), "extra must not hide a key of the class table"
        write_text(path, json.dumps({**own, **added}, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ClassTable:
        """Read a dataset.json; keys of other tools are skipped.

        Raises:
            UserError: the file cannot be read, or a key is missing or wrong.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror or error}", path=path) from error
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"not a JSON file: {error}", path=path) from error
        return cls.from_dict(values, where=str(path))


def _spread_colour(place: int) -> Colour:
    """Return the colour of an index: hue by the golden angle, three values and two saturations in turn."""
    hue = (place * _GOLDEN_RATIO) % 1.0
    value = (0.95, 0.75, 0.55)[place % 3]
    saturation = (0.85, 0.55)[place // 3 % 2]
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _shown(value: object) -> str:
    """Return a short text of a wrong value; None stands for a missing key."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_name(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: expected a name, got {_shown(value)}")
    return value


def _read_colour(value: object, where: str) -> Colour:
    channels = list(value) if isinstance(value, list | tuple) else []
    if len(channels) != 3 or not all(_is_integer(channel) and 0 <= channel <= 255 for channel in channels):
        raise UserError(f"{where}: expected [red, green, blue] with integers from 0 to 255, got {_shown(value)}")
    return channels[0], channels[1], channels[2]


def _read_ignore(value: object, where: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UserError(f"{where}: expected an integer, or null if every pixel has a class, got {_shown(value)}")
    return value


def _read_class(entry: object, place: int, count: int, where: str) -> tuple[int, tuple[str, Colour]]:
    """Read one entry of `classes`."""
    here = f"{where}: classes[{place}]"
    if not isinstance(entry, Mapping):
        raise UserError(f"{here}: expected an object with id, name and colour, got {_shown(entry)}")
    number = entry.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < count:
        raise UserError(f"{here}.id: expected an integer from 0 to {count - 1}, got {_shown(number)}")
    name = _check_name(entry.get("name"), f"{here}.name")
    return number, (name, _read_colour(entry.get("colour"), f"{here}.colour"))


_CITYSCAPES_CLASSES: tuple[tuple[str, Colour], ...] = (
    ("unlabeled", (0, 0, 0)),
    ("ego vehicle", (0, 0, 0)),
    ("rectification border", (0, 0, 0)),
    ("out of roi", (0, 0, 0)),
    ("static", (0, 0, 0)),
    ("dynamic", (111, 74, 0)),
    ("ground", (81, 0, 81)),
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("parking", (250, 170, 160)),
    ("rail track", (230, 150, 140)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("guard rail", (180, 165, 180)),
    ("bridge", (150, 100, 100)),
    ("tunnel", (150, 120, 90)),
    ("pole", (153, 153, 153)),
    ("polegroup", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("caravan", (0, 0, 90)),
    ("trailer", (0, 0, 110)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
    ("license plate", (0, 0, 142)),  # -1 in the data set's own numbering
)

CITYSCAPES = ClassTable(
    names=tuple(name for name, _ in _CITYSCAPES_CLASSES),
    colours=tuple(colour for _, colour in _CITYSCAPES_CLASSES),
)
"""The 35 ids of the Cityscapes `labels` (0 to 34) in the published colours, numbered as in pix2pixHD."""
