"""Notes on files that can be used, from their headers: something in them is not read, or turns the picture."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hdtrans.common.errors import shown
from hdtrans.common.remarks import DataNote, remark
from hdtrans.data.fields import kind_of
from hdtrans.data.io.header import Header
from hdtrans.data.kinds.base import DataKind


class HeaderNote(NamedTuple):
    """A note on a file: a short name such as `alpha`, and the sentence, which follows "N picture(s)"."""

    name: str
    words: str


def header_notes(headers: Mapping[str, Header], data: DataKind) -> Iterator[tuple[str, HeaderNote]]:
    """Yield role and note for the files of a sample that training can use.

    Args:
        headers: header of each file, by role.
        data: section of the recipe.
    """
    upright = [role for role, header in headers.items() if header.orientation == 1]
    for role, header in headers.items():
        if drops_alpha(role, header, data):
            words = "have an alpha channel, which is dropped: the colours stored under transparent pixels are used"
            yield role, HeaderNote("alpha", words)
        if header.profile and kind_of(data.files[role]).has_colours:
            words = (
                f"have the colour profile {header.profile!r}, which is not applied: their values are taken for sRGB. "
                "Convert them where colours matter"
            )
            yield role, HeaderNote("colour profile", words)
        if header.nodata:
            words = f"declare {header.nodata} as nodata (GDAL), which is read as any other value"
            yield role, HeaderNote("nodata", words)
        if header.orientation != 1 and upright and data.paired:
            words = (
                "are turned upright by their EXIF orientation, as viewers show them, and their partners have none. "
                "Where both have one size, no check can tell if they were drawn on the turned pictures: compare them "
                "(hdtrans check_data --sheet)"
            )
            yield role, HeaderNote("orientation", words)


def drops_alpha(role: str, header: Header, data: DataKind) -> bool:
    """Return True if a file of this role, which can be used, is read without the alpha channel that it has."""
    return header.channels in (2, 4) and not header.cmyk and data.files[role].size in (1, 3)


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
