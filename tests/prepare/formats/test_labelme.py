"""LabelMe's json files and its old xml files."""

import base64

import cv2
import numpy as np
import pytest

from hdtrans.prepare.formats import labelme
from tests.golden_files import shared
from tests.prepare.small_sets import names, only, opened, parts, png, refused, write


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, **more}


def annotated(root, *shapes, name="a.json", **more):
    values = {"imagePath": "a.jpg", "imageHeight": 4, "imageWidth": 6, "shapes": list(shapes)}
    return write(root / name, {**values, **more})


def test_every_shape(tmp_path):
    mask = base64.b64encode(cv2.imencode(".png", np.array([[0, 255], [255, 255]], np.uint8))[1]).decode()
    annotated(
        tmp_path,
        shape("road", [[0, 0], [6, 0], [6, 4], [0, 4]]),
        shape("box", [[6, 2], [4, 0]], "rectangle"),
        shape("disc", [[1, 1], [1, 2]], "circle"),
        shape("wire", [[0.5, 3.5], [2.5, 3.5]], "line"),
        shape("mask", [[4, 2], [5, 3]], "mask", mask=mask),
    )
    source = opened(labelme, tmp_path, "--line-width", "1")
    assert source.classes.names == ("box", "disc", "mask", "road", "wire")
    maps = only(source)
    assert names(source, maps) == ["ddrrbb", "ddrrbb", "rrrrrm", "wwwrmm"]
    assert parts(maps) == ["001122", "001122", "111113", "444133"]


def test_strips_and_points(tmp_path):
    strip = shape("strip", [[0.5, 0.5], [5.5, 0.5], [5.5, 3.5]], "linestrip")
    annotated(tmp_path, strip)
    source = opened(labelme, tmp_path, "--line-width", "1")
    assert names(source, only(source)) == ["ssssss", ".....s", ".....s", ".....s"]
    annotated(tmp_path, shape("p", [[10, 10]], "point"), imageHeight=20, imageWidth=20)
    assert 70 < (only(opened(labelme, tmp_path)).label == 0).sum() < 90


def test_groups_are_one_instance_of_a_class(tmp_path):
    def square(label, column, group):
        return shape(label, [[column, 0], [column + 1, 1]], "rectangle", group_id=group)

    groups = [("a", 7), ("a", 7), ("b", 7), ("a", None), ("a", None), ("a", 8)]
    annotated(tmp_path, *(square(label, column, group) for column, (label, group) in enumerate(groups)))
    assert parts(only(opened(labelme, tmp_path)))[0] == "001234"


def test_the_list_of_classes(tmp_path):
    path = annotated(tmp_path, shape("b10", [[0, 0], [1, 4]], "rectangle"), shape("b9", [[1, 0], [2, 4]], "rectangle"))
    assert opened(labelme, tmp_path).classes.names == ("b9", "b10")
    background = opened(labelme, tmp_path, "--background", "nothing")
    assert names(background, only(background))[0] == "bbnnnn" and background.classes.names[0] == "nothing"
    write(tmp_path / "labels.txt", "__ignore__\n_background_\nb10\nb8\n")
    source = opened(labelme, tmp_path)
    assert source.classes.names == ("_background_", "b10", "b8")
    refused(lambda: only(source), f"{path}: shape 1 (b9, rectangle)", "'b9' is not in the class list.")
    annotated(tmp_path, shape("__ignore__", [[0, 0], [1, 4]], "rectangle"), shape("b8", [[1, 0], [2, 4]], "rectangle"))
    assert names(source, only(source))[0] == ".b____" and parts(only(source))[0] == ".0...."


def test_photo_is_taken_from_image_path(tmp_path):
    annotated(tmp_path, shape("a", [[0, 0], [1, 4]], "rectangle"), name="train/x.json", imagePath="..\\photos\\b.jpg")
    (item,) = opened(labelme, tmp_path).items()
    assert (item.name, item.split, item.photo) == ("train/x", "train", tmp_path / "photos" / "b.jpg")


