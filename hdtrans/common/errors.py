"""The ways in which a command stops on purpose, and the words that help a user out of the first."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

__all__ = [
    "NonFiniteError",
    "PictureWarning",
    "ProcessError",
    "Stopped",
    "UserError",
    "nearest",
    "reading_failure",
    "shown",
]


class UserError(ValueError):
    """A mistake in what the user gave: the message says what, where, what is allowed and what to do.

    Commands print the message without a traceback and leave with `exit_code`.
    """

    exit_code = 2
    told = False
    """Whether another process prints the message."""


class NonFiniteError(RuntimeError):
    """Training met a NaN or an infinity: the message names the loss or the network and the images seen."""

    exit_code = 3


class ProcessError(RuntimeError):
    """A process that others need is lost, or holds other weights than they: the message says which, and how far."""

    exit_code = 1

    def __init__(self, message: str, told: bool = False) -> None:
        super().__init__(message)
        self.told = told  # by another process


class PictureWarning(UserWarning):
    """A picture was made, but it shows nothing: it is of one colour, or nearly all black and white."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the allowed word most like `word`, or '' where none is close.

    The answer starts with a space, so that it can be put after any sentence. Upper and lower case count as equal.

    Example: `nearest("lerning_rate", ["learning_rate", "seed"])` gives " Did you mean 'learning_rate'?".
    """
    by_lower_case = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f" Did you mean {by_lower_case[close[0]]!r}?" if close else ""


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for a message: as it is, or quoted and escaped where it would not print."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def reading_failure(error: Exception) -> str:
    """Return in one line why a file of tensors was refused; where it would have run code, what that is called.

    torch's own words end with the advice to read the file without its guard.
    """
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it asks for {found[1]}, which could run code and was not called"
    if text.startswith("Weights only load failed"):
        return "it holds something else than tensors and plain values"
    return " ".join([f"{type(error).__name__}:", *text.splitlines()[:1]])


class Stopped(RuntimeError):
    """A signal asked the run to stop; its state is saved. The exit code is 128 and the signal's number."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
