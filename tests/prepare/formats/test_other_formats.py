"""Colour-coded label maps, face masks, pairs from photos, and rendered label maps."""

import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.common.classes import ClassTable
from hdtrans.data.folders import find_samples
from hdtrans.data.io.read import read_label, read_picture
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from tests.golden_files import shared
from tests.prepare.made import dataset, files, grey_folder, label, photo, prepare, put

RED, GREEN, NEARLY_RED = (255, 0, 0), (0, 200, 0), (250, 3, 2)

FACADES = """0 0 222 background\n0 48 255 facade\n0 128 255 window\n0 208 255 door\n32 255 223 cornice\n112 255 143 sill
192 255 64 balcony\n255 240 0 blind\n255 160 0 deco\n255 80 0 molding\n255 0 0 pillar\n176 0 0 shop\n"""


class TestPalette:
    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "colours.txt").write_text("roof 255 0 0\n0 200 0 tree\n")
        put(tmp_path / "in/train_label/a.png", np.array([[RED, GREEN, GREEN]], np.uint8))
        put(tmp_path / "in/train_label/b.png", np.array([[RED, NEARLY_RED, GREEN]], np.uint8))
        return tmp_path / "in"

    def run(self, source, tmp_path, *more):
        words = ("--colours", tmp_path / "colours.txt", *more)
        return prepare("palette", "--in", source, "--out", tmp_path / "out", *words)

    def test_exact(self, source, tmp_path, capsys):
        assert self.run(source, tmp_path) == 1
        assert label(tmp_path / "out", "train_label/a.png").tolist() == [[0, 1, 1]]
        message = capsys.readouterr().out
        assert (
            "b.png: 1 colour(s) (33.3 % of the pixels) are not in the table, most frequent (250, 3, 2) near 'roof'; "
            "add them, or give --match nearest, or --match ignore\n" in message
        )
        failed = dataset(tmp_path / "out")["failed"]["train/b"]
        assert failed.endswith("add them, or give match=nearest, or match=ignore")

    def test_nearest(self, source, tmp_path, capsys):
        assert self.run(source, tmp_path, "--match", "nearest") == 0
        assert label(tmp_path / "out", "train_label/b.png").tolist() == [[0, 0, 1]]
        assert "train/b: has colours outside the table" in capsys.readouterr().out

    def test_ignored(self, source, tmp_path):
        assert self.run(source, tmp_path, "--match", "ignore") == 0
        assert label(tmp_path / "out", "train_label/b.png").tolist() == [[0, 255, 1]]

    def test_two_classes_of_one_colour(self, source, tmp_path, capsys):
        (tmp_path / "colours.txt").write_text("roof 255 0 0\nwall 255 0 0\n")
        assert self.run(source, tmp_path) == 2
        assert "'roof' and 'wall' have the same colour (255, 0, 0)" in capsys.readouterr().err

    def test_far_colours(self, source, tmp_path, capsys):
        put(source / "train_label/c.png", np.full((2, 2, 3), (9, 9, 255), np.uint8))
        assert self.run(source, tmp_path, "--match", "nearest") == 0
        assert "far from every colour in the table: most frequent (9, 9, 255)" in capsys.readouterr().out

    def test_real_facades(self, tmp_path, capsys):
        root, out = shared("data", "facades"), tmp_path / "out"
        (tmp_path / "colours.txt").write_text(FACADES)
        words = ("--label-dir", "{split}B", "--photo-dir", "{split}A", "--limit", 3, "--photos", "jpg")
        assert self.run(root, tmp_path, *words, "--match", "nearest") == 0
        for name in ("test_label/1.png", "train_label/2.png"):
            found = read_label(out / name)
            again = ClassTable.read(out / "dataset.json").colourise(found).astype(int)
            split, number = name.split("_")[0], name.split("/")[1].removesuffix(".png")
            true = read_picture(root / f"{split}B" / f"{number}{'_B' if split == 'train' else ''}.jpg")
            assert np.median(np.abs(again - true)) <= 6
            assert np.mean(np.abs(again - true).max(axis=2) < 60) > 0.85
        assert (out / "test_img/1.jpg").read_bytes() == (root / "testA/1.jpg").read_bytes()
        assert self.run(root, tmp_path, *words) == 2
        assert 'format_options.match: was "nearest", now "exact"' in capsys.readouterr().err


