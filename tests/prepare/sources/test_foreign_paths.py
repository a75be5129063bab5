"""Paths of other machines: cleaned, and found in the data set."""

import pytest

from hdtrans.prepare.sources.foreign_paths import ForeignFiles, Wanted, find_photos, foreign_path, item_name
from tests.prepare.small_sets import refused, write


@pytest.mark.parametrize(
    ("text", "parts", "inside"),
    [
        ("a.jpg", "a.jpg", True),
        ("x/./y/../a.jpg", "x/a.jpg", True),
        (r"x\a.jpg", "x/a.jpg", True),
        ("../../x/a.jpg", "x/a.jpg", False),
        ("x/../../a.jpg", "a.jpg", False),
        (r"C:\x\a.jpg", "x/a.jpg", False),
        (r"\\server\x\a.jpg", "server/x/a.jpg", False),
        ("file:///C:/x/a.jpg", "x/a.jpg", False),
        ("file:///home/a.jpg", "home/a.jpg", False),
        ("https://server:80/x/a.jpg?key=1/2", "x/a.jpg", False),
        ("/data/local-files/?d=x/a.jpg", "x/a.jpg", True),
        ("12:30.jpg", "12:30.jpg", True),
        ("a?.jpg", "a?.jpg", True),
        ("..", "", False),
        ("a\0.jpg", "", False),
    ],
)
def test_paths_are_cleaned(text, parts, inside):
    path = foreign_path(text)
    assert ("/".join(path.parts), path.inside) == (parts, inside)


@pytest.fixture
def files(tmp_path):
    for name in ("1/a.jpg", "2/a.jpg", "b.jpg", "train/c.jpg", "val/c.jpg", r"d\e.jpg", "e.jpg"):
        write(tmp_path / "p" / name, "")
    write(tmp_path / "skip" / "b.jpg", "")
    return ForeignFiles(tmp_path, without=[tmp_path / "skip"])


def found(files, text, **more):
    match = files.find(Wanted(text, "x", **more))
    return match and ("/".join(match.inside), match.whole)


def test_the_longest_end_of_a_path_decides(files):
    assert found(files, "/server/2/a.jpg") == ("p/2/a.jpg", False)
    assert found(files, "1/a.jpg") == ("p/1/a.jpg", True)
    assert found(files, "b.jpg") == ("p/b.jpg", True)
    assert found(files, "q/B.JPG") == ("p/b.jpg", False)
    assert found(files, r"p/d\e.jpg") == (r"p/d\e.jpg", True) and found(files, r"p\e.jpg") == ("p/e.jpg", True)
    assert found(files, "c.jpg", split="val") == ("p/val/c.jpg", True)
    assert found(files, "z.jpg") is None and found(files, "..") is None
    refused(lambda: found(files, "a.jpg"), "p/1/a.jpg", "p/2/a.jpg", "both match the photo 'a.jpg'; give photo_dir=DIR")


def test_paths_that_start_from_a_folder(files):
    assert found(files, "../b.jpg", start=("p", "1")) == ("p/b.jpg", True)
    assert found(files, "b.jpg", start=("p", "1")) == ("p/b.jpg", False)


def test_names_that_a_system_stores_otherwise(tmp_path):
    write(tmp_path / "cafe\u0301.jpg", "")
    assert found(ForeignFiles(tmp_path), "CAF\u00c9.jpg") == ("cafe\u0301.jpg", False)


def test_a_file_that_a_whole_path_names_is_not_given_away(files):
    first, second = find_photos(files, [Wanted("q/b.jpg", "entry 0"), Wanted("p/b.jpg", "entry 1")])
    assert second.match and not second.notes and first.match is None
    assert str(first.problem) == "entry 0: the photo 'q/b.jpg' is not there; p/b.jpg is that of entry 1"


def test_names_of_items_stay_inside(files):
    for text, name in (("../../x/1/a.jpg", "1/a"), ("/x/b.jpg", "b"), ("q/b.jpg", "q/b"), (r"C:\y\z.jpg", "y/z")):
        assert item_name(text, files.find(Wanted(text, "x"))) == name
