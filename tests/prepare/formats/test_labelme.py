"""LabelMe's json files and its old xml files."""

import base64
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from hdtrans.prepare.formats import labelme
from tests.golden_files import shared
from tests.prepare.made import prepare
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
        (shape("a", [[0, 0], [1, "x"], [1, 2]]), "shape 1 (a, polygon): points are no pairs of numbers"),
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
    assert only(opened(labelme, tmp_path)).notes == (
        "shapes that are not drawn: 1 with no pixel in the picture (shape 0 (a, rectangle))",
    )


def test_shapes_that_cannot_be_drawn_are_noted(tmp_path):
    thin, cube, dot = shape("a", [[0, 0], [1, 1]]), shape("a", [[0, 0]], "cube"), shape("a", [[1, 1]], "circle")
    annotated(tmp_path, thin, shape("b", [[0, 0], [1, 4]], "rectangle"), cube, dot)
    source = opened(labelme, tmp_path)
    maps = only(source)
    assert names(source, maps)[0] == "b....."
    assert maps.notes == (
        "shapes that are not drawn: 1 with fewer than 3 points (shape 0 (a, polygon)); "
        "1 with the type 'cube' (shape 2 (a, cube)); 1 with fewer than 2 points (shape 3 (a, circle))",
    )


def test_class_names_are_stripped(tmp_path):
    annotated(tmp_path, shape("car", [[0, 0], [1, 4]], "rectangle"), shape(" car\u200b", [[1, 0], [2, 4]], "rectangle"))
    source = opened(labelme, tmp_path)
    assert source.classes.names == ("car",) and names(source, only(source))[0] == "cc...."
    assert source.notes == (r"spaces around class names are dropped: ' car\u200b'",)
    (tmp_path / "labels.txt").write_bytes("\ufeff bus \r\ncar\r\n".encode())
    assert opened(labelme, tmp_path).classes.names == ("bus", "car")


def test_group_ids_of_any_kind(tmp_path):
    groups = ["7", 7.0, "x", "x", None, ""]
    shapes = [shape("a", [[c, 0], [c + 1, 1]], "rectangle", group_id=group) for c, group in enumerate(groups)]
    annotated(tmp_path, *shapes, version="3.16.2", flags={}, lineColor=[0, 255, 0, 128])
    assert parts(only(opened(labelme, tmp_path)))[0] == "001123"


class TestPhotos:
    """The photo is the file that `imagePath` names, then another of its name, then `imageData`."""

    BOX = shape("a", [[0, 0], [1, 4]], "rectangle")

    def photo(self, root, **more):
        annotated(root, self.BOX, **more)
        (item,) = opened(labelme, root).items()
        return item

    def test_paths_of_another_machine(self, tmp_path):
        png(tmp_path / "photos" / "my b.jpg", np.zeros((4, 6, 3)))
        for named in (r"C:\data\my b.jpg", "/home/me/photos/my b.jpg", "file:///x/my%20b.jpg", "MY B.JPG"):
            item = self.photo(tmp_path, name="sub/x.json", imagePath=named)
            assert item.photo == tmp_path / "photos" / "my b.jpg"
            assert item.notes[0].startswith("photo found by the end of its path: ")

    def test_the_photo_of_another_item_is_not_taken(self, tmp_path):
        png(tmp_path / "b" / "a.jpg", np.zeros((4, 6, 3)))
        for folder in "ab":
            annotated(tmp_path, self.BOX, name=f"{folder}/a.json")
        source = opened(labelme, tmp_path)
        first, second = source.items()
        assert second.photo == tmp_path / "b" / "a.jpg" and not second.notes
        refused(lambda: source.read(first), f"{tmp_path}/a/a.json: the photo 'a.jpg' is not there; b/a.jpg is that of")

    def test_a_photo_outside_of_the_set_is_read_from_its_path(self, tmp_path):
        """LabelMe writes such paths where labels have a folder of their own."""
        photo = png(tmp_path / "photos" / "a.jpg", np.zeros((4, 6, 3)))
        annotated(tmp_path / "set", self.BOX, imagePath="../photos/a.jpg")
        words = ("labelme", "--in", tmp_path / "set", "--out", tmp_path / "out")
        assert prepare(*words) == 0 and (tmp_path / "out/train_img/a.png").is_file()
        photo.rename(tmp_path / "moved.jpg")
        refused(
            lambda: only(opened(labelme, tmp_path / "set")), "'../photos/a.jpg': is outside of", "give photo_dir=DIR"
        )

    def test_two_files_of_one_photo_are_noted(self, tmp_path):
        png(tmp_path / "a.jpg", np.zeros((4, 6, 3)))
        annotated(tmp_path, self.BOX)
        annotated(tmp_path, self.BOX, name="old.json")
        first, second = opened(labelme, tmp_path).items()
        assert not first.notes
        assert second.notes == (f"photo of two entries: a.jpg, in {tmp_path}/old.json and {tmp_path}/a.json",)

    def test_image_data_where_the_file_is_missing(self, tmp_path):
        picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        text = base64.b64encode(data).decode()
        for kind, given in enumerate((text, f"data:image/png;base64,{text}", text.rstrip("=") + "\n")):
            out = tmp_path / f"out{kind}"
            annotated(tmp_path / "set", self.BOX, imageData=given, imageHeight=None, imagePath="../gone/a.jpg")
            assert prepare("labelme", "--in", tmp_path / "set", "--out", out) == 0
            assert (out / "train_img" / "a.png").read_bytes() == data
        file = png(tmp_path / "set" / "a.jpg", np.ones((4, 6, 3)))
        annotated(tmp_path / "set", self.BOX, imageData=text)
        assert prepare("labelme", "--in", tmp_path / "set", "--out", tmp_path / "file") == 0
        assert (tmp_path / "file" / "train_img" / "a.png").read_bytes() == file.read_bytes()

    @pytest.mark.parametrize(
        ("data", "words"), [("?", "is no base64 picture"), ("AAAA", "cannot be read as a picture"), (7, "is no base64")]
    )
    def test_damaged_image_data(self, tmp_path, capsys, data, words):
        annotated(tmp_path / "set", self.BOX, imageData=data)
        assert prepare("labelme", "--in", tmp_path / "set", "--out", tmp_path / "out") == 1
        message = capsys.readouterr().out
        assert message.count(f"a.json: imageData: {words}") == 1 and "0 of 1 items" in message

    def test_turned_and_wrong_image_data(self, tmp_path, capsys):
        exif = Image.Exif()
        exif[274] = 6
        file = io.BytesIO()
        Image.new("RGB", (6, 4)).save(file, "JPEG", exif=exif)
        annotated(tmp_path / "set", self.BOX, imageData=base64.b64encode(file.getvalue()).decode())
        assert prepare("labelme", "--in", tmp_path / "set", "--out", tmp_path / "out") == 1
        assert "imageData: is 4x6, but its annotation 6x4" in (message := capsys.readouterr().out)
        assert "ignores the photo's EXIF orientation" in message


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
    without = opened(labelme, tmp_path)
    assert names(without, only(without)) == ["cc..", "cc.."] and "shape 1 (tree, box)" in only(without).notes[0]
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
