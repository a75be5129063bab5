"""Find the files that annotation files of other programs name: paths of Windows, of a server, and URLs.

A path is tried as given, then without what belongs to the other machine, then with its URL escapes replaced. Where no
file lies there, the file with the longest equal end of its path is taken, and noted if that is not all of the path.
"""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from hdtrans.common.errors import Advice, UserError, shown
from hdtrans.prepare.sources.dataset_files import files_under, split_of

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*")
_DRIVE = re.compile(r"/?[A-Za-z]:(?=/)")
_LOCAL = "?d="  # of Label Studio: /data/local-files/?d=photos/a.jpg

Parts = tuple[str, ...]


@dataclass(frozen=True)
class ForeignPath:
    """A path without what belongs to another machine.

    Attributes:
        parts: its folders and its name; neither root, drive, host, `.` nor `..`. () for a path that names no file.
        inside: True if it was relative and stayed below the folder that it starts from.
    """

    parts: Parts
    inside: bool

    @property
    def stem(self) -> str:
        """The path without extension, as an item's name."""
        return stem_of(self.parts)


def foreign_path(text: str) -> ForeignPath:
    r"""Clean a path of Windows, of a server, or a URL.

    Example: the parts of `..\data\a.jpg`, `file:///C:/data/a.jpg` and `/data/./a.jpg` are `("data", "a.jpg")`.
    """
    if "\0" in text:
        return ForeignPath((), False)
    given = text.strip().rpartition(_LOCAL)[2].replace("\\", "/")
    path = _URL.sub("", given, count=1)
    if path != given:
        path = path.partition("?")[0]
    path = _DRIVE.sub("", path, count=1)
    parts = [part for part in posixpath.normpath(path).split("/") if part not in ("", ".")]
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    inside = path == given and not path.startswith("/") and not up
    return ForeignPath(tuple(parts[up:]), inside)


def stem_of(parts: Sequence[str]) -> str:
    """Return a path without the extension of its last part; `/` separates the parts."""
    return Path(*parts).with_suffix("").as_posix() if parts else ""


@dataclass(frozen=True)
class Match:
    """File found for a path.

    Attributes:
        path: the file.
        inside: its path below the folder searched, in parts.
        end: number of the last parts that fit.
        whole: True if all of the given path fits, as it is written.
    """

    path: Path
    inside: Parts
    end: int
    whole: bool


def item_name(text: str, match: Match | None) -> str:
    """Return the name of an item: its photo's path in the annotations, or if that leads out, the end that fits."""
    path = foreign_path(text)
    return path.stem if path.inside or match is None else stem_of(match.inside[-match.end :])


@dataclass(frozen=True)
class Wanted:
    """A photo that an annotation file names.

    Attributes:
        text: its path there.
        where: file and place in it, for messages.
        split: split of the annotation; among equal names, a file in a folder named after it is taken.
        start: folder that the path starts from, relative to the folder searched; None if the program that wrote it
            knew another one, so that any folder will do.
    """

    text: str
    where: str
    split: str | None = None
    start: Parts | None = None


@dataclass(frozen=True)
class Found:
    """Result for a `Wanted`.

    Attributes:
        match: the file, or None.
        problem: error on files that fit equally well, or on a file that fits two paths.
        notes: warnings.
    """

    match: Match | None
    problem: UserError | None = None
    notes: tuple[str, ...] = ()


def find_photos(files: "ForeignFiles", wanted: Sequence[Wanted]) -> list[Found]:
    """Find all photos of a data set; a file that a whole path names is not given to the end of another path."""
    matches: list[Match | UserError | None] = []
    owners: dict[Path, Wanted] = {}
    for each in wanted:
        try:
            matches.append(files.find(each))
        except UserError as error:
            matches.append(error.with_traceback(None))
    found: dict[int, Found] = {}
    order = sorted(range(len(wanted)), key=lambda place: not getattr(matches[place], "whole", False))
    for place in order:
        match, each = matches[place], wanted[place]
        if isinstance(match, UserError) or match is None:
            found[place] = Found(None, match)
            continue
        owner = owners.setdefault(match.path, each)
        where = shown("/".join(match.inside))
        if match.whole:
            twice = (f"photo of two entries: {where}, in {each.where} and {owner.where}",) if owner is not each else ()
            found[place] = Found(match, notes=twice)
        elif owner is each:
            found[place] = Found(match, notes=(f"photo found by the end of its path: {each.text!r} is {where}",))
        else:
            finding = f"{each.where}: the photo {each.text!r} is not there; {where} is that of {owner.where}"
            found[place] = Found(None, UserError(finding))
    return [found[place] for place in range(len(wanted))]


