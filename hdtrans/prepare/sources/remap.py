"""Class remapping: read a remapping file and apply it to label maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError, nearest
from hdtrans.common.yaml_text import read_yaml
from hdtrans.prepare.sources.documents import read_text
from hdtrans.prepare.sources.source import LARGEST_ID
from hdtrans.prepare.sources.tables import default_ignore

_REST = "*"
IGNORE = "ignore"
"""Word for the ignored id in place of a class."""


@dataclass(frozen=True)
class Remap:
    """New class table and the new id of each old class.

    Attributes:
        classes: new table.
        ids: new id per old id; the last entry is for the old ignored id.
        ignore: old ignored id, or None.
    """

    classes: ClassTable
    ids: tuple[int, ...]
    ignore: int | None

    def to_dict(self, old: ClassTable) -> dict[str, str | int]:
        """Return {"old id and name": new id}."""
        return {f"{index} {name}": self.ids[index] for index, name in enumerate(old.names)}

    def apply(self, label: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Map an (H, W) label map of old ids, all in the old table, to (H, W) uint16 new ids."""
        count = len(self.ids) - 1
        table = np.array(self.ids, np.uint16)
        if self.ignore is None or self.ignore < count:
            return np.asarray(table[label])
        return np.asarray(table[np.where(label == self.ignore, count, label)])


def read_remap(path: Path, old: ClassTable) -> Remap:
    """Read a remapping file for the class table `old`.

    The file is YAML or JSON with `old: new` lines. The old class is a name or id, or `"*"` for all unlisted classes;
    the new one is a name, an id, or `ignore`. Unlisted classes stay. Without ids, new classes are numbered in the order
    of their first old class.

    Raises:
        UserError: the file or one of its entries is wrong; the message gives both.
    """
    place: dict[str, Any] = {"argument": "remap", "path": path}
    values = read_yaml(read_text(path, argument="remap"), str(path))
    if not isinstance(values, Mapping) or not values:
        raise UserError("expected lines of the form `old class: new class`, for example `truck: car`", **place)
    targets: dict[int, Any] = {}
    for key, value in values.items():
        if key != _REST:
            index = class_id(key, old, **place)
            if index in targets:
                raise UserError(f"the class {old.names[index]!r} (id {index}) is listed twice; list it once", **place)
            targets[index] = _target(value, key, place)
    rest = _target(values[_REST], _REST, place) if _REST in values else None
    wanted = [targets.get(index, old.names[index] if rest is None else rest) for index in range(len(old))]
    return _remap(wanted, old, place)


def class_id(given: Any, table: ClassTable, **place: Any) -> int:
    """Return the id of a class given by name or id.

    Args:
        given: name or id.
        table: classes.
        place: `argument`, `path`: see `UserError`.

    Raises:
        UserError: there is no such class, or several have the name; the message has the nearest name.
    """
    if isinstance(given, str) and (indices := [index for index, name in enumerate(table.names) if name == given]):
        if len(indices) > 1:
            raise UserError(f"{given!r} is the name of the classes {indices}; give an id instead", **place)
        return indices[0]
    text = str(given)
    if text.isdecimal() and not isinstance(given, bool):
        if int(text) < len(table):
            return int(text)
        raise UserError(f"unknown class {text}; classes are 0 to {len(table) - 1}", **place)
    raise UserError(f"unknown class {text!r}.{nearest(text, table.names)}", **place)


def _target(value: Any, key: Any, place: Mapping[str, Any]) -> int | str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_ID:
        return value
    raise UserError(f"{key}: expected a class name, an id from 0, or {IGNORE}; got {value!r}", **place)


def _remap(wanted: list[int | str], old: ClassTable, place: Mapping[str, Any]) -> Remap:
    """Number the new classes: given ids first, then names in order of appearance at the free ids."""
    names: dict[int, str] = {}
    for index, target in enumerate(wanted):
        if isinstance(target, int):
            names.setdefault(target, old.names[index])
    for target in wanted:
        if isinstance(target, str) and target != IGNORE and target not in names.values():
            names[next(free for free in range(len(old) + 1) if free not in names)] = target
    if not names:
        raise UserError("every class would be ignored; keep at least one", **place)
    if missing := sorted(set(range(max(names))) - names.keys()):
        raise UserError(f"new ids must be 0, 1, 2, ... without gaps, but {missing[0]} is missing", **place)
    by_name = {name: index for index, name in names.items()}
    new = [None if t == IGNORE else t if isinstance(t, int) else by_name[t] for t in wanted]
    kept = old.ignore is not None and old.ignore < len(old) and new[old.ignore] is not None
    if kept:
        assert old.ignore is not None
        ignore = new[old.ignore]
    elif old.ignore is not None and old.ignore >= max(len(old), len(names)):
        ignore = old.ignore
    else:
        ignore = default_ignore(len(names))
    assert ignore is not None
    colours = {name: old.colours[index] for index, name in enumerate(old.names)}
    table = ClassTable(
        names=tuple(names[index] for index in range(len(names))),
        colours=tuple(colours.get(names[index], old.colours[new.index(index)]) for index in range(len(names))),
        ignore=ignore,
    )
    return Remap(table, tuple(ignore if target is None else target for target in (*new, None)), old.ignore)
