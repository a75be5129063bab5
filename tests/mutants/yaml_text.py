"""Broken twin of the table of keys, whose time grows with the square of their number."""

from typing import Any


class Comparing(list[Any]):
    """A set that looks at one element after the other."""

    add = list.append

    def __contains__(self, key: object) -> bool:
        return any(key == other for other in self)
