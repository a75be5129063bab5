"""Notes on files that can be used, from their headers: something in them is not read, or turns the picture."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from hdtrans.common.errors import shown
from hdtrans.common.remarks import DataNote, remark
from hdtrans.config.inputs import Field, Input
from hdtrans.data.fields import kind_of
from hdtrans.data.io.header import Header, probe
from hdtrans.data.label_ids import count_ids, mask_finding

_MOST_LOOKED_AT = 16  # files of a role


class HeaderNote(NamedTuple):
    """A note on a file: a short name such as `alpha`, and the sentence, which follows "N picture(s)"."""

    name: str
    words: str


def header_notes(
    headers: Mapping[str, Header], specs: Mapping[str, Field | Input], paired: bool
) -> Iterator[tuple[str, HeaderNote]]:
    """Yield role and note for the files of a sample that can be used.

    Args:
        headers: header of each file, by role.
        specs: what each role holds.
        paired: the files show the same.
    """
    upright = [role for role, header in headers.items() if header.orientation == 1]
    for role, header in headers.items():
        if drops_alpha(header, specs[role]):
            words = "have an alpha channel, which is dropped: the colours stored under transparent pixels are used"
            yield role, HeaderNote("alpha", words)
        if header.profile and kind_of(specs[role]).has_colours:
            words = (
                f"have the colour profile {header.profile!r}, which is not applied: their values are taken for sRGB. "
                "Convert them where colours matter"
            )
            yield role, HeaderNote("colour profile", words)
        if header.nodata:
            words = f"declare {header.nodata} as nodata (GDAL), which is read as any other value"
            yield role, HeaderNote("nodata", words)
        if header.orientation != 1 and upright and paired:
            words = (
                "are turned upright by their EXIF orientation, as viewers show them, and their partners have none. "
                "Where both have one size, no check can tell if they were drawn on the turned pictures: compare them "
                "(hdtrans check_data --sheet)"
            )
            yield role, HeaderNote("orientation", words)


def drops_alpha(header: Header, spec: Field | Input) -> bool:
    """Return True if a file that can be used is read without the alpha channel that it has."""
    return header.channels in (2, 4) and not header.cmyk and spec.size in (1, 3) and kind_of(spec).has_colours


def float_finding(lowest: Sequence[float]) -> str:
    """Return the finding on floating point pictures that are scaled to [0, 1], or ''.

    Args:
        lowest: least value of each picture of a role.
    """
    if not lowest or min(lowest) < 0:
        return ""
    return (
        "floating point pictures hold no value below 0, and -1 is black: are they scaled to [0, 1]? "
        "Then write 2 x - 1, or 8 or 16 bits"
    )


def remark_headers(found: Iterable[tuple[str, HeaderNote]]) -> None:
    """Remark each note once, with the number of its files.

    Args:
        found: path and note.
    """
    places: dict[HeaderNote, list[str]] = defaultdict(list)
    for path, note in found:
        places[note].append(path)
    for note, paths in places.items():
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        remark(f"{shown(paths[0])}{others}: {len(paths)} file(s) {note.words}", DataNote)


class InputNotes:
    """Notes on the files of a command, gathered by its reading threads.

    Args:
        specs: what each role holds.
        ignore: id of pixels without a class, or None.
    """

    def __init__(self, specs: Mapping[str, Field | Input], ignore: int | None = None) -> None:
        self._specs = {role: spec for role, spec in specs.items() if kind_of(spec).has_file}
        self._ignore = ignore
        self._found: list[tuple[str, HeaderNote]] = []
        self._lowest: dict[str, dict[str, float]] = defaultdict(dict)
        self._pixels: dict[str, dict[str, Mapping[int, int]]] = defaultdict(dict)

    def add(self, paths: Mapping[str, str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Note what the headers of a sample's files tell; contents are looked at in the first samples alone.

        Args:
            paths: files by role; others are passed over.
            arrays: the files as read, (H, W) or (H, W, C).
        """
        headers = {role: probe(paths[role]) for role in self._specs if role in paths}
        self._found += [(paths[role], note) for role, note in header_notes(headers, self._specs, paired=True)]
        for role in headers.keys() & arrays.keys():
            if headers[role].floating and len(self._lowest[role]) < _MOST_LOOKED_AT:
                self._lowest[role][paths[role]] = float(arrays[role].min())
            if self._specs[role].values == "classes" and len(self._pixels[role]) < _MOST_LOOKED_AT:
                self._pixels[role][paths[role]] = count_ids(arrays[role])

    def remark(self) -> None:
        """Remark each note once."""
        remark_headers(self._found)
        for lowest in self._lowest.values():
            if finding := float_finding([*lowest.values()]):
                remark(f"{shown(next(iter(lowest)))} and others: {finding}")
        for maps in self._pixels.values():
            pixels: Counter[int] = Counter()
            for counted in maps.values():
                pixels.update(counted)
            if mask := mask_finding(pixels, self._ignore):
                remark(f"{shown(next(iter(maps)))} and others: label maps: {mask}")
