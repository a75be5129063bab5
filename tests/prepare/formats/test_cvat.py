"""CVAT's xml files for images."""

import numpy as np
import pytest

from hdtrans.prepare.formats import cvat
from tests.golden_files import shared
from tests.prepare.small_sets import names, only, opened, parts, png, refused, write

LABELS = "<label><name>car</name><color>#0a0b0c</color></label><label><name>road</name></label>"
HEAD = f"<annotations><version>1.1</version><meta><task><labels>{LABELS}</labels></task></meta>"


def annotated(root, shapes, image='name="a.jpg" width="6" height="4"'):
    return write(root / "annotations.xml", f'{HEAD}<image id="0" {image}>{shapes}</image></annotations>')


def polygon(label, points, **more):
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<polygon label="{label}" points="{points}"{attributes}/>'


ALL = "0,0;6,0;6,4;0,4"


def test_shapes_in_z_order(tmp_path):
    annotated(
        tmp_path,
        '<box label="car" xtl="1" ytl="0" xbr="3" ybr="2" z_order="2"/>'
        + polygon("road", ALL, z_order=-1)
        + '<mask label="car" rle="1, 4, 1" left="4" top="1" width="2" height="3"/><tag label="car"/>'
        + '<polyline label="road" points="0,0;1,1"/><points label="road" points="0,0"/>',
    )
    png(tmp_path / "images" / "a.jpg", np.zeros((4, 6, 3)))
    source = opened(cvat, tmp_path)
    maps = only(source)
    assert names(source, maps) == ["rccrrr", "rccrrc", "rrrrcc", "rrrrcr"]
    assert parts(maps) == ["011000", "011002", "000022", "000020"]
    assert maps.notes == ("shapes that are not drawn: 2 with no area (shape 4 (polyline), shape 5 (points))",)
    assert source.classes.colours[0] == (10, 11, 12)
    assert source.items()[0].photo == tmp_path / "images" / "a.jpg"


def test_turned_boxes_and_ellipses(tmp_path):
    annotated(tmp_path, '<box label="car" xtl="0" ytl="1" xbr="4" ybr="3" rotation="90"/>')
    source = opened(cvat, tmp_path, "--background", "nothing")
    assert names(source, only(source)) == ["nccnnn"] * 4
    annotated(tmp_path, '<ellipse label="car" cx="3" cy="2" rx="3" ry="1" rotation="0"/>')
    source = opened(cvat, tmp_path)
    assert names(source, only(source)) == ["......", "cccccc", "cccccc", "......"]


def test_groups_are_one_instance_of_a_class(tmp_path):
    squares = [polygon(label, f"{x},0;{x + 1},0;{x + 1},1;{x},1", group_id=group) for label, x, group in GROUPS]
    annotated(tmp_path, "".join(squares))
    assert parts(only(opened(cvat, tmp_path)))[0] == "00123."


GROUPS = [("car", 0, 1), ("car", 1, 1), ("road", 2, 1), ("car", 3, ""), ("car", 4, "")]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (polygon("cat", ALL), "shape 0 (polygon): the label 'cat' is not defined in <meta>. Did you mean 'car'?"),
        (polygon("car", "0,0;1,1;2"), "shape 0 (polygon): points are no pairs of numbers"),
        (polygon("car", ALL, z_order="top"), "attribute 'z_order' of <polygon> is no integer: 'top'"),
        ('<box label="car" xtl="1" ytl="0" xbr="3"/>', "shape 0 (box): attribute 'ybr' is missing"),
        ('<mask label="car" rle="1,2" left="0" top="0" width="2" height="2"/>', "run lengths sum to 3 pixels"),
        ('<mask label="car" rle="1,x" left="0" top="0" width="2" height="2"/>', "rle is no list of integers"),
        ('<mask label="car" rle="4" left="0" top="0" width="2"/>', "attribute 'height' of <mask> is no integer"),
    ],
)
def test_a_broken_shape_is_reported(tmp_path, shape, words):
    path = annotated(tmp_path, shape)
    source = opened(cvat, tmp_path)
    refused(lambda: only(source), f"{path}: image 'a.jpg'", words)


