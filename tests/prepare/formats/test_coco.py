"""COCO's panoptic, instance and stuff annotations."""

import json

import numpy as np
import pytest

from hdtrans.prepare.formats import coco
from tests.golden_files import shared
from tests.prepare.made import prepare
from tests.prepare.small_sets import cut_off, names, only, opened, parts, png, refused, write

THINGS = [{"id": 1, "name": "cat", "color": [9, 8, 7]}, {"id": 3, "name": "dog"}]
STUFF = [{"id": 92, "name": "sky"}]
IMAGE = {"id": 5, "file_name": "a.jpg", "height": 4, "width": 6}


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number, category, segmentation, **more):
    return {"id": number, "image_id": 5, "category_id": category, "segmentation": segmentation, **more}


def instances(root, *annotations, name="instances_train.json", categories=THINGS, images=(IMAGE,)):
    values = {"images": list(images), "categories": categories, "annotations": list(annotations)}
    return write(root / "annotations" / name, values)


def panoptic(root, ids, segments):
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    png(root / "annotations" / "panoptic_train" / "a.png", colours)
    entry = {"image_id": 5, "file_name": "a.png", "segments_info": segments}
    categories = [{**c, "isthing": 1} for c in THINGS] + [{**c, "isthing": 0} for c in STUFF]
    values = {"images": [IMAGE], "categories": categories, "annotations": [entry]}
    return write(root / "annotations" / "panoptic_train.json", values)


IDS = np.array([[700000] * 4 + [0] * 2] * 2 + [[5] * 3 + [6] * 3] * 2)
SEGMENTS = [{"id": 700000, "category_id": 92}, {"id": 5, "category_id": 3}, {"id": 6, "category_id": 3, "iscrowd": 1}]


def test_panoptic(tmp_path):
    panoptic(tmp_path, IDS, SEGMENTS)
    png(tmp_path / "train" / "a.jpg", np.zeros((4, 6, 3)))
    source = opened(coco, tmp_path)
    maps = only(source)
    assert names(source, maps) == ["ssss..", "ssss..", "dddddd", "dddddd"]
    assert parts(maps) == ["......", "......", "000...", "000..."]
    assert source.classes.colours[0] == (9, 8, 7)
    (item,) = source.items()
    assert (item.name, item.split, item.photo) == ("a", "train", tmp_path / "train" / "a.jpg")


def test_no_photo_at_all_is_a_failure_and_a_link_is_followed(tmp_path, capsys):
    source = tmp_path / "set"
    instances(source, annotation(1, 1, rectangle(0, 0, 2, 2)))
    png(tmp_path / "store" / "a.jpg", np.zeros((4, 6, 3)))
    assert prepare("coco", "--in", source, "--out", tmp_path / "none") == 1
    message = capsys.readouterr().out
    assert "FAILED: no item has a photo" in message and "give --photo-dir DIR, or put the photos" in message
    (source / "images").symlink_to("../store")
    assert prepare("coco", "--in", source, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "train_img" / "a.png").is_file()


def test_small_objects_cover_large_ones_and_things_cover_stuff(tmp_path):
    instances(
        tmp_path,
        annotation(1, 1, rectangle(0, 0, 2, 2)),
        annotation(2, 3, rectangle(0, 0, 5, 3)),
        annotation(3, 3, {"size": [4, 6], "counts": [20, 4]}, iscrowd=1),
    )
    instances(
        tmp_path,
        annotation(1, 92, {"size": [4, 6], "counts": [16, 8]}),
        name="stuff_train.json",
        categories=STUFF,
    )
    source = opened(coco, tmp_path)
    maps = only(source)
    assert names(source, maps) == ["ccdddd", "ccdddd", "dddddd", "....sd"]
    assert parts(maps) == ["00111.", "00111.", "11111.", "......"]
    source = opened(coco, tmp_path, "--tasks", "instances", "--background", "background")
    assert source.classes.names == ("background", "cat", "dog") and names(source, only(source))[3] == "bbbbbd"


def test_instances_over_panoptic(tmp_path):
    panoptic(tmp_path, IDS, SEGMENTS)
    instances(tmp_path, annotation(1, 1, rectangle(0, 0, 1, 1)))
    source = opened(coco, tmp_path, "--tasks", "panoptic", "instances")
    assert names(source, only(source)) == ["csss..", "ssss..", "dddddd", "dddddd"]


