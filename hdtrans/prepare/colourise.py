"""Render label maps in the colours of their class table, with a legend."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hdtrans.common.apart import check_apart
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import Advice, UserError
from hdtrans.common.files import write_bytes
from hdtrans.data.folders import partners_of
from hdtrans.data.io.read import read_label
from hdtrans.prepare.writing.manifest import TABLE
from hdtrans.prepare.writing.pictures import encode_png

LEGEND = "legend.png"

_ROW, _BOX, _GAP = 22, 34, 8  # pixels
_ROWS = 32  # rows per column of the legend


@dataclass(frozen=True)
class Colourised:
    """Written pictures, and errors of unreadable label maps."""

    done: Sequence[Path]
    failures: Sequence[UserError]


def colourise(labels: Path, out: Path, table: Path | None = None) -> Colourised:
    """Write a colour picture of each label map, and a legend of all classes in them.

    Args:
        labels: a label map, or a folder of label maps, searched recursively.
        out: output folder for the pictures and `legend.png`.
        table: a dataset.json; None searches the label map folder and the two folders above it.

    Raises:
        UserError: no label maps or no class table, or `out` cannot be written.
    """
    if not labels.exists():
        raise UserError("no such file or folder", argument="labels", path=labels)
    check_apart(out, [labels])
    classes = ClassTable.read(table or _find_table(labels))
    done: list[Path] = []
    failures: list[UserError] = []
    seen: set[int] = set()
    for sample in partners_of("label", {"label": labels}):
        try:
            label = read_label(sample.paths["label"])
        except UserError as error:
            failures.append(copy(error))  # without a traceback
            continue
        seen.update(np.unique(label).tolist())
        path = out / f"{sample.name}.png"
        write_bytes(path, encode_png(classes.colourise(label)))
        done.append(path)
    if done:
        write_bytes(out / LEGEND, encode_png(legend(classes, sorted(seen))))
    return Colourised(done, failures)


def legend(classes: ClassTable, ids: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 RGB picture with colour, id and name of the given class ids."""
    entries = [(index, *_entry(classes, index)) for index in ids]
    font = ImageFont.load_default(14)
    widest = max((int(font.getlength(f"{index}  {name}")) for index, name, _ in entries), default=0)
    columns, rows = -(-max(1, len(entries)) // _ROWS), min(_ROWS, max(1, len(entries)))
    width = _BOX + widest + 3 * _GAP
    picture = Image.new("RGB", (columns * width, rows * _ROW + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for number, (index, name, colour) in enumerate(entries):
        left, top = number // _ROWS * width + _GAP, number % _ROWS * _ROW + _GAP
        draw.rectangle((left, top, left + _BOX, top + _ROW - _GAP), fill=colour, outline=(0, 0, 0))
        draw.text((left + _BOX + _GAP, top - 1), f"{index}  {name}", fill=(0, 0, 0), font=font)
    return np.asarray(picture)


def _entry(classes: ClassTable, index: int) -> tuple[str, tuple[int, int, int]]:
    if index == classes.ignore:
        return ("ignored" if index >= len(classes) else f"{classes.names[index]} (ignored)"), (0, 0, 0)
    return (classes.names[index], classes.colours[index]) if index < len(classes) else ("no class", (0, 0, 0))


def _find_table(labels: Path) -> Path:
    folder = labels if labels.is_dir() else labels.parent
    for path in (parent / TABLE for parent in (folder, *list(folder.resolve().parents)[:2])):
        if path.is_file():
            return path
    finding = f"no {TABLE} in its folder or the two above"
    raise UserError(finding, argument="labels", path=labels, advice=[Advice("table", "FILE")])