def test_a_polygon_of_two_points_is_noted(tmp_path):
    annotated(tmp_path, polygon("car", "0,0;1,1") + polygon("road", ALL))
    source = opened(cvat, tmp_path)
    maps = only(source)
    assert names(source, maps) == ["rrrrrr"] * 4
    assert maps.notes == ("shapes that are not drawn: 1 with fewer than 3 points (shape 0 (polygon))",)


def test_numbers_and_names_as_other_programs_write_them(tmp_path):
    path = annotated(tmp_path, polygon(" car", ALL, z_order="1.0"), 'name="C:\\\\x\\\\a.jpg" width="6.0" height="4"')
    path.write_text(path.read_text().replace("<name>car", "<name>car "))
    photo = png(tmp_path / "images" / "a.jpg", np.zeros((4, 6, 3)))
    source = opened(cvat, tmp_path)
    assert names(source, only(source)) == ["cccccc"] * 4 and source.classes.names == ("car", "road")
    assert source.notes == ("spaces around class names are dropped: 'car '",)
    (item,) = source.items()
    assert (item.name, item.photo) == ("a", photo)
    annotated(tmp_path, "", 'name="a.jpg" width="6.5" height="4"')
    refused(lambda: only(opened(cvat, tmp_path)), "attribute 'width' of <image> is no integer: '6.5'")


def test_two_pictures_of_one_name_are_refused_with_both_places(tmp_path):
    image = '<image id="0" name="a.jpg" width="6" height="4"/>'
    path = write(tmp_path / "annotations.xml", f"{HEAD}{image}{image}</annotations>")
    refused(lambda: opened(cvat, tmp_path), f"{path}: image 1: the name 'train/a' is that of {path}: image 0 as well")
    write(path, f"{HEAD}{image}</annotations>")
    for ending in ("png", "bmp"):
        png(tmp_path / "images" / f"a.{ending}", np.zeros((4, 6, 3)))
    refused(lambda: opened(cvat, tmp_path), "images/a.bmp", "images/a.png", "both match the photo 'a.jpg'")


def test_broken_sets_are_reported(tmp_path):
    refused(lambda: opened(cvat, tmp_path), tmp_path, "no CVAT XML file (<annotations>)")
    path = annotated(tmp_path, "", 'name="a.jpg" width="6"')
    refused(lambda: only(opened(cvat, tmp_path)), path, "attribute 'height' of <image> is no integer")
    annotated(tmp_path, "", 'width="6" height="4"')
    refused(lambda: opened(cvat, tmp_path), path, "image 0: has no name")
    write(path, "<annotations><image/></annotations>")
    refused(lambda: opened(cvat, tmp_path), path, "has no labels in <meta>")
    write(path, f"{HEAD}<track/></annotations>")
    refused(lambda: opened(cvat, tmp_path), path, "export it as 'CVAT for images 1.1'")
    write(path, f"<!DOCTYPE a>{HEAD}</annotations>")
    refused(lambda: opened(cvat, tmp_path), path, "has a DOCTYPE")
    write(path, HEAD)
    refused(lambda: opened(cvat, tmp_path), path, "is no XML")


def test_tiny_sets():
    root = shared("data", "formats", "tiny", "cvat_dataset", "for_images")
    source = opened(cvat, root / "export_project")
    assert [item.name for item in source.items()] == [
        f"{s}/img{k}" for s in ("Test", "Train", "Validation") for k in (0, 1)
    ]
    assert all(item.photo.is_file() for item in source.items())
    assert [int((source.read(item).label == 0).sum()) for item in source.items()] == [8, 3] * 3
    source = opened(cvat, root / "export_task")
    refused(lambda: source.read(source.items()[1]), "the label '' is not defined in <meta>")
