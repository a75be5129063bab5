"""CamVid and its relatives: tables of colours, layouts, splits."""

import numpy as np
import pytest

from hdtrans.prepare.formats import camvid
from tests.golden_files import shared
from tests.prepare.small_sets import cut_off, names, only, opened, png, refused, write

SKY, ROAD, VOID = (128, 128, 128), (128, 64, 128), (0, 0, 0)
PHOTO = np.zeros((1, 3, 3))


def test_the_official_layout(tmp_path):
    write(tmp_path / "label_colors.txt", "128 128 128\tSky\n0 0 0\t\tVoid\n128 64 128\tRoad mark\n")
    png(tmp_path / "LabeledApproved_full" / "0016E5_1_L.png", [[SKY, VOID, ROAD]])
    photo = png(tmp_path / "701_StillsRaw_full" / "0016E5_1.png", PHOTO)
    source = opened(camvid, tmp_path)
    assert source.classes.names == ("Sky", "Road mark") and source.classes.colours == (SKY, ROAD)
    assert names(source, only(source)) == ["S.R"]
    (item,) = source.items()
    assert (item.name, item.group, item.split, item.photo) == ("0016E5_1", "0016E5", None, photo)


def test_a_table_with_commas_and_a_heading(tmp_path):
    write(tmp_path / "class_dict.csv", "name,r,g,b\nSky,128,128,128\nVoid,0,0,0\nRoad, 128, 64, 128\n")
    png(tmp_path / "val_labels" / "a_L.png", [[SKY, VOID, ROAD]])
    png(tmp_path / "val" / "a.png", PHOTO)
    source = opened(camvid, tmp_path)
    assert names(source, only(source)) == ["S.R"] and source.items()[0].split == "val"


def test_a_class_of_two_colours_and_the_own_names(tmp_path):
    png(tmp_path / "train_labels" / "a.png", [[SKY, ROAD]])
    png(tmp_path / "train" / "a.png", PHOTO)
    assert opened(camvid, tmp_path).classes.names[-1] == "Wall"
    table = write(tmp_path / "label_colors.txt", "128 128 128 Sky\n128 64 128 Sky\n")
    source = opened(camvid, tmp_path)
    assert source.classes.names == ("Sky",) and names(source, only(source)) == ["SS"]
    assert source.notes == ("classes with several colours: Sky",)
    assert source.items()[0].inputs == (table,)


def test_grey_labels_are_rows_of_the_table(tmp_path):
    png(tmp_path / "trainannot" / "a.png", [[0, 2, 1]])
    png(tmp_path / "train" / "a.png", PHOTO)
    source = opened(camvid, tmp_path)
    refused(lambda: only(source), tmp_path / "trainannot" / "a.png", "contains ids, not colours; give colours=FILE")
    table = write(tmp_path / "mine.txt", "1 1 1 Sky\n2 2 2 Void\n3 3 3 Road\n")
    for given in ("mine.txt", table):
        source = opened(camvid, tmp_path, "--colours", given)
        assert names(source, only(source)) == ["SR."] and source.items()[0].split == "train"
    png(tmp_path / "trainannot" / "a.png", [[0, 3, 1]])
    refused(lambda: only(source), "ids without a class: 3 (1 pixel")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("1 2 3 a\n1 2 300 b\n", "expected red, green, blue and a name, got '1 2 300 b'"),
        ("1 2 3\n", "expected red, green, blue and a name, got '1 2 3'"),
        ("1 2 3 a\n1 2 3 b\n", "[1, 2, 3] is listed twice"),
    ],
)
def test_a_wrong_table_is_reported(tmp_path, lines, words):
    path = write(tmp_path / "label_colors.txt", lines)
    png(tmp_path / "labels" / "a.png", [[SKY]])
    refused(lambda: opened(camvid, tmp_path), path, words)


def test_broken_sets_are_reported(tmp_path):
    refused(lambda: opened(camvid, tmp_path), tmp_path, "no label map folder", "Give label_dir=DIR")
    refused(lambda: opened(camvid, tmp_path, "--label-dir", "x"), f"label_dir={tmp_path / 'x'}: no such folder")
    path = png(tmp_path / "labels" / "a.png", [[SKY, (129, 128, 128)]])
    png(tmp_path / "images" / "b.png", PHOTO)
    refused(lambda: opened(camvid, tmp_path, "--colours", "x"), tmp_path / "x", "cannot be read")
    source = opened(camvid, tmp_path)
    refused(lambda: only(source), path, "[129, 128, 128] (1 pixel, first at row 0, column 1)")
    assert source.items()[0].photo == tmp_path / "images" / "a.png", "the writer says that it is missing"
    cut_off(path)
    refused(lambda: only(source), path)


def test_tiny_set():
    source = opened(camvid, shared("data", "formats", "tiny", "camvid_dataset"))
    assert [item.split for item in source.items()] == ["train", "test", "test", "val"]
    assert all(item.photo.is_file() for item in source.items())
    assert sorted(names(source, source.read(source.items()[0]))[0]) == sorted("BBBBR")
