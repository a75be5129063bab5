import os
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdtrans.common.errors import UserError
from hdtrans.common.pages import (
    GalleryRow,
    Picture,
    gallery,
    line_chart,
    link,
    page,
    section,
    shrink,
    table,
    write_gallery,
    write_thumbnail,
)

HOSTILE = "\"><script>alert(1)</script>'&amp; ü"


class Reader(HTMLParser):
    """Collect tags, attributes and text as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.values: dict[str, list[str]] = {}
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.values.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_hostile_names_are_shown_and_never_run() -> None:
    row = GalleryRow(HOSTILE, [Picture(f"{HOSTILE}.png"), None], note=HOSTILE)
    text = page(
        HOSTILE,
        section(HOSTILE, table([[HOSTILE, 1], [HOSTILE, 2]])),
        line_chart(HOSTILE, {HOSTILE: [(0, 1), (1, 2)]}, HOSTILE, HOSTILE, marks=[(0.5, HOSTILE)]),
        gallery([row], [HOSTILE, HOSTILE]),
    )
    reader = Reader(text)
    assert "script" not in reader.tags
    assert not any(name.startswith("on") for name in reader.values)
    assert reader.text.count(HOSTILE) >= 12
    assert f"{HOSTILE}: {HOSTILE}" in reader.values["alt"]
    assert urllib.parse.unquote(reader.values["href"][0]) == f"{HOSTILE}.png"
    assert reader.values["src"] == reader.values["href"]


def test_pages_load_nothing_from_the_network() -> None:
    reader = Reader(page("title", gallery([GalleryRow("a", [Picture("a.png")])], ["x"]), line_chart("c", {})))
    assert not {"link", "script", "iframe", "object", "base"} & set(reader.tags)
    assert any(content.startswith("default-src 'none'") for content in reader.values["content"])
    assert "http" not in "".join(reader.values["src"] + reader.values["href"])


def test_links_keep_strange_names() -> None:
    assert link("a b/c#d?e%.png") == "a%20b/c%23d%3Fe%25.png"
    assert link("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert link("//elsewhere/x.png") == "file:///elsewhere/x.png"
    assert link(os.fsdecode(b"\xff.png")) == "%FF.png"
    assert r"\udcff.png" in gallery([GalleryRow(os.fsdecode(b"\xff.png"), [None])], ["x"])


def test_tables_put_numbers_on_the_right() -> None:
    text = table([["name", "value"], ["a", 1234567], ["b", 0.00012345], ["c", float("nan")]])
    assert "<td class=number>1,234,567</td>" in text
    assert "<td class=number>0.0001234</td>" in text or "<td class=number>0.0001235</td>" in text
    assert "<th class=number>value</th>" in text
    assert "<td>a</td>" in text


def test_galleries_refuse_rows_of_another_length() -> None:
    with pytest.raises(ValueError, match="2 pictures for 1 columns"):
        gallery([GalleryRow("a", [None, None])], ["x"])


def test_shrink_averages_and_leaves_small_pictures() -> None:
    picture = np.zeros((4, 8, 3), dtype=np.uint8)
    picture[:, ::2] = 200
    assert shrink(picture, 8) is picture
    assert shrink(picture, 4).tolist() == np.full((2, 4, 3), 100).tolist()
    assert shrink(np.zeros((1, 1000), dtype=np.uint8), 10).shape == (1, 10)


def test_thumbnails_keep_the_colours(tmp_path: Path) -> None:
    picture = np.full((100, 1000, 3), (200, 30, 60), dtype=np.uint8)
    assert write_thumbnail(tmp_path / "small.jpg", picture) == (38, 384)
    stored = cv2.imread(str(tmp_path / "small.jpg"))
    assert stored is not None
    assert stored.shape == (38, 384, 3)
    assert np.abs(stored[20, 20, ::-1].astype(int) - (200, 30, 60)).max() < 8
    assert write_thumbnail(tmp_path / "grey.jpg", picture[..., 0]) == (38, 384)


def test_a_written_gallery_is_whole_and_can_be_moved(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    name = 'one "two" #3.png'
    done, data = cv2.imencode(".png", np.full((500, 800, 3), 90, dtype=np.uint8))
    assert done
    for place in (folder / name, tmp_path / "input.png"):
        place.write_bytes(data.tobytes())
    both, half = [Picture(tmp_path / "input.png"), Picture(name)], [None, Picture(name)]
    rows = [GalleryRow(name, both), GalleryRow("second", half)]
    assert write_gallery(folder, "title", ["input", "output"], rows) == folder / "index.html"
    reader = Reader((folder / "index.html").read_text(encoding="utf-8"))
    assert [urllib.parse.unquote(value) for value in reader.values["href"]] == ["../input.png", name, name]
    assert len(reader.values["src"]) == 3
    for source in reader.values["src"]:
        small = cv2.imread(str(folder / urllib.parse.unquote(source)))
        assert small is not None
        assert small.shape == (240, 384, 3)
    assert reader.values["width"] == ["384"] * 3
    assert str(tmp_path) not in (folder / "index.html").read_text(encoding="utf-8")


def test_a_gallery_names_the_picture_that_fails(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("missing.png", "cannot be read"), ("text.png", "cannot|decoded")):
        with pytest.raises(UserError, match=f"{name}.*{reason}"):
            write_gallery(tmp_path, "title", ["x"], [GalleryRow("a", [Picture(name)])])
    assert not (tmp_path / "index.html").exists()
