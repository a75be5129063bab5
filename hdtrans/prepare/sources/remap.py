"""A class remapping file: which class becomes which."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError, nearest
from hdtrans.common.yaml_text import read_yaml

_REST = "*"
_IGNORE = "ignore"
_LARGEST_ID = 65535


@dataclass(frozen=True)
class Remap:
    """New classes, and the new id of each old one.

    Attributes:
        classes: the new table.
        ids: for each old id, and after them for the old ignored id, the new id.
        ignore: the old ignored id.
    """

    classes: ClassTable
    ids: tuple[int, ...]
    ignore: int | None

    def to_dict(self, old: ClassTable) -> dict[str, str | int]:
        """Return what each old class, by id and name, becomes."""
        return {f"{place} {name}": self.ids[place] for place, name in enumerate(old.names)}

    def apply(self, label: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Return an (H, W) map of old ids, all of them in the old table, with the new ones."""
        count = len(self.ids) - 1
        table = np.array(self.ids, np.uint16)
        if self.ignore is None or self.ignore < count:
            return np.asarray(table[label])
        return np.asarray(table[np.where(label == self.ignore, count, label)])


def read_remap(path: Path, old: ClassTable) -> Remap:
    """Read a remapping file of the table `old`.

    It is YAML or JSON of `old: new` lines. An old class is named by its name or id, `"*"` is every class that is not
    named; a new one is a name, an id, or `ignore`. Classes that nothing is said of stay. New classes are in the order
    of the first old class that becomes them, unless ids are given.

    Raises:
        UserError: naming the file and the line that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--remap {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    values = read_yaml(text, f"--remap {path}")
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"--remap {path}: expected lines of the form `old class: new class`, for example `truck: car`")
    where = f"--remap {path}"
    targets: dict[int, Any] = {}
    for key, value in values.items():
        if key != _REST:
            place = class_id(key, old, where)
            if place in targets:
                raise UserError(f"{where}: the class {old.names[place]!r} (id {place}) stands twice")
            targets[place] = _target(value, key, where)
    rest = _target(values[_REST], _REST, where) if _REST in values else None
    wanted = [targets.get(place, old.names[place] if rest is None else rest) for place in range(len(old))]
    return _remap(wanted, old, where)


def class_id(given: Any, table: ClassTable, where: str) -> int:
    """Return the id of a class given by name or id; raise UserError naming the nearest class."""
    if isinstance(given, str) and (places := [place for place, name in enumerate(table.names) if name == given]):
        if len(places) > 1:
            raise UserError(f"{where}: {given!r} is the name of the classes {places}; give the id")
        return places[0]
    text = str(given)
    if text.isdecimal() and not isinstance(given, bool):
        if int(text) < len(table):
            return int(text)
        raise UserError(f"{where}: there is no class {text}; classes are 0 to {len(table) - 1}")
    raise UserError(f"{where}: there is no class {text!r}.{nearest(text, table.names)}")


def _target(value: Any, key: Any, where: str) -> int | str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_ID:
        return value
    raise UserError(f"{where}: {key}: expected a class name, an id from 0, or {_IGNORE}; got {value!r}")


def _remap(wanted: list[int | str], old: ClassTable, where: str) -> Remap:
    """Number the new classes: ids that are given, then the names in order of appearance at the ids that are free."""
    names: dict[int, str] = {}
    for place, target in enumerate(wanted):
        if isinstance(target, int):
            names.setdefault(target, old.names[place])
    for target in wanted:
        if isinstance(target, str) and target != _IGNORE and target not in names.values():
            names[next(free for free in range(len(old) + 1) if free not in names)] = target
    if not names:
        raise UserError(f"{where}: every class would be ignored")
    if missing := sorted(set(range(max(names))) - names.keys()):
        raise UserError(f"{where}: new ids must count from 0, but no class becomes {missing[0]}")
    by_name = {name: place for place, name in names.items()}
    new = [None if t == _IGNORE else t if isinstance(t, int) else by_name[t] for t in wanted]
    kept = old.ignore is not None and old.ignore < len(old) and new[old.ignore] is not None
    if kept:
        assert old.ignore is not None
        ignore = new[old.ignore]
    elif old.ignore is not None and old.ignore >= max(len(old), len(names)):
        ignore = old.ignore
    else:
        ignore = 255 if len(names) <= 255 else _LARGEST_ID
    assert ignore is not None
    colours = {name: old.colours[place] for place, name in enumerate(old.names)}
    table = ClassTable(
        names=tuple(names[place] for place in range(len(names))),
        colours=tuple(colours.get(names[place], old.colours[new.index(place)]) for place in range(len(names))),
        ignore=ignore,
    )
    return Remap(table, tuple(ignore if target is None else target for target in (*new, None)), old.ignore)
