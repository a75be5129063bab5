"""Mapillary Vistas, v1.2 and v2.0."""

import numpy as np
import pytest

from hdtrans.prepare.formats import mapillary
from tests.golden_files import shared
from tests.prepare.small_sets import cut_off, names, only, opened, palette_png, parts, png, refused, write

CONFIG = {
    "labels": [
        {"name": "road", "color": [128, 64, 128], "instances": False},
        {"name": "car", "color": [0, 0, 142], "instances": True},
        {"name": "void", "color": [0, 0, 0], "instances": False},
    ]
}


@pytest.fixture
def root(tmp_path):
    """Return a set of v1.2 with one picture."""
    write(tmp_path / "config.json", CONFIG)
    palette_png(tmp_path / "training" / "labels" / "a.png", [[0, 0, 1, 1, 2]])
    png(tmp_path / "training" / "instances" / "a.png", np.array([[0, 0, 256, 257, 512]], np.uint16))
    png(tmp_path / "training" / "images" / "a.jpg", np.zeros((1, 5, 3)))
    return tmp_path


def test_labels_and_instances(root):
    source = opened(mapillary, root)
    maps = only(source)
    assert names(source, maps) == ["rrccv"] and parts(maps) == ["..01."] and not maps.notes
    assert source.classes.colours == ((128, 64, 128), (0, 0, 142), (0, 0, 0))
    (item,) = source.items()
    assert (item.name, item.split, item.photo.name) == ("a", "train", "a.jpg")


def test_instances_of_another_class_are_noted_and_not_counted(root):
    png(root / "training" / "instances" / "a.png", np.array([[256, 0, 256, 1, 512]], np.uint16))
    maps = only(opened(mapillary, root))
    assert parts(maps) == ["..0.."] and maps.notes == ("instances/ and labels/ have different classes: in 2 pixels",)


def test_version_2(root):
    write(root / "config_v1.2.json", CONFIG)
    write(root / "config_v2.0.json", {"labels": CONFIG["labels"][:2]})
    outline = {"label": "car", "polygon": [[1, 0], [3, 0], [3, 2], [1, 2]]}
    values = {"width": 4, "height": 3, "objects": [outline, {**outline, "label": "road"}]}
    path = write(root / "validation" / "v2.0" / "polygons" / "b.json", values)
    segments = [{"id": 70000, "category_id": 9}, {"id": 2, "category_id": 4}, {"id": 3, "category_id": 9, "iscrowd": 1}]
    ids = np.array([[70000, 2, 2, 3, 0]])
    picture = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    png(root / "validation" / "v2.0" / "panoptic" / "b.png", picture)
    categories = [{"id": 9, "name": "car"}, {"id": 4, "name": "road"}]
    entry = {"file_name": "b.png", "segments_info": segments}
    document = root / "validation" / "v2.0" / "panoptic" / "panoptic_2020.json"
    write(document, {"categories": categories, "annotations": [entry]})

    source = opened(mapillary, root)
    assert len(source.classes) == 2 and source.items()[0].split == "val"
    assert names(source, only(source)) == ["crrc."] and parts(only(source)) == ["0...."]
    source = opened(mapillary, root, "--read", "polygons")
    assert names(source, only(source)) == [".rr."] * 2 + ["...."]

    write(path, {**values, "objects": [{**outline, "label": "caar"}]})
    refused(lambda: only(source), f"{path}: object 0: the class 'caar' is not in the config. Did you mean 'car'?")
    write(path, {**values, "objects": [{**outline, "polygon": [[1, 0], [2, 2]]}]})
    assert only(source).notes == ("shapes that are not drawn: 1 with fewer than 3 points (object 0)",)
    write(document, {"categories": categories[:1], "annotations": [entry]})
    refused(lambda: only(opened(mapillary, root)), "b.png: segment 2: category_id 4 is not listed")
    again = f"{document}: annotations[1]: the file_name 'b.png' is that of {document}: annotations[0] as well"
    write(document, {"categories": categories, "annotations": [entry, {**entry, "file_name": "x\\\\b.png"}]})
    refused(lambda: opened(mapillary, root), again)
    write(document, {"categories": [*categories, {"id": 9, "name": "bus"}], "annotations": [entry]})
    refused(lambda: opened(mapillary, root), f"{document}: categories[2]: the id 9 is that of")
    write(document, {"categories": categories, "annotations": []})
    refused(lambda: opened(mapillary, root), "b.png: is not listed in the panoptic JSON")
    document.unlink()
    refused(lambda: opened(mapillary, root), document.parent, "contains no panoptic_*.json")


def test_broken_sets_are_reported(root):
    label, instance = (root / "training" / kind / "a.png" for kind in ("labels", "instances"))
    png(label, [[0, 0, 9, 1, 2]])
    refused(lambda: only(opened(mapillary, root)), label, "without a class: 9 (1 pixel, first at row 0, column 2)")
    png(label, [[0, 0, 1, 1]])
    refused(lambda: only(opened(mapillary, root)), instance, "5x1 pixels", "4x1")
    instance.unlink()
    refused(lambda: only(opened(mapillary, root)), instance, "No such file")
    cut_off(label)
    refused(lambda: only(opened(mapillary, root)), label)
    refused(lambda: opened(mapillary, root, "--read", "polygons"), "no training/ or validation/ contains polygons/")
    write(root / "config.json", {"labels": [{"name": "road"}]})
    refused(lambda: opened(mapillary, root), "config.json: labels[0]: key 'instances' is missing")
    (root / "config.json").unlink()
    refused(lambda: opened(mapillary, root), root, "contains no config.json")


def test_a_real_config(root):
    config = shared("data", "formats", "mseg_test_data", "mapillary-vistas-dataset_public_v1.1_config.json")
    classes = opened(mapillary, root, "--config", config).classes
    assert len(classes) == 66 and classes.names[55] == "object--vehicle--car" and classes.colours[55] == (0, 0, 142)


def test_tiny_sets():
    root = shared("data", "formats", "tiny", "mapillary_vistas_dataset")
    by_kind = {}
    for version in ("v1.2", "v2.0"):
        for kind in ("labels", "panoptic"):
            source = opened(mapillary, root, "--config", f"config_{version}.json", "--read", kind)
            by_kind[version, kind] = [source.read(item).label.tolist() for item in source.items()]
    assert by_kind["v2.0", "labels"] == by_kind["v2.0", "panoptic"]
    assert by_kind["v1.2", "labels"] == by_kind["v1.2", "panoptic"]
