"""Progress bars, shown only on a terminal with room for them."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    items: Iterable[Any] | None = None, *, total: int | None = None, done: int = 0, unit: str, show: bool = True
) -> "tqdm[Any]":
    """Return a bar on the standard error; without a terminal it shows nothing.

    Args:
        items: items to count, which the bar yields.
        total: number of all items; None: the length of `items`.
        done: items done before.
        unit: name of an item, after the number.
        show: False in a process that another one reports for.
    """
    return tqdm(items, total=total, initial=done, unit=unit, disable=not (show and bar_has_room()))


def bar_has_room() -> bool:
    """Return True if the standard error is a terminal with a size; in some containers it has none and hides the bar."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        return min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (OSError, ValueError):  # no terminal of the system, but a notebook or a test
        return True
