"""Hand-broken twins of the code, one idea a file: a test that passes with them would see nothing.

A twin takes the place of the sound code through a `MonkeyPatch`, or for good, in a process of its own. Limits that are
only turned off or moved stay in their tests.
"""

from collections.abc import Callable
from typing import Any


def as_code(change: Callable[[], None]) -> str:
    """Return the lines of a program that make a change of this package; its checkout is to be on the path."""
    return f"from {change.__module__} import {change.__name__}\n{change.__name__}()\n"


def put(owner: Any, name: str, twin: Any) -> None:
    """Put a twin in the place of what a class or module has under a name; raise AttributeError where it has none."""
    getattr(owner, name)
    setattr(owner, name, twin)
