"""Class names as annotators type them: outer spaces are dropped, names that differ by case alone are reported."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

_BLANK = "\ufeff\u200b"  # invisible, and not white space for Python
_MOST_SHOWN = 5


def clean_name(name: str) -> str:
    """Return a class name without outer white space."""
    before = None
    while name != before:
        before, name = name, name.strip().strip(_BLANK)
    return name


def space_notes(names: Iterable[str]) -> list[str]:
    """Return a note on the names that `clean_name` changes, or no note."""
    changed = [name for name in dict.fromkeys(names) if clean_name(name) != name]
    return [f"spaces around class names are dropped: {_listed(map(ascii, changed))}"] if changed else []


def likeness_notes(names: Sequence[str]) -> list[str]:
    """Return notes on names of a class table that are equal, differ by case or spaces alone, or have outer spaces."""
    alike: dict[str, list[str]] = defaultdict(list)
    for number, name in enumerate(names):
        alike["".join(name.split()).casefold()].append(f"{name!r} (id {number})")
    groups = [" and ".join(group) for group in alike.values() if len(group) > 1]
    notes = [f"class names that differ by case or spaces, or not at all: {_listed(groups)}"] if groups else []
    around = [ascii(name) for name in names if clean_name(name) != name]
    return [*notes, f"class names with spaces around them: {_listed(around)}"] if around else notes


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more
