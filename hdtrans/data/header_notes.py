"""Notes on files that can be used, from their headers: something in them is not read, or turns the picture."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hdtrans.common.errors import shown
from hdtrans.common.remarks import DataNote, DataWarning, remark
from hdtrans.config.inputs import Field, Input
from hdtrans.data.fields import kind_of
from hdtrans.data.io.header import Header, probe
from hdtrans.data.label_ids import count_ids, mask_finding
from hdtrans.data.pairing import natural

_MOST_LOOKED_AT = 16  # files of a role
_HALF_OF_16_BITS = 65536 // 2


class HeaderNote(NamedTuple):
    """A note on a file: a short name such as `alpha`, and the sentence, which follows "N picture(s)"."""

    name: str
    words: str


def header_notes(
    headers: Mapping[str, Header], specs: Mapping[str, Field | Input], paired: bool, ignore: int | None = None
) -> Iterator[tuple[str, HeaderNote]]:
    """Yield role and note for the files of a sample that can be used.

    Args:
        headers: header of each file, by role.
        specs: what each role holds.
        paired: the files show the same.
        ignore: id of pixels without a class, or None.
    """
    upright = [role for role, header in headers.items() if header.orientation == 1]
    for role, header in headers.items():
        if drops_alpha(header, specs[role]):
            words = "have an alpha channel, which is dropped: the colours stored under transparent pixels are used"
            yield role, HeaderNote("alpha", words)
        elif drops_channel(header, specs[role]):
            words = (
                f"have {header.channels} channels, of which the last is dropped, though nothing in the files calls it "
                f"alpha. To keep it, set data.photo_channels={header.channels} for pictures that come out, "
                f"data.source_channels={header.channels} for those that go in"
            )
            yield role, HeaderNote("last channel", words)
        elif header.transparent and header.channels in (1, 3) and kind_of(specs[role]).has_colours:
            words = (
                "have transparent pixels (by a mask or colour), which is not read: the colours stored there are used"
            )
            name = "alpha" if header.format == "PNG" else "mask"  # in PNG, their pixels can be counted
            yield role, HeaderNote(name, words)
        if header.profile and kind_of(specs[role]).has_colours:
            words = (
                f"have the colour profile {header.profile!r}, which is not applied: their values are taken for sRGB. "
                "Convert them where colours matter"
            )
            yield role, HeaderNote("colour profile", words)
        if header.animated:
            yield role, HeaderNote("animation", "are animated; their first picture alone is read")
        if header.nodata and not (specs[role].values == "classes" and header.nodata == str(ignore)):
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
    return header.transparent and _drops_last(header, spec)


def drops_channel(header: Header, spec: Field | Input) -> bool:
    """Return True if a file that can be used is read without its last channel, and no tag calls that alpha."""
    return not header.transparent and _drops_last(header, spec)


def _drops_last(header: Header, spec: Field | Input) -> bool:
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


def depth_finding(highest: Sequence[int]) -> str:
    """Return the finding on pictures of more than 8 bits that use few of them, or ''.

    Args:
        highest: largest value of each picture of a role, of integers.
    """
    if not highest or (most := max(highest)) >= _HALF_OF_16_BITS:
        return ""
    return (
        f"16-bit pictures hold no value above {most}; white is 65535, so they are read as dark pictures "
        f"({most.bit_length()} bits in 16?). Scale their values, or write 8 or 16 bits"
    )


def has_range(header: Header, spec: Field | Input) -> bool:
    """Return True for pictures that can miss their range: floating point, or more than 8 bits."""
    return kind_of(spec).has_colours and not header.palette and (header.floating or header.bits > 8)


def values_finding(arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Return the finding on the range of some pictures of a role, (H, W, C) as read, or ''."""
    found = list(arrays)
    floats = [float(array.min()) for array in found if array.dtype.kind == "f"]
    return float_finding(floats) or depth_finding([int(array.max()) for array in found if array.dtype == np.int32])


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
        remark(f"{_first(paths)}{others}: {len(paths)} file(s) {note.words}", DataNote)


def _first(paths: Iterable[str]) -> str:
    """Return the first of some paths, by their names: threads find them in any order."""
    return shown(min(paths, key=natural))


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
        self._ends: dict[str, dict[str, npt.NDArray[Any]]] = defaultdict(dict)
        self._pixels: dict[str, dict[str, Mapping[int, int]]] = defaultdict(dict)

    def add(self, paths: Mapping[str, str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Note what the headers of a sample's files tell; contents are looked at in the first samples alone.

        Args:
            paths: files by role; others are passed over.
            arrays: the files as read, (H, W) or (H, W, C).
        """
        headers = {role: probe(paths[role]) for role in self._specs if role in paths}
        self._found += [(paths[role], note) for role, note in header_notes(headers, self._specs, True, self._ignore)]
        for role in headers.keys() & arrays.keys():
            if has_range(headers[role], self._specs[role]) and len(self._ends[role]) < _MOST_LOOKED_AT:
                array = arrays[role]
                self._ends[role][paths[role]] = np.array([array.min(), array.max()], array.dtype)
            if self._specs[role].values == "classes" and len(self._pixels[role]) < _MOST_LOOKED_AT:
                self._pixels[role][paths[role]] = count_ids(arrays[role])

    def remark(self) -> None:
        """Remark each note once."""
        remark_headers(self._found)
        for ends in self._ends.values():
            if finding := values_finding(ends.values()):
                remark(f"{_first(ends)} and others: {finding}")
        for maps in self._pixels.values():
            pixels: Counter[int] = Counter()
            for counted in maps.values():
                pixels.update(counted)
            if mask := mask_finding(pixels, self._ignore):
                kind = DataWarning if mask.values else DataNote
                remark(f"{_first(maps)} and others: label maps: {mask}", kind)
