"""Label maps made visible in the colours of their data set, with a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes
from hdtrans.data.folders import partners_of
from hdtrans.data.io.read import read_label
from hdtrans.prepare.writing.manifest import TABLE
from hdtrans.prepare.writing.pictures import encode_png

LEGEND = "legend.png"

_ROW, _BOX, _GAP, _ROWS = 22, 34, 8, 32  # pixels, and the longest column


@dataclass(frozen=True)
class Colourised:
    """Pictures that were written, and label maps that could not be read, with why."""

    done: Sequence[Path]
    failures: Sequence[str]


def colourise(labels: Path, out: Path, table: Path | None = None) -> Colourised:
    """Write a picture of each label map, and the legend of all classes that they show.

    Args:
        labels: a folder of label maps, searched with its sub-folders, or one file.
        out: where pictures and `legend.png` go.
        table: a dataset.json; None looks for it in the folder of the label maps and in the one above.

    Raises:
        UserError: there are no label maps or no class table, or `out` cannot be written.
    """
    if not labels.exists():
        raise UserError(f"{labels}: there is no such file or folder")
    classes = ClassTable.read(table or _find(labels))
    done, failures = [], []
    seen: set[int] = set()
    for sample in partners_of("label", {"label": labels}):
        try:
            label = read_label(sample.paths["label"])
        except UserError as error:
            failures.append(str(error))
            continue
        seen.update(np.unique(label).tolist())
        path = out / f"{sample.name}.png"
        if path.resolve() == Path(sample.paths["label"]).resolve():
            raise UserError(f"{out}: holds the label maps themselves; give another folder")
        write_bytes(path, encode_png(classes.colourise(label)))
        done.append(path)
    if done:
        write_bytes(out / LEGEND, encode_png(legend(classes, sorted(seen))))
    return Colourised(done, failures)


def legend(classes: ClassTable, ids: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 RGB picture with colour, id and name of each of these ids."""
    entries = [(place, *_entry(classes, place)) for place in ids]
    font = ImageFont.load_default(14)
    widest = max((int(font.getlength(f"{place}  {name}")) for place, name, _ in entries), default=0)
    columns, rows = -(-max(1, len(entries)) // _ROWS), min(_ROWS, max(1, len(entries)))
    width = _BOX + widest + 3 * _GAP
    picture = Image.new("RGB", (columns * width, rows * _ROW + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for number, (place, name, colour) in enumerate(entries):
        left, top = number // _ROWS * width + _GAP, number % _ROWS * _ROW + _GAP
        draw.rectangle((left, top, left + _BOX, top + _ROW - _GAP), fill=colour, outline=(0, 0, 0))
        draw.text((left + _BOX + _GAP, top - 1), f"{place}  {name}", fill=(0, 0, 0), font=font)
    return np.asarray(picture)


def _entry(classes: ClassTable, place: int) -> tuple[str, tuple[int, int, int]]:
    if place == classes.ignore:
        return ("ignored" if place >= len(classes) else f"{classes.names[place]} (ignored)"), (0, 0, 0)
    return (classes.names[place], classes.colours[place]) if place < len(classes) else ("no class", (0, 0, 0))


def _find(labels: Path) -> Path:
    folder = labels if labels.is_dir() else labels.parent
    places = [place / TABLE for place in (folder, *list(folder.resolve().parents)[:2])]
    for path in places:
        if path.is_file():
            return path
    raise UserError(f"{labels}: there is no {TABLE} beside it or above; name one with --table")
