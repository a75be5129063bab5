"""Errors that end a command on purpose, with their facts as attributes, and helpers for their messages.

A message is made once, from facts: where (a file, or an argument with its value), the finding, and advice. Library code
names arguments; an interface passes its own `Spelling`, and reads `--max-memory 4G` where Python reads `max_memory=4G`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

__all__ = [
    "Advice",
    "MissingFile",
    "MissingPackage",
    "MissingPartner",
    "NonFiniteError",
    "PictureWarning",
    "ProcessError",
    "RecipeError",
    "SeveralErrors",
    "SizeMismatch",
    "Spelling",
    "Stopped",
    "UnknownName",
    "UnreadableFile",
    "UserError",
    "WrongIds",
    "as_argument",
    "as_one",
    "as_text",
    "nearest",
    "reading_failure",
    "shown",
]

FilePath = str | os.PathLike[str]
Spelling = Callable[[str, object], str | None]
"""Writes an argument with its value (None: the name alone) as an interface does; None where it has no such argument."""

_MOST_SHOWN = 8  # ids, partners or sizes in one message


def as_argument(argument: str, value: object = None) -> str:
    """Write an argument as Python and a recipe's overrides do: `max_memory=4G`."""
    return argument if value is None else f"{argument}={as_text(value)}"


@dataclass(frozen=True)
class Advice:
    """One way out of an error: an argument to give or to leave out.

    Attributes:
        argument: name of an argument of the library.
        value: value to give; None advises to leave the argument out.
        reason: end of the sentence, as `if you know where the file comes from`.
    """

    argument: str
    value: object = True
    reason: str = ""

    def text(self, spelling: Spelling) -> str:
        """Return the advice in the words of an interface, or '' where that has no such argument."""
        word = spelling(self.argument, self.value)
        verb = "leave out" if self.value is None else "give"
        return "" if word is None else " ".join(part for part in (verb, word, self.reason) if part)


