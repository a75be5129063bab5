"""Cityscapes: ids, polygons, 35 and 19 classes, on small trees and real triples."""

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdtrans.common.files import write_bytes
from hdtrans.data.io.read import read_instance, read_label
from hdtrans.prepare.formats.cityscapes import CityscapesSource, draw_polygons, read_polygons
from hdtrans.prepare.options import Options
from hdtrans.prepare.writing.making import MapsMaker
from tests.golden_files import shared
from tests.prepare.made import dataset, files, label, photo, prepare, put

KINDS = {
    "train_img": ("leftImg8bit", "_leftImg8bit.png"),
    "train_label": ("gtFine", "_gtFine_labelIds.png"),
    "train_inst": ("gtFine", "_gtFine_instanceIds.png"),
    "train_polygons": ("gtFine", "_gtFine_polygons.json"),
}


def real_tree(root: Path, *kinds: str) -> Path:
    """Link real triples into the official tree."""
    folder = shared("data", "cityscapes")
    for kind in kinds:
        place, ending = KINDS[kind]
        for path in (folder / kind).glob(f"*{ending}"):
            link = root / place / "train" / path.name.split("_")[0] / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return root


def polygon(name, *corners, **more):
    return {"label": name, "polygon": [list(corner) for corner in corners], **more}


def tree(root: Path, *objects) -> Path:
    """Make one photo of 8x6 with polygons."""
    put(root / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png", photo(6, 8))
    path = root / "gtFine/val/ulm/ulm_000001_000019_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imgHeight": 6, "imgWidth": 8, "objects": objects}))
    return root


WHOLE = ((0, 0), (8, 0), (8, 6), (0, 6))
LEFT = ((0, 0), (3, 0), (3, 5), (0, 5))
RIGHT = ((4, 0), (7, 0), (7, 5), (4, 5))


def test_polygons_are_drawn_in_order(tmp_path):
    objects = polygon("road", *WHOLE), polygon("car", *LEFT), polygon("cargroup", *RIGHT)
    extra = polygon("license plate", *WHOLE), polygon("sky", *WHOLE, deleted=1)
    out = tmp_path / "out"
    assert prepare("cityscapes", "--in", tree(tmp_path / "in", *objects, *extra), "--out", out) == 0
    found = label(out, "val_label/ulm_000001_000019.png")
    things = read_instance(out / "val_inst/ulm_000001_000019.png")
    assert np.unique(found).tolist() == [26], "a group is its class"
    assert np.unique(things[:, :4]).tolist() == [35] and np.unique(things[:, 4:]).tolist() == [26], "but not counted"


def test_train_ids(tmp_path):
    root, out = tree(tmp_path / "in", polygon("road", *WHOLE), polygon("dynamic", *LEFT)), tmp_path / "out"
    assert prepare("cityscapes", "--in", root, "--out", out, "--ids", 19) == 0
    assert label(out, "val_label/ulm_000001_000019.png")[0].tolist() == [255] * 4 + [0] * 4
    assert dataset(out)["classes"][13]["name"] == "car" and dataset(out)["labels"] == 19


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "gtFine_polygons.json: is no JSON"),
        ("[]", "expected an object with the key 'imgHeight'"),
        ('{"imgHeight": 6, "imgWidth": 8, "objects": [{"label": "caar", "polygon": []}]}', "Did you mean 'car'?"),
        ('{"imgHeight": 6, "imgWidth": 9, "objects": []}', "is 8x6, but its annotation 9x6"),
        ('{"imgHeight": -6, "imgWidth": -8, "objects": []}', "a size of -8x-6 pixels"),
        (None, "has no annotation in gtFine/"),
    ],
)
def test_broken_annotations(tmp_path, capsys, text, message):
    root = tree(tmp_path / "in")
    path = next(root.rglob("*.json"))
    path.write_text(text or "")
    if text is None:
        path.unlink()
    assert prepare("cityscapes", "--in", root, "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().out and not files(tmp_path / "out")


def test_a_missing_photo(tmp_path, capsys):
    root = tree(tmp_path / "in", polygon("road", *WHOLE))
    next(root.rglob("*.png")).unlink()
    assert prepare("cityscapes", "--in", root, "--out", tmp_path / "out") == 1
    assert "leftImg8bit.png: cannot be opened: No such file" in capsys.readouterr().out


def test_folder_of_another_data_set(tmp_path, capsys):
    (tmp_path / "in/leftImg").mkdir(parents=True)
    assert prepare("cityscapes", "--in", tmp_path / "in", "--out", tmp_path / "out") == 2
    assert "leftImg8bit: no such folder" in capsys.readouterr().err


def test_real_polygons_agree_with_the_maps():
    root = shared("data", "cityscapes")
    for path in sorted((root / "train_polygons").iterdir()):
        drawn, things = draw_polygons(read_polygons(path), path)
        name = path.name.removesuffix("_gtFine_polygons.json")
        true = read_label(root / "train_label" / f"{name}_gtFine_labelIds.png")
        true_things = read_instance(root / "train_inst" / f"{name}_gtFine_instanceIds.png")
        assert (drawn == true).mean() >= 0.994, name
        assert (things == true_things).mean() >= 0.994, name
        counted = [np.unique(each[each >= 1000]).tolist() for each in (things, true_things)]
        assert counted[0] == counted[1], name


def test_real_triples(tmp_path):
    root, out = real_tree(tmp_path / "in", *KINDS), tmp_path / "out"
    assert prepare("cityscapes", "--in", root, "--out", out, "--limit", 2, "--size", "1024x512") == 0
    for path in (out / "train_label").iterdir():
        true = read_label(shared("data", "cityscapes", "train_label", f"{path.stem}_gtFine_labelIds.png"))
        things = read_instance(shared("data", "cityscapes", "train_inst", f"{path.stem}_gtFine_instanceIds.png"))
        found, dense = read_label(path), read_instance(out / "train_inst" / path.name)
        assert np.array_equal(found, true[1::2, 1::2])
        pairs = np.unique(np.stack([things[1::2, 1::2].ravel(), dense.ravel()]), axis=1)
        assert len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1], "a renumbering"
        counted = pairs[1][pairs[0] >= 1000]
        assert np.array_equal(np.sort(counted), np.arange(35, 35 + counted.size))


@pytest.mark.slow
def test_speed(tmp_path, capsys):
    """Preparing real triples at 1024x512 takes less than twice the time of their codecs, on one core."""
    root = real_tree(tmp_path / "in", "train_img", "train_label", "train_inst")
    source = CityscapesSource(root, 35)
    items, maker = source.items(), MapsMaker(source, root, Options(size=(512, 1024)))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    times = np.array([_times(maker, item, tmp_path / "out") for item in [items[0], *items]])[1:].sum(axis=0)
    cv2.setNumThreads(threads)
    whole, codecs = len(items) / times
    with capsys.disabled():
        print(f"\ncityscapes 2048x1024 to 1024x512, triples a second of a core's time: {whole:.2f}; ", end="")
        print(f"decoding and encoding alone {codecs:.2f}, {codecs / whole:.2f} times as many")
    assert codecs < 2 * whole


def _times(maker, item, out):
    """Return the seconds for one item, and for its decoding and encoding only."""
    start = time.process_time()
    made = maker.make(item, "train")
    for name, data in made.files.items():
        write_bytes(out / name, data)
    whole = time.process_time() - start
    small = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) for data in made.files.values()]
    start = time.process_time()
    for path in (item.photo, *item.annotations):
        cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    for picture in small:
        (out / "codec.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return whole, time.process_time() - start
