"""HTML pages for opening from disk: one file with inline style, no script, no network access.

The functions return HTML text. Every external name (titles, classes, file names) goes through `escape` or `link`, so
that a page shows it unchanged and never runs it. `hdtrans.common.charts` has the charts.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hdtrans.common.charts import CHART_STYLE, escape, line_chart, number
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_bytes, write_text

__all__ = [
    "THUMBNAIL_SIDE",
    "GalleryRow",
    "Picture",
    "escape",
    "gallery",
    "line_chart",
    "link",
    "number",
    "page",
    "section",
    "shrink",
    "table",
    "write_gallery",
    "write_thumbnail",
]

THUMBNAIL_SIDE = 384
"""Longest side of a thumbnail in pixels."""

_POLICY = "default-src 'none'; img-src 'self' data: file:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --text: #22252a; --quiet: #6b7178; --rule: #e3e4e2;
  --accent: #2f6db3; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1d2024; --text: #e4e6e8; --quiet: #979da5;
  --rule: #31353a; --accent: #7db2ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .9rem; font-size: 1.05rem; font-weight: 600; }
h3 { margin: 0 0 .6rem; font-size: .9rem; font-weight: 500; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
a { color: var(--accent); }
.quiet, figcaption { color: var(--quiet); font-size: .85rem; }
progress { display: block; width: 100%; height: 5px; margin: .9rem 0 .5rem; border: 0; border-radius: 3px;
  appearance: none; background: var(--rule); accent-color: var(--accent); overflow: hidden; }
progress::-webkit-progress-bar { background: var(--rule); }
progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .9rem; text-align: left; border-top: 1px solid var(--rule); overflow-wrap: anywhere; }
tr:first-child > * { border-top: 0; }
th { color: var(--quiet); font-size: .82rem; font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.gallery { display: grid; gap: 1rem; margin-top: 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--card-width)), 1fr)); }
.card { min-width: 0; padding: .9rem 1rem 1rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }
.gallery > .card { content-visibility: auto; contain-intrinsic-size: auto 260px; }
.cells { display: grid; gap: .75rem; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
@media (max-width: 640px) { .cells { grid-template-columns: 1fr; } }
figure { margin: 0; min-width: 0; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--rule); }
h2 + .gallery { margin-top: 0; }
.none { display: grid; place-items: center; aspect-ratio: 2; border: 1px dashed var(--rule); border-radius: 4px;
  color: var(--quiet); font-size: .85rem; }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""


@dataclass(frozen=True)
class Picture:
    """A picture on a page: a thumbnail that links to the full size.

    Args:
        path: picture file, relative to the page.
        thumbnail: small version, relative to the page; None shows the picture itself.
        size: (height, width) in pixels of either, so that the layout is fixed while pictures load.
    """

    path: str | Path
    thumbnail: str | Path | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class GalleryRow:
    """One row of a gallery: name, one picture or None per column, and a remark."""

    name: str
    pictures: Sequence[Picture | None]
    note: str = ""


def link(path: str | Path) -> str:
    """Return the URL of a file, safe inside a quoted attribute.

    Relative paths stay relative, absolute ones become file: URLs. Names that are not UTF-8 keep their bytes.
    """
    raw = os.fsencode(path)
    quoted = urllib.parse.quote(raw.lstrip(b"/") if raw.startswith(b"/") else raw)
    return f"file:///{quoted}" if raw.startswith(b"/") else quoted


def page(title: str, *sections: str) -> str:
    """Return an HTML page: `title` (plain text) as heading, then the sections (HTML) in order."""
    head = (
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{CHART_STYLE}</style>"
    )
    body = "\n".join([f"<h1>{escape(title)}</h1>", *sections])
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def section(heading: str, *contents: str) -> str:
    """Return a section of a page: heading (plain text), then contents (HTML)."""
    inside = "\n".join(contents)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{inside}\n</section>"


def table(rows: Sequence[Sequence[object]], header: bool = True) -> str:
    """Return an HTML table; cells are plain text or numbers, numbers right-aligned.

    Args:
        rows: cells by row.
        header: the first row is a heading.
    """
    lines = []
    numeric = {place for row in rows[int(header) :] for place, cell in enumerate(row) if _is_number(cell)}
    for place, row in enumerate(rows):
        tag = "th" if header and place == 0 else "td"
        cells = []
        for column, cell in enumerate(row):
            shown = number(cell) if isinstance(cell, int | float) and _is_number(cell) else escape(str(cell))
            cells.append(f"<{tag} class=number>{shown}</{tag}>" if column in numeric else f"<{tag}>{shown}</{tag}>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    inside = "\n".join(lines)
    return f'<div class="scroll"><table>\n{inside}\n</table></div>'


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def gallery(rows: Sequence[GalleryRow], columns: Sequence[str], card_width: int | None = None) -> str:
    """Return a gallery as HTML: one card per row, pictures side by side, each linked to its full size.

    Args:
        rows: rows in order.
        columns: names of the columns.
        card_width: minimum width of a card in CSS pixels, if the window allows; None is 260 per column.

    Raises:
        ValueError: a row whose number of pictures differs from that of the columns.
    """
    cards = []
    for row in rows:
        if len(row.pictures) != len(columns):
            raise ValueError(f"{row.name}: {len(row.pictures)} pictures for {len(columns)} columns")
        cells = "\n".join(
            _figure(picture, column if len(columns) > 1 else "", row.name)
            for picture, column in zip(row.pictures, columns, strict=True)
        )
        note = f'\n<p class="quiet">{escape(row.note)}</p>' if row.note else ""
        cards.append(
            f'<article class="card">\n<h3>{escape(row.name)}</h3>\n'
            f'<div class="cells" style="--columns: {len(columns)}">\n{cells}\n</div>{note}\n</article>'
        )
    inside = "\n".join(cards)
    width = 260 * len(columns) if card_width is None else card_width
    return f'<div class="gallery" style="--card-width: {width}px">\n{inside}\n</div>'


def _figure(picture: Picture | None, column: str, name: str) -> str:
    """Return one picture with its link and column name."""
    caption = f"<figcaption>{escape(column)}</figcaption>" if column else ""
    if picture is None:
        return f'<figure><div class="none">no picture</div>{caption}</figure>'
    described = escape(f"{column}: {name}" if column else name)
    height, width = picture.size or (0, 0)
    size = f' width="{width}" height="{height}"' if picture.size else ""
    shown = link(picture.thumbnail or picture.path)
    image = f'<img src="{shown}" alt="{described}"{size} loading="lazy">'
    return f'<figure><a href="{link(picture.path)}">{image}</a>{caption}</figure>'


def shrink(picture: npt.NDArray[np.uint8], side: int = THUMBNAIL_SIDE) -> npt.NDArray[np.uint8]:
    """Shrink a picture to at most `side` pixels by area averages; a smaller one is returned unchanged.

    Args:
        picture: (H, W, 3) or (H, W) uint8 in [0, 255].
        side: longest side in pixels, >= 1.
    """
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1.0:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def write_thumbnail(path: Path, picture: npt.NDArray[np.uint8], side: int = THUMBNAIL_SIDE) -> tuple[int, int]:
    """Write a small JPEG of a picture and return its (height, width).

    Args:
        path: file to write, whole or not at all.
        picture: (H, W, 3) uint8 RGB or (H, W) uint8 grey in [0, 255].
        side: longest side in pixels, >= 1; a smaller picture keeps its size.

    Raises:
        UserError: the file cannot be written.
    """
    small = shrink(picture, side)
    ordered = cv2.cvtColor(small, cv2.COLOR_RGB2BGR) if small.ndim == 3 else small
    done, data = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done, "the JPEG encoder refused a uint8 picture"
    write_bytes(path, data.tobytes())
    return small.shape[0], small.shape[1]


def write_gallery(folder: Path, title: str, columns: Sequence[str], rows: Sequence[GalleryRow]) -> Path:
    """Write `index.html` with all pictures and the missing thumbnails; return the page's path.

    Args:
        folder: folder of the page; thumbnails go to its `thumbnails/`.
        title: heading.
        columns: names of the columns.
        rows: rows whose paths are relative to `folder` or absolute; all become relative, so that the folder can be
            moved. Existing thumbnails are kept.

    Raises:
        UserError: a file cannot be written, or a picture cannot be read.
        ValueError: a row whose number of pictures differs from that of the columns.
    """
    ready = []
    for place, row in enumerate(rows):
        pictures = [
            _with_thumbnail(folder, picture, f"{place:06d}-{column:02d}.jpg")
            for column, picture in enumerate(row.pictures)
        ]
        ready.append(replace(row, pictures=pictures))
    count = f'<p class="quiet">{len(rows):,} {"picture" if len(columns) == 1 else "row"}{"s" * (len(rows) != 1)}</p>'
    target = folder / "index.html"
    write_text(target, page(title, count, gallery(ready, columns)))
    return target


def _with_thumbnail(folder: Path, picture: Picture | None, name: str) -> Picture | None:
    """Write a missing thumbnail; return the picture with both paths relative to the folder."""
    if picture is None:
        return None
    path = _relative(folder, picture.path)
    if picture.thumbnail is not None:
        return replace(picture, path=path, thumbnail=_relative(folder, picture.thumbnail))
    try:
        data = np.fromfile(folder / path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{folder / path}: cannot be read: {error.strerror or error}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise UserError(f"{folder / path}: cannot be decoded as a picture")
    small = Path("thumbnails") / name
    size = write_thumbnail(folder / small, image.astype(np.uint8, copy=False))
    return Picture(path, small, size)


def _relative(folder: Path, path: str | Path) -> Path:
    """Return a path, absolute or relative to the folder, as relative to the folder."""
    return Path(os.path.relpath(folder / path, folder))