def test_a_picture_without_annotation_and_a_shape_without_pixels_are_noted(tmp_path):
    instances(tmp_path, images=[IMAGE, {**IMAGE, "id": 6, "file_name": "b.jpg"}])
    source = opened(coco, tmp_path)
    assert [source.read(item).notes for item in source.items()] == [("no annotation",)] * 2
    instances(tmp_path, annotation(8, 1, rectangle(1, 1, 1, 3)))
    notes = only(opened(coco, tmp_path)).notes
    assert notes == ("shapes that are not drawn: 1 with no pixel in the picture (annotation 8)",)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (annotation(7, 2, rectangle(0, 0, 2, 2)), "annotation 7: category_id 2 is not listed in categories"),
        (annotation(7, 1, [[1, 1, 2, 2, "x", 3]]), "annotation 7: points are no pairs of numbers"),
        (annotation(7, 1, [[1, 1, 2, float("nan"), 3, 3]]), "annotation 7: a coordinate is not finite"),
        (annotation(7, 1.5, rectangle(0, 0, 2, 2)), "annotation 7: 'category_id' is not an integer: 1.5"),
        (annotation(7, 1, {"size": [4, 6], "counts": [3, 4]}), "annotation 7: run lengths sum to 7 pixels"),
        (
            annotation(7, 1, {"size": [4, 5], "counts": [20]}),
            "annotation 7: mask size [4, 5] differs from picture size [4, 6]",
        ),
        (annotation(7, 1, {"size": [4, 6], "counts": "aa"}), "annotation 7: the run-length code is cut off"),
        ({"id": 7, "image_id": 5}, "annotation 7: key 'category_id' is missing"),
    ],
)
def test_a_broken_annotation_is_reported(tmp_path, wrong, words):
    path = instances(tmp_path, wrong)
    source = opened(coco, tmp_path)
    refused(lambda: only(source), path, words)


def test_broken_panoptic_pictures_are_reported(tmp_path):
    path = panoptic(tmp_path, IDS, SEGMENTS[:2])
    picture = tmp_path / "annotations" / "panoptic_train" / "a.png"
    refused(
        lambda: only(opened(coco, tmp_path)),
        picture,
        "ids missing in panoptic_train.json without a class: 6 (6 pixels, first at row 2, column 3)",
    )
    panoptic(tmp_path, IDS[:3], SEGMENTS)
    refused(lambda: only(opened(coco, tmp_path)), picture, "6x3 pixels", path, "6x4")
    cut_off(picture)
    refused(lambda: only(opened(coco, tmp_path)), picture)
    picture.unlink()
    refused(lambda: only(opened(coco, tmp_path)), picture, "No such file")
    picture.parent.rename(tmp_path / "other")
    write(picture.parent.with_suffix(".zip"), "")
    refused(lambda: only(opened(coco, tmp_path)), picture.parent, "unpack", "panoptic_train.zip")


def test_broken_files_are_reported(tmp_path):
    refused(lambda: opened(coco, tmp_path), tmp_path, "no annotation file for panoptic, instances, stuff")
    path = instances(tmp_path, {"image_id": 4})
    refused(lambda: opened(coco, tmp_path), path, "annotations[0]: image_id 4 is not listed in images")
    refused(lambda: opened(coco, tmp_path, "--tasks", "stuff"), "no annotation file for stuff")
    refused(lambda: opened(coco, tmp_path, "--annotations", "x.json"), tmp_path / "x.json", "cannot be read")
    instances(tmp_path, categories=[{"id": 92, "name": "cloud"}])
    other = instances(tmp_path, name="stuff_train.json", categories=STUFF)
    refused(lambda: opened(coco, tmp_path), other, "categories[0]: the id 92 is that of", "which is 'cloud', not 'sky'")
    write(path, '{"images": []')
    refused(lambda: opened(coco, tmp_path), path, "is no JSON")


def test_photos_of_two_splits_have_one_name(tmp_path):
    instances(tmp_path)
    instances(tmp_path, name="instances_val.json")
    for split in ("train", "val"):
        png(tmp_path / "images" / split / "a.jpg", np.zeros((4, 6, 3)))
    found = [(item.name, item.photo) for item in opened(coco, tmp_path).items()]
    assert found == [("a", tmp_path / "images" / s / "a.jpg") for s in ("train", "val")]
    png(tmp_path / "more" / "train" / "a.jpg", np.zeros((4, 6, 3)))
    refused(lambda: opened(coco, tmp_path), "both match the photo 'a.jpg'; give photo_dir=DIR")
    for folder in ("images", tmp_path / "images"):
        assert len(opened(coco, tmp_path, "--photo-dir", folder).items()) == 2
    (tmp_path / "images").rename(tmp_path / "outside")
    (tmp_path / "set").mkdir()
    (tmp_path / "annotations").rename(tmp_path / "set" / "annotations")
    found = opened(coco, tmp_path / "set", "--photo-dir", tmp_path / "outside").items()
    assert [item.photo for item in found] == [tmp_path / "outside" / split / "a.jpg" for split in ("train", "val")]


