"""Pascal VOC: palette and colour label maps, objects, lists."""

import numpy as np
import pytest

from hdtrans.prepare.formats import voc
from tests.golden_files import shared
from tests.prepare.small_sets import cut_off, names, only, opened, palette_png, parts, png, refused, write


@pytest.fixture
def root(tmp_path):
    """Return a set with one picture."""
    palette_png(tmp_path / "SegmentationClass" / "a.png", [[0, 255, 15, 15, 7]])
    palette_png(tmp_path / "SegmentationObject" / "a.png", [[0, 255, 1, 2, 3]])
    png(tmp_path / "JPEGImages" / "a.jpg", np.zeros((1, 5, 3)))
    return tmp_path


def test_palette(root):
    source = opened(voc, root)
    assert names(source, only(source)) == ["b.ppc"] and parts(only(source)) == ["..012"]
    assert source.classes.names[15] == "person" and source.classes.colours[15] == (192, 128, 128)
    assert source.classes.colours[20] == (0, 64, 128)


def test_colours(root):
    border, person, car = (224, 224, 192), (192, 128, 128), (128, 128, 128)
    png(root / "SegmentationClass" / "a.png", [[(0, 0, 0), border, person, person, car]])
    png(root / "SegmentationObject" / "a.png", [[(0, 0, 0), border, (128, 0, 0), (0, 128, 0), (0, 0, 128)]])
    source = opened(voc, root)
    assert names(source, only(source)) == ["b.ppc"] and parts(only(source)) == ["..012"]
    path = png(root / "SegmentationClass" / "a.png", [[(0, 0, 0), border, (1, 2, 3), person, car]])
    refused(lambda: only(source), path, "colours without a class: [1, 2, 3] (1 pixel, first at row 0, column 2)")


def test_lists_are_splits(root):
    lists = root / "ImageSets" / "Segmentation"
    for name in ("b", "c", "d"):
        palette_png(root / "SegmentationClass" / f"{name}.png", [[0]])
    write(lists / "trainval.txt", "a\nb\nc\n")
    write(lists / "train.txt", "a\n")
    write(lists / "val.txt", "b\nlost\n")
    write(lists / "test.txt", "unpublished\n")
    source = opened(voc, root)
    assert [(item.name, item.split) for item in source.items()] == [
        *(("a", "train"), ("b", "val"), ("c", None), ("d", None), ("lost", "val"))
    ]
    refused(lambda: source.read(source.items()[4]), root / "SegmentationClass" / "lost.png", "No such file")


def test_labelmap(root):
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\nsky:1,2,3::\nborder:224,224,192::\nroad:4,5,6::\n")
    png(root / "SegmentationClass" / "a.png", [[(1, 2, 3), (4, 5, 6), (224, 224, 192), (1, 2, 3), (1, 2, 3)]])
    source = opened(voc, root)
    assert names(source, only(source)) == ["sr.ss"] and source.classes.colours == ((1, 2, 3), (4, 5, 6))
    path = write(root / "labelmap.txt", "sky:1,2::\n")
    refused(lambda: opened(voc, root), path, "expected name:red,green,blue:parts:actions, got 'sky:1,2::'")


def test_a_line_of_a_list_may_be_a_path_or_a_name_with_spaces(root):
    for name in ("b c", "sub/d"):
        palette_png(root / "SegmentationClass" / f"{name}.png", [[0]])
    lists = root / "ImageSets" / "Segmentation"
    write(lists / "train.txt", "JPEGImages\\\\a.jpg\nb c\n")
    write(lists / "val.txt", "b c\nsub/d 1\n")
    source = opened(voc, root)
    assert [(item.name, item.split) for item in source.items()] == [("a", "train"), ("b c", "train"), ("sub/d", "val")]
    assert source.notes == ("1 name(s) are in two lists, and belong to the second: 'b c' in val and train",)


def test_keys_of_a_labelmap(root):
    path = write(root / "labelmap.txt", "sky :1,2,3::\nroad:4,5,6::\n")
    source = opened(voc, root)
    assert source.classes.names == ("sky", "road") and source.notes == (
        "spaces around class names are dropped: 'sky '",
    )
    write(path, "sky:1,2,3::\nroad:1,2,3::\n")
    refused(lambda: opened(voc, root), f"{path}: 'road:1,2,3::': the colour (1, 2, 3) is that of {path}: 'sky:1,2,3::'")


def test_two_photos_of_one_name_are_refused(root):
    png(root / "JPEGImages" / "a.png", np.zeros((1, 5, 3)))
    refused(lambda: opened(voc, root), "JPEGImages/a.jpg", "JPEGImages/a.png", "is a photo of the same name as")


def test_broken_sets_are_reported(root):
    label, objects = (root / folder / "a.png" for folder in ("SegmentationClass", "SegmentationObject"))
    palette_png(label, [[0, 21, 15, 15, 7]])
    refused(lambda: only(opened(voc, root)), label, "ids without a class: 21 (1 pixel")
    palette_png(label, [[0, 1]])
    refused(lambda: only(opened(voc, root)), objects, "5x1 pixels", label, "2x1")
    cut_off(objects)
    refused(lambda: only(opened(voc, root)), objects)
    label.unlink()
    refused(lambda: opened(voc, root), root, "contains no annotated picture")
    label.parent.rmdir()
    refused(lambda: opened(voc, root), root, "SegmentationClass", "Found: JPEGImages/, SegmentationObject/")


def test_tiny_set():
    source = opened(voc, shared("data", "formats", "tiny", "voc_dataset", "voc_dataset1"))
    assert set("".join(names(source, only(source)))) == {"b"} and source.items()[0].split == "train"
