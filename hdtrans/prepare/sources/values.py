"""Parse the grey values that masks have in place of class ids."""

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.prepare.sources.remap import IGNORE, class_id
from hdtrans.prepare.sources.source import LARGEST_ID

_LARGEST_VALUE = 2**31 - 1


def read_values(given: str, classes: ClassTable) -> dict[int, int]:
    """Return the class id, or the ignored id, by grey value.

    The value of the ignored id stays ignored, unless it is listed.

    Args:
        given: values of class 0, class 1, ..., as `0,255`; or values with their classes, by id, name or `ignore`, as
            `0:0,127:road,255:ignore`.
        classes: class table.

    Raises:
        UserError: a value is no number or is listed twice, a class does not exist, or a list without classes has more
            or fewer values than there are classes.
    """
    parts = [part.strip() for part in given.split(",")]
    with_classes = [":" in part for part in parts]
    if any(with_classes) != all(with_classes):
        raise _wrong(given, "give a class to every value, as 0:0,255:1, or to none, as 0,255")
    if not any(with_classes) and len(parts) != len(classes):
        finding = f"has {len(parts)} value(s) for {len(classes)} classes; give one to each, or pairs as 0:0,255:1"
        raise _wrong(given, finding)
    found: dict[int, int] = {}
    for place, part in enumerate(parts):
        text, _, target = part.partition(":")
        if not text.strip().isdecimal() or int(text) > _LARGEST_VALUE:
            raise _wrong(given, f"{text.strip()!r} is no value; values are numbers from 0 to {_LARGEST_VALUE}")
        if int(text) in found:
            raise _wrong(given, f"the value {int(text)} is listed twice; list it once")
        found[int(text)] = _class(given, target.strip(), classes) if target else place
    if classes.ignore is not None:
        found.setdefault(classes.ignore, classes.ignore)
    return found


def _class(given: str, target: str, classes: ClassTable) -> int:
    """Return the id of a class given by id or name, or the ignored id."""
    if target != IGNORE:
        return class_id(target, classes, argument="values", value=given)
    if classes.ignore is None or classes.ignore > LARGEST_ID:
        raise _wrong(given, "no id is ignored; give an id to ignore, or a class")
    return classes.ignore


def _wrong(given: str, finding: str) -> UserError:
    return UserError(finding, argument="values", value=given)