class TestForeignFiles:
    """Files of other programs: paths, keys that are not unique, shapes without an outline, numbers."""

    @pytest.mark.parametrize(
        "named",
        [
            r"images\a.jpg",
            "./images/a.jpg",
            r"C:\sets\one\images\a.jpg",
            "file:///D:/one/images/a.jpg",
            "../../data/media/upload/images/a.jpg",
            "https://server/images/a.jpg?token=/b.jpg",
            "/data/local-files/?d=images/a.jpg",
            "A.JPG",
        ],
    )
    def test_photos_are_found(self, tmp_path, named):
        photo = png(tmp_path / "images" / "a.jpg", np.zeros((4, 6, 3)))
        png(tmp_path / "images" / "b.jpg", np.zeros((4, 6, 3)))
        instances(tmp_path, images=[{**IMAGE, "file_name": named}])
        (item,) = opened(coco, tmp_path).items()
        assert item.photo == photo and item.name.lower() in ("images/a", "a") and not item.wanted

    def test_escapes_are_replaced_where_the_plain_name_is_missing(self, tmp_path):
        plain = png(tmp_path / "images" / "a%20b.jpg", np.zeros((4, 6, 3)))
        escaped = png(tmp_path / "images" / "c d.jpg", np.zeros((4, 6, 3)))
        images = [{**IMAGE, "id": name, "file_name": f"images/{name}.jpg"} for name in ("a%20b", "c%20d")]
        instances(tmp_path, images=images)
        assert [item.photo for item in opened(coco, tmp_path).items()] == [plain, escaped]

    def test_photos_that_cannot_be_told_apart_are_refused(self, tmp_path):
        for folder in "pq":
            png(tmp_path / folder / "a.jpg", np.zeros((4, 6, 3)))
        instances(tmp_path, images=[{**IMAGE, "file_name": "/x/a.jpg"}])
        refused(lambda: opened(coco, tmp_path), "p/a.jpg", "q/a.jpg", "both match the photo '/x/a.jpg'")
        (tmp_path / "q" / "a.jpg").unlink()
        path = instances(tmp_path, images=[{**IMAGE, "id": n, "file_name": f"/{n}/a.jpg"} for n in (1, 2)])
        refused(lambda: opened(coco, tmp_path), f"{path}: images[1]: the photo '/2/a.jpg'", f"of {path}: images[0]")

    def test_losing_every_photo_is_a_failure(self, tmp_path, capsys):
        png(tmp_path / "in" / "images" / "other.jpg", np.zeros((4, 6, 3)))
        instances(tmp_path / "in", annotation(1, 1, rectangle(0, 0, 2, 2)))
        assert prepare("coco", "--in", tmp_path / "in", "--out", tmp_path / "out") == 1
        message = capsys.readouterr().out
        assert "FAILED: no item has a photo of 1 in the annotations, such as a.jpg" in message
        assert "give --photo-dir DIR" in message

    def test_two_pictures_of_one_id_are_refused_with_both_places(self, tmp_path):
        path = instances(tmp_path, images=[IMAGE, {**IMAGE, "id": "5", "file_name": "b.jpg"}])
        refused(lambda: opened(coco, tmp_path), f"{path}: images[1]: the id 5 is that of {path}: images[0] as well")
        panoptic(tmp_path, IDS, [*SEGMENTS, {"id": 5, "category_id": 92}])
        source = opened(coco, tmp_path, "--tasks", "panoptic")
        refused(lambda: only(source), "segments_info[3]: the id 5 is that of", "segments_info[1] as well")

    def test_a_picture_listed_twice_has_the_annotations_of_both(self, tmp_path):
        images = [IMAGE, {**IMAGE, "id": 9, "file_name": "./a.jpg"}]
        first, second = annotation(1, 1, rectangle(0, 0, 1, 4)), annotation(1, 3, rectangle(2, 0, 3, 4), image_id="9")
        path = instances(tmp_path, first, second, images=images)
        source = opened(coco, tmp_path)
        assert names(source, only(source))[0] == "c.d..."
        assert source.items()[0].notes == (f"picture listed twice, with the annotations of both: {path}: images[1]",)
        assert source.notes == (
            f"1 annotation id(s) are not unique, and all are drawn: {path}: 1 in annotations[0] and annotations[1]",
        )
        images[1]["height"] = 5
        instances(tmp_path, images=images)
        refused(lambda: opened(coco, tmp_path), f"{path}: images[1]: has 6x5 pixels, but {path}: images[0] has 6x4")

    def test_categories_of_one_name_are_one_class(self, tmp_path):
        categories = [*THINGS, {"id": "7", "name": " cat"}]
        shapes = annotation(1, 1, rectangle(0, 0, 1, 4)), annotation(2, 7.0, rectangle(1, 0, 2, 4))
        instances(tmp_path, *shapes, categories=categories)
        source = opened(coco, tmp_path)
        assert source.classes.names == ("cat", "dog") and names(source, only(source))[0] == "cc...."
        assert source.notes[:2] == (
            "spaces around class names are dropped: ' cat'",
            "categories of one name are one class: 'cat' (ids 1 and 7)",
        )
        path = instances(tmp_path, categories=[*THINGS, THINGS[0]])
        assert opened(coco, tmp_path).notes == (
            f"1 category entries are listed twice, first {path}: categories[2], as {path}: categories[0]",
        )
        instances(tmp_path, categories=[*THINGS, {"id": 1, "name": "bird"}])
        refused(lambda: opened(coco, tmp_path), "categories[2]: the id 1 is that of", "categories[0] as well")

    def test_shapes_without_an_outline_are_noted_and_the_others_drawn(self, tmp_path):
        shapes = [
            annotation(1, 1, rectangle(0, 0, 2, 4)),
            annotation(2, 3, [], bbox=[0, 0, 6, 4]),
            {"id": 3, "image_id": 5, "category_id": 3, "keypoints": [1, 1, 2]},
            annotation(4, 3, [[1, 1, 2, 2]]),
            annotation(5, 3, [[1, 1, 2, 2], *rectangle(4, 0, 5, 4)]),
            annotation(6, 3, rectangle(5, 0, 6, 4)[0]),
            annotation(7, 3, {"size": ["4", 6.0], "counts": [12.0, "4", 8]}, iscrowd="0"),
            annotation(8, 3, {"size": [4, 6], "counts": []}),
        ]
        instances(tmp_path, *shapes)
        source = opened(coco, tmp_path)
        maps = only(source)
        assert names(source, maps)[0] == "cc.ddd" and parts(maps)[0] == "00.123"
        assert maps.notes == (
            "shapes that are not drawn: 3 with no outline (annotation 2, annotation 3, annotation 8); "
            "2 with fewer than 3 points (annotation 4, annotation 5)",
        )

    def test_whole_numbers_as_floats_and_texts(self, tmp_path):
        instances(tmp_path, images=[{**IMAGE, "height": 4.0, "width": "6"}])
        assert only(opened(coco, tmp_path)).label.shape == (4, 6)
        for wrong in (4.5, True, "4x", float("inf"), None):
            instances(tmp_path, images=[{**IMAGE, "height": wrong}])
            refused(lambda: opened(coco, tmp_path), "images[0]: 'height' is not an integer")

    def test_annotations_of_pictures_that_are_not_listed(self, tmp_path):
        path = instances(tmp_path, annotation(1, 1, rectangle(0, 0, 2, 2)), annotation(2, 1, [], image_id=77))
        left = "1 annotation(s) of pictures that are not listed are left out: "
        assert opened(coco, tmp_path).notes == (f"{left}{path}: annotations[1]: image_id 77",)


def test_real_annotations_have_their_recorded_areas():
    root = shared("data", "formats", "coco_panoptic_sample", "sample_data")
    source = opened(coco, root, "--annotations", "panoptic_examples.json")
    masks = opened(coco, root, "--annotations", "panoptic_coco_detection_format.json")
    entries = json.loads((root / "panoptic_examples.json").read_text())["annotations"]
    for item, other, entry in zip(source.items(), masks.items(), entries, strict=True):
        maps = source.read(item)
        areas = dict.fromkeys(source.classes.names, 0)
        by_id = {c["id"]: c["name"] for c in json.loads((root / "panoptic_examples.json").read_text())["categories"]}
        for segment in entry["segments_info"]:
            areas[by_id[segment["category_id"]]] += segment["area"]
        found = np.bincount(maps.label.ravel(), minlength=256)[: len(areas)]
        assert found.tolist() == list(areas.values())
        np.testing.assert_array_equal(masks.read(other).label, maps.label)
        assert item.photo.is_file()