class ForeignFiles:
    """Files below a folder, found by the paths that annotation files name.

    Args:
        folder: folder to search.
        by_stem: compare paths without extensions.
        without: folders below it to leave out.
    """

    def __init__(self, folder: Path, by_stem: bool = False, without: Collection[Path] = ()) -> None:
        self.folder = folder
        self._by_stem = by_stem
        self._exact: dict[Parts, list[Path]] = defaultdict(list)
        self._ends: dict[str, list[tuple[Parts, Path]]] = defaultdict(list)
        for path in files_under(folder):
            if any(path.is_relative_to(other) for other in without):
                continue
            key = self._key(path.relative_to(folder).parts)
            self._exact[key].append(path)
            self._ends[_folded(key[-1])].append((key, path))

    def has(self, text: str) -> bool:
        """Return True if a file lies exactly at this path, relative to the folder."""
        return self._key(foreign_path(text).parts) in self._exact

    def find(self, wanted: Wanted) -> Match | None:
        """Return the file that a path names, or None; raise UserError with two of them if several fit equally well."""
        text, split = wanted.text, wanted.split
        paths = list(dict.fromkeys((foreign_path(text), foreign_path(unquote(text)))))
        if not paths[0].parts:
            return None
        here = posixpath.join(*wanted.start, text.replace("\\", "/")) if wanted.start else text
        literal = self._key(tuple(posixpath.normpath(text).split("/")))
        for key in (literal, *(self._key(foreign_path(path).parts) for path in (here, unquote(here)))):
            if key in self._exact:
                return self._match(self._chosen(self._exact[key], text, split), len(key), True)
        keys = [self._key((text,)), *(self._key(path.parts) for path in paths)]
        for same in (_same, _alike):
            for key in keys:
                if best := self._best(key, same):
                    whole = wanted.start is None and same is _same and best[0] == len(key)
                    return self._match(self._chosen(best[1], text, split), best[0], whole)
        return None

    def _best(self, key: Parts, same: "_Same") -> tuple[int, list[Path]] | None:
        """Return the largest number of equal last parts, if any, and the files that have it."""
        by_length: dict[int, list[Path]] = defaultdict(list)
        for other, path in self._ends.get(_folded(key[-1]), ()):
            pairs = zip(reversed(key), reversed(other), strict=False)
            length = next((place for place, pair in enumerate(pairs) if not same(*pair)), min(len(key), len(other)))
            by_length[length].append(path)
        longest = max(by_length, default=0)
        return (longest, by_length[longest]) if longest else None

    def _chosen(self, found: list[Path], text: str, split: str | None) -> Path:
        named = [path for path in found if path.name == foreign_path(text).parts[-1]] or found
        own = [path for path in named if split_of(*path.relative_to(self.folder).parts[:-1]) == split]
        if len(named) > 1 and len(own) != 1:
            finding = f"{shown(named[0])} and {shown(named[1])}: both match the photo {text!r}"
            raise UserError(finding, advice=[Advice("photo_dir", "DIR", "with one of them")])
        return (own if len(named) > 1 else named)[0]

    def _match(self, path: Path, end: int, whole: bool) -> Match:
        return Match(path, path.relative_to(self.folder).parts, end, whole)

    def _key(self, parts: Parts) -> Parts:
        return Path(*parts).with_suffix("").parts if self._by_stem else parts


_Same = Callable[[str, str], bool]


def _same(one: str, other: str) -> bool:
    return one == other


def _alike(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    """Return a name as file systems compare it that know no case, or store accents as letters of their own."""
    return unicodedata.normalize("NFC", name).casefold()
