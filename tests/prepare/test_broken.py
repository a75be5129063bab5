"""Each kind of broken sample is reported once, and the other items are prepared."""

import numpy as np
import pytest
from PIL import Image

from tests.prepare.made import dataset, files, grey_folder, label_map, photo, prepare, put


def cut_label(root):
    path = root / "train_label/1.png"
    path.write_bytes(path.read_bytes()[:-20])


def cut_photo(root):
    path = root / "train_img/1.png"
    path.write_bytes(path.read_bytes()[:100])


def no_photo(root):
    (root / "train_img/1.png").unlink()


def no_label(root):
    (root / "train_label/1.png").unlink()


def other_ids(root):
    put(root / "train_label/1.png", label_map(8, 12, 5))


def colours(root):
    put(root / "train_label/1.png", photo(8, 12))


def other_size(root):
    put(root / "train_img/1.png", photo(8, 10))


def turned(root):
    (root / "train_img/1.png").unlink()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo(8, 12)).save(root / "train_img/1.jpg", exif=exif)


def photo_of_another_split(root):
    (root / "train_label/1.png").unlink()
    (root / "test_img").mkdir()
    (root / "train_img/1.png").rename(root / "test_img/1.png")


def empty_file(root):
    (root / "train_img/1.png").write_bytes(b"")


def jpeg_label(root):
    (root / "train_label/1.png").unlink()
    put(root / "train_label/1.jpg", label_map(8, 12))


def other_instances(root):
    for number in range(4):
        put(root / f"train_inst/{number}.png", np.zeros((8, 12) if number != 1 else (8, 8)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_label, "train_label/1.png: cannot be read as a picture"),
        (cut_photo, "train_img/1.png: cannot be read as a picture"),
        (no_photo, "train_label/1.png: has no photo in"),
        (no_label, "train_img/1.png: has no label map in"),
        (
            other_ids,
            "label/1.png: ids without a class: 3 (16 pixels, first at row 0, column 8), 4 (16 pixels, first at",
        ),
        (colours, "train_label/1.png: a label map (one id a pixel) is expected, but this is a picture of 3 channels"),
        (other_size, "train_img/1.png: is 10x8, but its annotation 12x8"),
        (photo_of_another_split, "test_img/1.png: has no label map in"),
        (turned, "the annotation ignores the photo's EXIF orientation"),
        (empty_file, "train_img/1.png: is empty (0 bytes)"),
        (jpeg_label, "train_label/1.jpg: a label map is expected, but this is a JPEG, which changes ids"),
        (other_instances, "the label map is 12x8, but the instance map 8x8"),
    ],
)
def test_one_bad_item(tmp_path, capsys, damage, message):
    root, out = grey_folder(tmp_path / "in"), tmp_path / "out"
    damage(root)
    assert prepare("folder", "--in", root, "--out", out, "--classes", 3) == 1
    text = capsys.readouterr().out
    assert text.count(message) == 1 and "1 item(s) FAILED" in text and "3 of 4 items" in text
    assert sorted({path.split("/")[1] for path in files(out)}) == ["0.png", "2.png", "3.png"]
    assert [key.split("/")[1] for key in dataset(out)["failed"]] == ["1"]


def test_a_repaired_item_is_prepared_by_the_next_run(tmp_path):
    root, out = grey_folder(tmp_path / "in"), tmp_path / "out"
    other_ids(root)
    assert prepare("folder", "--in", root, "--out", out, "--classes", 3) == 1
    put(root / "train_label/1.png", label_map(8, 12))
    assert prepare("folder", "--in", root, "--out", out, "--classes", 3) == 0
    assert dataset(out)["failed"] == {} and len(files(out)) == 8


def missing(root):
    return ("--in", root / "nowhere", "--classes", 3), f"--in {root}/nowhere: no such folder"


def no_labels(root):
    return ("--in", root / "train_label", "--classes", 3), "contains no train_label/ or val_label/ or test_label/"


def empty(root):
    for path in (root / "train_label").iterdir():
        path.unlink()
    return ("--in", root, "--classes", 3), "train_label: has no pictures"


def twins(root):
    put(root / "train_img/1.jpg", photo(8, 12))
    return ("--in", root, "--classes", 3), "sample(s) have more than one file"


def no_classes(root):
    return ("--in", root), "--classes: required"


def bad_classes(root):
    (root / "names.txt").write_text("1 2 3 road\ncar\n")
    return ("--in", root, "--classes", root / "names.txt"), "line 2: got 'car'; give a colour to every class"


def bad_json(root):
    (root / "names.json").write_text("{")
    return ("--in", root, "--classes", root / "names.json"), "names.json: not a JSON file"


def no_photos(root):
    return ("--in", root, "--classes", 3, "--photo-dir", "{split}_imgs"), "no train_imgs/ or val_imgs/ or test_imgs/"


def bad_thing(root):
    return (
        "--in",
        root,
        "--classes",
        3,
        "--instances",
        "from-labels",
        "--things",
        "9",
    ), "--things: unknown class 9"


def useless(root):
    return (
        "--in",
        root,
        "--classes",
        3,
        "--things",
        "0",
    ), "--things 0: is for components of label maps; give --instances from-labels"


def no_shares(root):
    return (
        "--in",
        root,
        "--classes",
        3,
        "--split-by",
        "name",
    ), "--split-by name: needs the shares of test and val; give --split SHARES"


def no_size(root):
    return ("--in", root, "--classes", 3, "--crop-to-aspect"), "give --size WIDTHxHEIGHT"


def bad_pattern(root):
    return ("--in", root, "--classes", 3, "--split", "test=.5", "--split-by", "x+"), "does not match the name '0'"


MISTAKES = (
    missing,
    no_labels,
    empty,
    twins,
    no_classes,
    no_photos,
    bad_classes,
    bad_json,
    bad_thing,
    useless,
    no_shares,
    no_size,
    bad_pattern,
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_nothing_is_written_on_a_mistake(tmp_path, capsys, mistake):
    words, message = mistake(grey_folder(tmp_path / "in"))
    assert prepare("folder", *words, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