class UserError(ValueError):
    """A mistake in what the user gave. Commands print it without a traceback and leave with `exit_code`.

    Args:
        finding: sentence without its place: what was found, and what is allowed.
        path: file or folder at fault.
        argument: argument at fault; the message starts with it.
        value: its value; unset, `path`.
        advice: ways out, each an `Advice` or a phrase; the message ends with them, joined by "or".
    """

    exit_code = 2
    reported = False
    """Another process prints the message."""

    def __init__(
        self,
        finding: str = "",
        *,
        path: FilePath | None = None,
        argument: str | None = None,
        value: object = None,
        advice: Sequence[Advice | str] = (),
    ) -> None:
        super().__init__(finding)
        self.finding = finding
        self.path = path
        self.argument = argument
        self.value = path if value is None else value
        self.advice = tuple(advice)
        self._names: dict[str, str | None] = {}
        self._section = ""

    def renamed(self, names: Mapping[str, str | None], section: str = "") -> Self:
        """Name arguments by other words from here on, and return the error itself.

        Args:
            names: new name of each argument, as the recipe key `validate.segmenter` of `segmenter`; None where the
                caller has no such argument, so that advice on it is dropped. The first name given to one stays.
            section: start of the message, unless that starts with an argument renamed here.
        """
        self._names = {**names, **self._names}
        self._section = self._section or section
        return self

    def text(self, spelling: Spelling = as_argument) -> str:
        """Return the message in the words of an interface."""

        def spell(argument: str, value: object) -> str | None:
            name = self._names.get(argument, spelling)
            if name is None or isinstance(name, str):
                return None if name is None else as_argument(name, value)
            return spelling(argument, value)

        if self.argument is not None:
            place = spell(self.argument, self.value) or as_argument(self.argument, self.value)
        else:
            place = shown(self.path) if self.path is not None else ""
        section = "" if self._names.get(self.argument or "") else self._section
        advice = _joined(one if isinstance(one, str) else one.text(spell) for one in self.advice)
        return ": ".join(part for part in (section, place, _with_advice(self.finding, advice)) if part)

    def without_place(self) -> str:
        """Return finding and advice, for a list that names the place itself."""
        phrases = [one if isinstance(one, str) else one.text(as_argument) for one in self.advice]
        return _with_advice(self.finding, _joined(phrases))

    def __str__(self) -> str:
        return self.text()

    def __reduce__(self) -> Any:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[UserError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> UserError:
    """Unpickle an error without its constructor, which takes facts and not the sentence made of them."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(facts)
    return error


class MissingFile(UserError):
    """A file or folder does not exist.

    Args:
        path: file or folder.
        noun: `file`, `folder` or `file or folder`.
        there: names beside it, for the nearest one.
        place: `argument`, `advice`: see `UserError`.
    """

    def __init__(self, path: FilePath, noun: str = "file", there: Iterable[str] = (), **place: Any) -> None:
        guess = nearest(os.path.basename(os.fspath(path)), there)
        super().__init__(f"there is no such {noun}{'.' + guess if guess else ''}", path=path, **place)


class UnreadableFile(UserError):
    """A file exists and cannot be read as what it should be.

    Args:
        path: the file.
        reason: short cause, in lower case.
        wanted: kind of file, as `a picture`.
        place: `argument`, `advice`: see `UserError`.
    """

    def __init__(self, path: FilePath, reason: str, wanted: str = "", **place: Any) -> None:
        self.reason = reason
        as_what = f" as {wanted}" if wanted else ""
        super().__init__(f"cannot be read{as_what}: {reason}", path=path, **place)


class UnknownName(UserError):
    """A name is none of those allowed.

    Args:
        noun: kind of thing that has the name, as `method`.
        name: name that was given.
        allowed: names that exist, in the order of the message.
        near: word to compare them with for the nearest; unset, `name`.
        place: `path`, `argument`, `value`, `advice`: see `UserError`.
    """

    def __init__(self, noun: str, name: str, allowed: Iterable[str], near: str | None = None, **place: Any) -> None:
        self.name, self.allowed = name, tuple(allowed)
        guess = nearest(name if near is None else near, self.allowed)
        super().__init__(f"there is no {noun} {name!r}; there are {', '.join(self.allowed)}.{guess}", **place)


class SizeMismatch(UserError):
    """Files of one sample differ in size.

    Args:
        paths: files by field; the first is the place of the message.
        sizes: (width, height) in pixels by field, at least two.
        place: `argument`, `advice`: see `UserError`.
    """

    def __init__(self, paths: Mapping[str, FilePath], sizes: Mapping[str, tuple[int, int]], **place: Any) -> None:
        self.paths, self.sizes = dict(paths), dict(sizes)
        found = ", ".join(f"{name} {width}x{height} ({shown(paths[name])})" for name, (width, height) in sizes.items())
        place.setdefault("advice", ["make them equal"])
        first = next(iter(paths.values()))
        super().__init__(f"the files of this sample differ in size: {found}", path=first, **place)


class MissingPartner(UserError):
    """Files that belong together by name lack their partners.

    Args:
        finding: sentence, and a line for each folder.
        missing: names of the samples without a partner, by the field that lacks it.
        place: `path`, `argument`, `advice`: see `UserError`.
    """

    def __init__(self, finding: str, missing: Mapping[str, Sequence[str]], **place: Any) -> None:
        self.missing = {name: tuple(samples) for name, samples in missing.items()}
        super().__init__(finding, **place)


class WrongIds(UserError):
    """A label map holds ids that are no class.

    Args:
        ids: those ids, sorted.
        labels: number of classes; their ids are 0 to `labels` - 1.
        ignore: id of pixels without a class, or None.
        found: words for each id, as its number of pixels; unset: the ids alone.
        place: `path`, `argument`, `advice`: see `UserError`.
    """

    def __init__(
        self, ids: Sequence[int], labels: int, ignore: int | None, found: Sequence[str] = (), **place: Any
    ) -> None:
        self.ids, self.labels, self.ignore = tuple(ids), labels, ignore
        ignored = "no id is ignored (data.ignore)" if ignore is None else f"{ignore} is ignored (data.ignore)"
        listed = _listed(found or [str(number) for number in ids], last=f", up to {self.ids[-1]}")
        finding = f"ids that are no class: {listed}. Classes are 0 to {labels - 1} (data.labels={labels}), {ignored}."
        super().__init__(finding, **place)


class MissingPackage(UserError):
    """A package that only some commands need is not installed.

    Args:
        package: its name on PyPI.
        extra: extra of hdtrans that brings it.
        purpose: feature that needs it, as `.onnx files`.
        place: `path`, `argument`, `advice`: see `UserError`.
    """

    def __init__(self, package: str, extra: str, purpose: str = "", **place: Any) -> None:
        self.package, self.extra = package, extra
        subject = f"{purpose}: " if purpose else ""
        super().__init__(f"{subject}needs {package}: pip install hdtrans[{extra}]", **place)


class RecipeError(UserError):
    """A recipe has problems, all reported at once.

    Args:
        where: file of the recipe, or another name for its place.
        problems: key and finding of each; the key is '' for one that concerns several sections.
    """

    def __init__(self, where: str, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        lines = [f"{key}: {finding}" if key else finding for key, finding in self.problems]
        super().__init__("\n  ".join([f"{len(lines)} problem(s) in this recipe:", *lines]), path=where)


class SeveralErrors(UserError):
    """Errors of several processes; the message has each on lines of its own."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__()
        self.errors = tuple(errors)

    def text(self, spelling: Spelling = as_argument) -> str:
        """Return the messages in the words of an interface."""
        return "\n".join(dict.fromkeys(error.text(spelling) for error in self.errors))

    def renamed(self, names: Mapping[str, str | None], section: str = "") -> Self:
        """Name arguments by other words in every error; see `UserError`."""
        self.errors = tuple(error.renamed(names, section) for error in self.errors)
        return self


def as_one(errors: Iterable[UserError]) -> UserError:
    """Return the one error that all are by their text, or `SeveralErrors`."""
    different = list({str(error): error for error in errors}.values())
    return different[0] if len(different) == 1 else SeveralErrors(different)


class NonFiniteError(RuntimeError):
    """Training met a NaN or an infinity: the message names the loss or the network and the images seen."""

    exit_code = 3


class ProcessError(RuntimeError):
    """Another process is lost, or holds other weights: the message names it, and how far training got."""

    exit_code = 1

    def __init__(self, message: str, reported: bool = False) -> None:
        super().__init__(message)
        self.reported = reported  # by another process


class Stopped(RuntimeError):
    """A signal ended the run, and its state is saved. The exit code is 128 plus the signal's number."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class PictureWarning(UserWarning):
    """A translated picture is degenerate: one colour, or nearly all black and white."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the allowed word most like `word`, or '' where none is close.

    The answer starts with a space, so that it can be put after any sentence. Upper and lower case count as equal.

    Example: `nearest("lerning_rate", ["learning_rate", "seed"])` gives " Did you mean 'learning_rate'?".
    """
    by_lower_case = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f" Did you mean {by_lower_case[close[0]]!r}?" if close else ""


def shown(path: FilePath) -> str:
    """Return a path for a message: as it is, or quoted and escaped where it would not print."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def reading_failure(error: Exception) -> str:
    """Return one line on why a file of tensors was refused; of a file that would have run code, the call's name.

    torch's own message ends with the advice to read the file without its guard.
    """
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it asks for {found[1]}, which could run code and was not called"
    if text.startswith("Weights only load failed"):
        return "it holds something else than tensors and plain values"
    return " ".join([f"{type(error).__name__}:", *text.splitlines()[:1]])


def as_text(value: object) -> str:
    """Return an argument's value for a message."""
    return shown(value) if isinstance(value, str | os.PathLike) else str(value)


def _with_advice(finding: str, advice: str) -> str:
    if advice and (finding.endswith(("?", ".")) or "\n" in finding):
        return f"{finding}{chr(10) if chr(10) in finding else ' '}{advice[0].upper()}{advice[1:]}"
    return f"{finding}; {advice}" if advice else finding


def _joined(phrases: Iterable[str]) -> str:
    """Return ways out, joined by "or"; a verb that the one before has too is written once."""
    given = [phrase for phrase in phrases if phrase]
    short = given[:1]
    for before, phrase in itertools.pairwise(given):
        verb = next((verb for verb in ("give ", "leave out ") if before.startswith(verb)), "")
        short.append(phrase.removeprefix(verb))
    return ", or ".join(short)


def _listed(words: Sequence[str], last: str = "") -> str:
    """Return the first words, and the number of the rest."""
    more = f" and {len(words) - _MOST_SHOWN} more{last}" if len(words) > _MOST_SHOWN else ""
    return ", ".join(words[:_MOST_SHOWN]) + more
