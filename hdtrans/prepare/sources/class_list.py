"""Parse class lists and colour tables."""

import re
from pathlib import Path

from hdtrans.common.classes import ClassTable, Colour
from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.documents import read_text

_COLOUR = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
_COLOUR_FIRST = re.compile(rf"{_COLOUR}[\s,;]+(\S.*)")
_COLOUR_LAST = re.compile(rf"(\S.*?)[\s,;:]+{_COLOUR}")


def read_classes(given: str, argument: str, ignore: int | None = 255, colours: bool = False) -> ClassTable:
    """Read a class list: a number of classes, a dataset.json, or a text file with one class per line.

    A line is a name, `R G B name` or `name R G B`, separated by spaces, tabs or commas; the first line is class 0.
    Empty lines and comments (`#`) are skipped.

    Args:
        given: number of classes, or path of the list.
        argument: argument that gave it, for messages.
        ignore: ignored id, unless the list gives one.
        colours: require a distinct colour per class.

    Raises:
        UserError: the file cannot be read or a line is wrong; the message gives both.
    """
    if given.isdecimal() and not colours:
        return ClassTable.generic(int(given), ignore)
    path = Path(given)
    table = ClassTable.read(path) if path.suffix.lower() == ".json" else _read_lines(path, argument, ignore)
    if colours:
        _check_colours(table, path, argument)
    return table


def _read_lines(path: Path, argument: str, ignore: int | None) -> ClassTable:
    names: list[str] = []
    given: list[Colour | None] = []
    for number, line in enumerate(read_text(path, argument=argument).splitlines(), start=1):
        if not (text := line.partition("#")[0].strip()):
            continue
        first, last = _COLOUR_FIRST.fullmatch(text), _COLOUR_LAST.fullmatch(text)
        found = first.groups()[:3] if first else last.groups()[1:] if last else None
        names.append(first[4] if first else last[1] if last else text)
        if found and max(map(int, found)) > 255:
            finding = f"line {number}: got {text!r}; give colours as three numbers in 0 to 255"
            raise UserError(finding, argument=argument, path=path)
        given.append((int(found[0]), int(found[1]), int(found[2])) if found else None)
        if (given[-1] is None) != (given[0] is None):
            finding = f"line {number}: got {text!r}; give a colour to every class or to none"
            raise UserError(finding, argument=argument, path=path)
    if not names:
        raise UserError("contains no class; write one name per line", argument=argument, path=path)
    if len(names) > 256:
        ignore = None if ignore == 255 else ignore
    chosen = tuple(colour for colour in given if colour is not None)
    return ClassTable(tuple(names), chosen or ClassTable.generic(len(names)).colours, ignore)


def _check_colours(table: ClassTable, path: Path, argument: str) -> None:
    owner: dict[Colour, str] = {}
    for name, colour in zip(table.names, table.colours, strict=True):
        if colour in owner:
            finding = f"{owner[colour]!r} and {name!r} have the same colour {colour}; change one"
            raise UserError(finding, argument=argument, path=path)
        owner[colour] = name
