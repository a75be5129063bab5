"""Remarks on data that can be used: Python warnings, which a command prints once each on the standard error."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class DataWarning(UserWarning):
    """Data are likely not what their owner expects: files are left out, or most of their pixels are ignored."""

    level = "warning"


class DataNote(DataWarning):
    """Data are used by a rule worth knowing: paired by another rule than equal names, or read without alpha."""

    level = "note"


def remark(text: str, kind: type[DataWarning] = DataWarning) -> None:
    """Warn of data that can be used.

    Args:
        text: place, finding, and ways out.
        kind: `DataWarning` for a likely mistake, `DataNote` for good to know.
    """
    warnings.warn(text, kind, stacklevel=3)


@contextmanager
def printed_remarks() -> Iterator[None]:
    """Print remarks as `warning: ...` or `note: ...`, each once, in the first process alone."""
    before, seen = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, DataWarning):
            before(message, category, *place, **more)
        elif str(message) not in seen and os.environ.get("RANK", "0") == "0":
            seen.add(str(message))
            print(f"{category.level}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show
        yield
