"""Label maps with raw numbers and a mapping file."""

import numpy as np
import pytest

from hdtrans.prepare.formats import indexed
from tests.golden_files import shared
from tests.prepare.small_sets import cut_off, names, only, opened, parts, png, refused, write

SYNTHIA = """
labels: {folder: GT/LABELS, read: red}
instances: {folder: GT/LABELS, read: green}
photos: RGB
ignore: [0]
classes:
  - {raw: 1, name: sky, colour: [70, 130, 180]}
  - {raw: [2, 300], name: building}
"""


@pytest.fixture
def root(tmp_path):
    """Return a set with one picture of 16 bits, as Synthia has them."""
    write(tmp_path / "m.yaml", SYNTHIA)
    picture = np.zeros((1, 5, 3), np.uint16)
    picture[..., 0], picture[..., 1] = [[0, 1, 2, 300, 300]], [[0, 0, 1, 1, 900]]
    png(tmp_path / "GT" / "LABELS" / "train" / "1.png", picture)
    png(tmp_path / "RGB" / "train" / "1.png", np.zeros((1, 5, 3)))
    return tmp_path


def test_channels_of_16_bits(root):
    source = opened(indexed, root, "--mapping", "m.yaml")
    maps = only(source)
    assert names(source, maps) == [".sbbb"] and parts(maps) == ["..001"]
    assert source.classes.colours[0] == (70, 130, 180)
    (item,) = source.items()
    assert (item.name, item.split, item.photo) == ("train/1", "train", root / "RGB" / "train" / "1.png")


def test_grey_and_colour_numbers_json_and_own_ids(root):
    classes = [{"raw": 65536 * 3 + 256 * 2 + 1, "name": "a", "id": 1}, {"raw": 7, "name": "b", "id": 0}]
    values = {"labels": {"folder": "C", "read": "rgb"}, "classes": classes, "others": "ignore"}
    png(root / "C" / "1.png", [[(3, 2, 1), (0, 0, 7), (9, 9, 9)]])
    source = opened(indexed, root, "--mapping", write(root / "m.json", values))
    assert source.classes.names == ("b", "a") and names(source, only(source)) == ["ab."]
    assert only(source).instance is None and source.items()[0].photo is None
    png(root / "C" / "1.png", [[7, 8]])
    write(root / "m.json", {**values, "labels": {"folder": "C"}})
    source = opened(indexed, root, "--mapping", "m.json")
    assert names(source, only(source)) == ["b."]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("raw: 1,", "raw: 0,", "raw number 0 is listed twice, the second time for 'sky'"),
        ("raw: 1,", "raw: x,", "classes.0.raw.0: "),
        ("colour: [70, 130, 180]", "colour: [70, 130, 280]", "classes.0.colour.2: "),
        ("read: red", "read: rad", "labels.read: "),
        ("photos: RGB", "fotos: RGB", "fotos: there is no such key"),
        (
            "name: sky",
            "name: sky, id: 4",
            "classes: got the ids [4, None]",
        ),
        (SYNTHIA, "- 1", "expected the keys labels, instances, photos, ignore, others, classes"),
        (SYNTHIA, "a: [1", "this is not YAML"),
    ],
)
def test_a_wrong_mapping_file_is_reported(root, before, after, words):
    path = write(root / "m.yaml", SYNTHIA.replace(before, after))
    refused(lambda: opened(indexed, root, "--mapping", path), path, words)


def test_broken_sets_are_reported(root):
    path = root / "GT" / "LABELS" / "train" / "1.png"
    write(root / "m.yaml", SYNTHIA.replace("[2, 300]", "2"))
    words = "numbers without a class: 300 (2 pixels, first at row 0, column 3)"
    refused(lambda: only(opened(indexed, root, "--mapping", "m.yaml")), path, words)
    cut_off(path)
    refused(lambda: only(opened(indexed, root, "--mapping", "m.yaml")), path)
    write(root / "m.yaml", SYNTHIA.replace("photos: RGB", "photos: RBG"))
    refused(lambda: opened(indexed, root, "--mapping", "m.yaml"), root / "RBG", "contains no photos")
    write(root / "m.yaml", SYNTHIA.replace("GT/LABELS", "GT/LABEL"))
    refused(lambda: opened(indexed, root, "--mapping", "m.yaml"), root / "GT/LABEL", "no such folder")
    refused(lambda: opened(indexed, root, "--mapping", "n.yaml"), root / "n.yaml", "cannot be read")


def test_the_tiny_synthia_set(root):
    data = shared("data", "formats", "tiny", "synthia_dataset", "rand_custom_labelmap")
    classes = [{"raw": 64, "name": "sky"}, {"raw": 32896, "name": "building"}, {"raw": 8388672, "name": "person"}]
    values = {"labels": {"folder": "GT", "read": "rgb"}, "photos": "RGB"}
    values["classes"] = [*classes, {"raw": 49280, "name": "road"}]
    source = opened(indexed, data, "--mapping", write(root / "m.json", values))
    assert sorted("".join(names(source, source.read(i))[0] for i in source.items())) == sorted("sssrr" + "bbppr")