class TestCelebAMask:
    @pytest.fixture
    def source(self, tmp_path):
        put(tmp_path / "in/CelebA-HQ-img/3.jpg", photo(8, 8))
        masks = tmp_path / "in/CelebAMask-HQ-mask-anno/0"
        for part, columns in (("skin", slice(0, 3)), ("nose", slice(1, 2)), ("hair", slice(2, 4))):
            mask = np.zeros((4, 4, 3), np.uint8)
            mask[:, columns] = 255
            put(masks / f"00003_{part}.png", mask)
        return tmp_path / "in"

    def test_later_parts_cover_earlier_ones(self, source, tmp_path):
        assert prepare("celebamask", "--in", source, "--out", tmp_path / "out") == 0
        assert label(tmp_path / "out", "train_label/3.png")[0].tolist() == [1, 1, 2, 2, 13, 13, 13, 13]
        assert dataset(tmp_path / "out")["classes"][13]["name"] == "hair"

    def test_another_order(self, source, tmp_path):
        assert prepare("celebamask", "--in", source, "--out", tmp_path / "out", "--order", "hair,skin") == 0
        assert label(tmp_path / "out", "train_label/3.png")[0].tolist() == [1, 1, 1, 1, 1, 1, 13, 13]

    @pytest.mark.parametrize("order", ["hear", "hair,hair"])
    def test_wrong_orders(self, source, tmp_path, capsys, order):
        assert prepare("celebamask", "--in", source, "--out", tmp_path / "out", "--order", order) == 2
        assert "--order: " in capsys.readouterr().err

    def test_broken(self, source, tmp_path, capsys):
        masks = source / "CelebAMask-HQ-mask-anno"
        put(source / "CelebA-HQ-img/4.jpg", photo(8, 8))
        put(masks / "1/00005_skin.png", np.zeros((4, 4)))
        put(source / "CelebA-HQ-img/6.jpg", photo(8, 4)), put(masks / "1/00006_skin.png", np.zeros((4, 4)))
        put(source / "CelebA-HQ-img/7.jpg", photo(8, 8)), put(masks / "1/00007_skn.png", np.zeros((4, 4)))
        assert prepare("celebamask", "--in", source, "--out", tmp_path / "out") == 1
        message = capsys.readouterr().out
        assert "4.jpg: has no mask in" in message and "5.jpg: cannot be opened" in message and "1 of 5 items" in message
        assert (
            "6.jpg: is 4x8, but its masks are 4x4" in message and "unknown part 'skn'. Did you mean 'skin'?" in message
        )


