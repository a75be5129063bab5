"""Class lists and colour tables as people write them."""

import re
from pathlib import Path

from hdtrans.common.classes import ClassTable, Colour
from hdtrans.common.errors import UserError

_COLOUR = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
_COLOUR_FIRST = re.compile(rf"{_COLOUR}[\s,;]+(\S.*)")
_COLOUR_LAST = re.compile(rf"(\S.*?)[\s,;:]+{_COLOUR}")


def read_classes(given: str, option: str, ignore: int | None = 255, colours: bool = False) -> ClassTable:
    """Read a class list: a number of classes, a dataset.json, or a text file with a line for each class.

    A line is a name, `R G B name` or `name R G B`, with spaces, tabs or commas between; the first line is class 0.
    Empty lines and what follows `#` are passed over.

    Args:
        given: the number, or the path.
        option: that it was given with, for messages.
        ignore: the ignored id of a list that says nothing of it.
        colours: whether each class must have a colour of its own.

    Raises:
        UserError: naming the file and the line that is wrong.
    """
    if given.isdecimal() and not colours:
        return ClassTable.generic(int(given), ignore)
    path = Path(given)
    table = ClassTable.read(path) if path.suffix.lower() == ".json" else _read_lines(path, option, ignore)
    if colours:
        _check_colours(table, f"{option} {path}")
    return table


def _read_lines(path: Path, option: str, ignore: int | None) -> ClassTable:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    names: list[str] = []
    given: list[Colour | None] = []
    for number, line in enumerate(lines, start=1):
        if not (text := line.partition("#")[0].strip()):
            continue
        first, last = _COLOUR_FIRST.fullmatch(text), _COLOUR_LAST.fullmatch(text)
        found = first.groups()[:3] if first else last.groups()[1:] if last else None
        names.append(first[4] if first else last[1] if last else text)
        if found and max(map(int, found)) > 255:
            raise UserError(f"{option} {path}: line {number}: a colour has numbers from 0 to 255, got {text!r}")
        given.append((int(found[0]), int(found[1]), int(found[2])) if found else None)
        if (given[-1] is None) != (given[0] is None):
            raise UserError(f"{option} {path}: line {number}: give a colour to every class or to none, got {text!r}")
    if not names:
        raise UserError(f"{option} {path}: has no class; write one name a line")
    if len(names) > 256:
        ignore = None if ignore == 255 else ignore
    chosen = tuple(colour for colour in given if colour is not None)
    return ClassTable(tuple(names), chosen or ClassTable.generic(len(names)).colours, ignore)


def _check_colours(table: ClassTable, where: str) -> None:
    owner: dict[Colour, str] = {}
    for name, colour in zip(table.names, table.colours, strict=True):
        if colour in owner:
            raise UserError(f"{where}: {owner[colour]!r} and {name!r} have the same colour {colour}")
        owner[colour] = name
