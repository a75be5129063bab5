"""Contact sheet: random samples, with the boundaries of their maps drawn over the photo."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common import pages
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes, write_text
from hdtrans.data import derived
from hdtrans.data.fields import kind_of
from hdtrans.prepare.check.facts import Facts
from hdtrans.prepare.check.samples import SampleFacts

SAMPLES = 16

_SIDE = 384  # pixels, longer side of a picture
_LINE = (255, 40, 40)
_CAPTION = 18  # pixels
_ROWS_PER_LINE = 2  # samples beside each other in a PNG
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]

Array = npt.NDArray[Any]
Colours = npt.NDArray[np.uint8]


def check_sheet_path(path: Path) -> None:
    """Raise UserError if a contact sheet cannot be written under this name."""
    if path.suffix.lower() not in (".html", ".png"):
        finding = f"ends in {path.suffix or 'nothing'}; a contact sheet is .html or .png"
        raise UserError(finding, argument="sheet", value=path)


def write_sheet(facts: Facts, path: Path, seed: int = 0) -> int:
    """Write 16 random training samples as one HTML file or PNG; return their number.

    Each sample shows its maps in the colours of the classes, or its input, and the photo with the boundaries of the
    instances (else of the labels) drawn over it. Samples that cannot be read are left out.

    Args:
        facts: facts of the samples.
        path: file to write, ending in .html or .png.
        seed: seed of the choice, >= 0.

    Raises:
        UserError: another ending, no sample that can be shown, or the disk refuses the file.
    """
    check_sheet_path(path)
    sound = [s for s in facts.of(facts.data.train) if s.size and not any(f.problem for f in s.files.values())]
    if not sound:
        raise UserError(f"no sample of {facts.data.train} can be read", argument="sheet", value=path)
    chosen = np.random.default_rng(seed).permutation(len(sound))[:SAMPLES]
    samples = [sound[place] for place in sorted(chosen.tolist())]
    rows = [(sample.name, np.hstack(_pictures(facts, sample))) for sample in samples]
    if path.suffix.lower() == ".html":
        write_text(path, _page(f"{facts.data.root}: {len(rows)} of {len(sound)} samples", rows))
    else:
        done, data = cv2.imencode(".png", cv2.cvtColor(_grid(rows), cv2.COLOR_RGB2BGR))
        assert done, "the PNG encoder refused a uint8 picture"
        write_bytes(path, data.tobytes())
    return len(rows)


def _pictures(facts: Facts, sample: SampleFacts) -> list[Colours]:
    """Return the pictures of a sample, of one height."""
    paths = {name: file.path for name, file in sample.files.items()}
    shown_pictures, lines = [], None
    specs = {role: spec for role, spec in facts.data.files.items() if role in paths and kind_of(spec).has_file}
    for role, spec in specs.items():
        if spec.kind == "ids":
            array = kind_of(spec).read(spec, paths[role])
            lines = derived.boundaries(array)[..., 0] > 0
            shown_pictures.append(_small(_painted(array, facts.classes if spec.values == "classes" else None)))
    for role, spec in specs.items():
        if spec.kind == "image":
            picture = derived.to_rgb(kind_of(spec).read(spec, paths[role]))
            shown_pictures += [_small(side) for side in facts.data.sides(role, picture)]
            if lines is not None:
                shown_pictures.append(_drawn(shown_pictures[-1], lines))
    return shown_pictures


def _painted(array: Array, classes: ClassTable | None) -> Colours:
    """Colour a map by its classes; without a table, every id gets a colour of its own."""
    if classes is not None:
        return classes.colourise(array)
    _, place = np.unique(array, return_inverse=True)
    return ClassTable.generic(int(place.max()) + 1, None).colourise(place.reshape(array.shape))


def _small(picture: Colours) -> Colours:
    return pages.shrink(picture, _SIDE)


def _drawn(picture: Colours, lines: Array) -> Colours:
    """Draw boundaries of the full size over a picture that may be smaller; each stays at least a pixel wide."""
    height, width = picture.shape[:2]
    share = cv2.resize(lines.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    strong = np.clip(share * (2 * lines.shape[1] / width), 0, 1)[..., None]
    return np.rint(picture * (1 - strong) + np.array(_LINE) * strong).astype(np.uint8)


def _page(title: str, rows: Sequence[tuple[str, Colours]]) -> str:
    cards = []
    for name, picture in rows:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _QUALITY)
        source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
        image = f'<img src="{source}" alt="{pages.escape(name)}">'
        cards.append(f'<article class="card">\n<h3>{pages.escape(name)}</h3>\n{image}\n</article>')
    inside = "\n".join(cards)
    return pages.page(title, f'<div class="gallery" style="--card-width: 560px">\n{inside}\n</div>')


def _grid(rows: Sequence[tuple[str, Colours]]) -> Colours:
    """Return all rows on one white sheet, each under its name."""
    height = max(picture.shape[0] for _, picture in rows) + _CAPTION + 6
    width = max(picture.shape[1] for _, picture in rows) + 6
    lines = -(-len(rows) // _ROWS_PER_LINE)
    sheet = np.full((lines * height, min(len(rows), _ROWS_PER_LINE) * width, 3), 255, np.uint8)
    for place, (name, picture) in enumerate(rows):
        top, left = place // _ROWS_PER_LINE * height, place % _ROWS_PER_LINE * width
        caption = name.encode("ascii", "replace").decode()
        cv2.putText(sheet, caption, (left + 4, top + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        sheet[top + _CAPTION : top + _CAPTION + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