def test_size_missing_in_old_files_is_read_from_the_photo(tmp_path):
    annotated(tmp_path, shape("a", [[0, 0], [1, 4]], "rectangle"), imageHeight=None, imageWidth=None)
    photo = tmp_path / "a.jpg"
    refused(lambda: only(opened(labelme, tmp_path)), photo, "cannot be opened")
    png(photo, np.zeros((4, 3, 3)))
    source = opened(labelme, tmp_path)
    assert names(source, only(source)) == ["a.."] * 4


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (shape("a", [[0, 0], [1, 1]]), "shape 1 (a, polygon): has 2 point(s); at least 3 are required"),
        (shape("a", [[0, 0], [1, "x"], [1, 2]]), "shape 1 (a, polygon): points are no pairs of numbers"),
        (shape("a", [[0, 0]], "cube"), "shape 1 (a): unknown shape_type 'cube'; known are polygon, rectangle"),
        (shape("", [[0, 0], [1, 1], [1, 2]]), "shape 1: has an empty label"),
        ({"points": []}, "shape 1: key 'label' is missing"),
        (shape("a", [[0, 0], [1, 1]], "mask", mask="!"), "shape 1 (a, mask): mask is no base64 PNG"),
        (shape("a", [[0, 0], [1, 1]], "mask", mask="AAAA"), "shape 1 (a, mask): mask is no base64 PNG"),
        (shape("a", [[0, 0], [1, 1]], "mask"), "shape 1 (a, mask): mask is no base64 PNG: None"),
    ],
)
def test_a_broken_file_is_reported_and_the_others_are_read(tmp_path, wrong, words):
    fine = shape("a", [[0, 0], [1, 4]], "rectangle")
    path = annotated(tmp_path, fine, wrong)
    annotated(tmp_path, fine, name="b.json")
    source = opened(labelme, tmp_path)
    first, second = source.items()
    refused(lambda: source.read(first), f"{path}: ", words)
    assert source.read(second).label[0].tolist() == [0, 255, 255, 255, 255, 255]


def test_broken_sets_are_reported(tmp_path):
    refused(lambda: opened(labelme, tmp_path), tmp_path, "no LabelMe JSON or XML file")
    refused(lambda: opened(labelme, tmp_path, "--line-width", "-1"), "line_width=-1: give more than 0")
    path = write(tmp_path / "a.json", "{")
    refused(lambda: opened(labelme, tmp_path), path, "is no JSON")
    annotated(tmp_path)
    refused(lambda: opened(labelme, tmp_path), "no class in any of 1 file(s)")
    annotated(tmp_path, shape("a", [[0, 0], [0, 0]], "rectangle"))
    assert only(opened(labelme, tmp_path)).notes == ("shapes that cover no pixel: shape 0 (a)",)


XML = """<annotation><filename>a.jpg</filename><imagesize><nrows>2</nrows><ncols>4</ncols></imagesize>
<object><name>gone</name><deleted>1</deleted></object>
<object><name>car</name><deleted>0</deleted><polygon><pt><x>0</x><y>0</y></pt><pt><x>2</x><y>0</y></pt>
<pt><x>2</x><y>2</y></pt><pt><x>0</x><y>2</y></pt></polygon></object>
<object><name>tree</name><segm><mask>m.png</mask></segm></object></annotation>"""


def test_old_xml(tmp_path):
    path = write(tmp_path / "Annotations" / "street" / "a.xml", XML)
    mask = png(tmp_path / "Masks" / "street" / "m.png", [[0, 0, 0, 99], [0, 99, 0, 0]])
    source = opened(labelme, tmp_path)
    assert names(source, only(source)) == ["cc.t", "ct.."]
    assert source.items()[0].photo == tmp_path / "Images" / "street" / "a.jpg"
    write(path, XML.replace("<nrows>2</nrows>", ""))
    refused(lambda: opened(labelme, tmp_path), path, "<imagesize/nrows> is no integer")
    write(path, XML.replace("<segm><mask>m.png</mask></segm>", ""))
    refused(lambda: opened(labelme, tmp_path), f"{path}: object 2 (tree): has neither a polygon nor a mask")
    write(path, XML)
    mask.unlink()
    refused(lambda: only(source), mask, "No such file")


def test_real_files():
    source = opened(labelme, shared("data", "formats", "labelme"))
    photo, shapes = source.items()
    assert photo.photo.is_file() and len(source.classes) == 9
    maps = source.read(shapes)
    areas = {name: int((maps.label == place).sum()) for place, name in enumerate(source.classes.names)}
    assert areas["rectangle"] == 100 * 100 + 151 * 102
    assert abs(areas["circle"] - np.pi * (30**2 + 41**2)) < 60
    assert len(np.unique(source.read(photo).instance)) == 5  # three persons, a bottle, and the rest
    old = opened(labelme, shared("data", "formats", "tiny", "labelme_dataset"))
    assert len(old.classes) == 7 and (only(old).label < 7).sum() > 600