class TestPairs:
    @pytest.fixture
    def source(self, tmp_path):
        square = np.zeros((32, 48, 3), np.uint8)
        square[8:24, 12:36] = (200, 120, 40)
        for number in range(3):
            put(tmp_path / "in" / f"{number}.png", square)
        return tmp_path / "in"

    def test_edges(self, source, tmp_path):
        out = tmp_path / "out"
        assert prepare("pairs", "--in", source, "--out", out, "--size", "24x16", "--blur", 0, "--photos", "jpg") == 0
        data = PicturePairs(kind="picture_pairs", root=out)
        assert len(find_samples(data, "train", ("source", "photo"))) == 3
        lines = read_picture(out / "train_A/0.png", 1)[..., 0]
        assert set(np.unique(lines)) == {0, 255} and lines[8, 12] == 255 and 0 in lines[8]
        assert read_picture(out / "train_B/0.jpg").shape == (16, 24, 3)

    def test_decoded(self, source, tmp_path):
        for make in ("edges", "low-resolution"):
            for how in ("--limit", "9"), ("--decoded",):
                assert prepare("pairs", "--in", source, "--out", tmp_path / make / how[0], "--make", make, *how) == 0
            for side in "AB":
                encoded, decoded = (tmp_path / make / how / f"train_{side}/0" for how in ("--limit", "--decoded"))
                found = read_picture(decoded.with_suffix(".npy"))
                assert np.array_equal(found, read_picture(encoded.with_suffix(".png")))

    def test_hysteresis_thresholds(self, source, tmp_path):
        assert prepare("pairs", "--in", source, "--out", tmp_path / "out", "--low", 4000, "--high", 5000) == 0
        assert np.unique(read_picture(tmp_path / "out/train_A/0.png", 1)).tolist() == [255]

    def test_grey_and_low_resolution(self, source, tmp_path):
        assert prepare("pairs", "--in", source, "--out", tmp_path / "grey", "--make", "grey") == 0
        assert read_picture(tmp_path / "grey/train_A/0.png", 1)[16, 24] == 135
        assert prepare("pairs", "--in", source, "--out", tmp_path / "low", "--make", "low-resolution") == 0
        low, full = (read_picture(tmp_path / "low" / f"train_{side}/0.png").astype(int) for side in "AB")
        assert low.shape == full.shape and np.abs(low - full)[16, 24].max() <= 5 and np.abs(low - full).max() > 20

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--low", 5, "--high", 1), "give 0 <= low <= high"),
            (("--instances", "none"), "--instances none: not allowed"),
            (("--factor", 1), "--factor 1: give 2 or more"),
            (("--blur", -1), "--blur -1: give"),
            (("--photo-dir", "x"), "--photo-dir x: no such folder"),
            (("--photo-dir", "{split}"), "--photo-dir {split}: none of"),
        ],
    )
    def test_mistakes(self, source, tmp_path, capsys, words, message):
        assert prepare("pairs", "--in", source, "--out", tmp_path / "out", *words) == 2
        assert message in capsys.readouterr().err and not files(tmp_path / "out")


class TestColours:
    def test_pictures_and_legend(self, tmp_path, capsys):
        source = grey_folder(tmp_path / "in", 2)
        ClassTable(("a", "b", "c"), (RED, GREEN, (7, 8, 9))).write(source / "dataset.json")
        put(source / "train_label/1.png", np.full((2, 2), 255)), (source / "train_label/2.png").write_bytes(b"x")
        words = ["--in", source / "train_label", "--out", tmp_path / "out"]
        assert run_tool("colorize_labels", list(map(str, words))) == 1
        assert "2.png: cannot be read" in capsys.readouterr().err
        assert read_picture(tmp_path / "out/0.png")[0, ::4].tolist() == [list(RED), list(GREEN), [7, 8, 9]]
        assert not read_picture(tmp_path / "out/1.png").any()
        shown = {tuple(colour) for colour in read_picture(tmp_path / "out/legend.png").reshape(-1, 3).tolist()}
        assert {RED, GREEN, (7, 8, 9), (0, 0, 0)} <= shown

    def test_pictures_among_the_maps_are_refused(self, tmp_path, capsys):
        source = grey_folder(tmp_path / "in", 1)
        ClassTable(("a", "b", "c"), (RED, GREEN, (7, 8, 9))).write(source / "dataset.json")
        maps, before = source / "train_label", files(source)
        for out, words in ((maps, "holds inputs of this command"), (maps / "out", "sub-folders are searched too")):
            assert run_tool("colorize_labels", ["--in", str(maps), "--out", str(out)]) == 2
            assert words in capsys.readouterr().err and files(source) == before

    def test_no_table(self, tmp_path, capsys):
        source = grey_folder(tmp_path / "in", 1)
        words = ["--in", source / "train_label", "--out", tmp_path / "out"]
        assert run_tool("colorize_labels", list(map(str, words))) == 2
        said = capsys.readouterr().err
        assert f"--in {words[1]}: no dataset.json" in said and "give --table FILE" in said

    def test_label_maps_are_not_overwritten(self, tmp_path, capsys):
        source = grey_folder(tmp_path / "in", 1)
        before = (source / "train_label/0.png").read_bytes()
        ClassTable.generic(3).write(source / "dataset.json")
        words = ["--in", source / "train_label", "--out", source / "train_label"]
        assert run_tool("colorize_labels", list(map(str, words))) == 2
        assert (source / "train_label/0.png").read_bytes() == before
