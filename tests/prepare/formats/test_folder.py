"""Grey label maps with a class list, and behaviour common to all formats: splits, sizes, resuming, refusals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from hdtrans.cli import run_tool
from hdtrans.data.folders import find_samples
from hdtrans.data.io.header import probe
from hdtrans.data.io.read import read_instance, read_label, read_picture
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.preflight import class_table
from tests.prepare.made import dataset, files, grey_folder, label, label_map, photo, prepare, put

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path):
    return grey_folder(tmp_path / "in")


def names_file(tmp_path, text="road\ncar\nsky\n"):
    path = tmp_path / "names.txt"
    path.write_text(text)
    return path


def test_prepared_folder_trains(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare("folder", "--in", source, "--out", out, "--classes", names_file(tmp_path)) == 0
    data = LabelMaps(root=out, labels=3)
    assert [s.name for s in find_samples(data, "train", ("label", "photo"))] == ["0", "1", "2", "3"]
    assert class_table(data).names == ("road", "car", "sky")
    assert np.array_equal(label(out, "train_label/2.png"), label_map(8, 12))
    assert (out / "train_img/2.png").read_bytes() == (source / "train_img/2.png").read_bytes()
    made = dataset(out)
    assert made["labels"] == 3 and made["ignore"] == 255
    assert made["files"]["train/2"] == ["train_img/2.png", "train_label/2.png"]
    assert made["pixels"]["sky"] == {"pixels": 4 * 32, "items": 4}
    assert made["prepared"]["resized"] is None
    message = capsys.readouterr().out
    assert "4 of 4 items" in message and "33.33 %" in message


def masks(root, values, count=2):
    """Write masks whose left half has the first value, and so on, with photos."""
    for number in range(count):
        put(root / "train_label" / f"{number}.png", np.uint8(values)[label_map(8, 12, len(values))])
        put(root / "train_img" / f"{number}.png", photo(8, 12, number))
    return root


def test_values_of_masks_become_ids(tmp_path, capsys):
    source, out = masks(tmp_path / "in", [0, 255]), tmp_path / "out"
    assert prepare("folder", "--in", source, "--out", out, "--values", "0,255") == 0
    assert np.array_equal(label(out, "train_label/1.png"), label_map(8, 12, 2))
    assert dataset(out)["labels"] == 2 and "WARNING" not in capsys.readouterr().out
    where, more = ("--in", source, "--classes", names_file(tmp_path, "sky\nroad\n")), tmp_path / "more"
    assert prepare("folder", *where, "--out", more, "--values", "0:road,255:ignore") == 0
    assert np.unique(label(more, "train_label/1.png")).tolist() == [1, 255]
    put(source / "train_label" / "0.png", np.stack([label_map(8, 12, 2) * np.uint8(255)] * 3, 2))
    assert prepare("folder", "--in", source, "--out", tmp_path / "rgb", "--values", "0,255") == 0
    assert np.array_equal(label(tmp_path / "rgb", "train_label/0.png"), label_map(8, 12, 2))
    put(source / "train_label" / "1.png", np.uint8(label_map(8, 12, 2) * 250))
    assert prepare("folder", "--in", source, "--out", tmp_path / "wrong", "--values", "0,255") == 1
    assert "train_label/1.png: values without a class: 250 (48 pixels" in capsys.readouterr().out


def test_masks_are_recognised(tmp_path, capsys):
    source = masks(tmp_path / "in", [0, 255])
    assert prepare("folder", "--in", source, "--out", tmp_path / "two", "--classes", 2) == 0
    message = capsys.readouterr().out
    assert "WARNING: label maps: the values 0, 255 are those of a mask" in message
    assert "50.0% of the pixels are ignored (id 255); give --values 0,255 and a new folder" in message
    source = masks(tmp_path / "grey", [0, 127, 254])
    assert prepare("folder", "--in", source, "--out", tmp_path / "three", "--classes", 3) == 1
    assert "has the values 0, 127, 254, as masks have them, but classes are 0 to 2; give --values 0,127,254" in (
        capsys.readouterr().out
    )


def test_transparent_photos_are_reported(tmp_path, capsys):
    source = grey_folder(tmp_path / "in", count=3)
    for name, alpha in (("0", 255), ("1", 9)):
        four = np.dstack([photo(8, 12), np.full((8, 12), alpha, np.uint8)])
        (source / "train_img" / f"{name}.png").write_bytes(cv2.imencode(".png", four)[1].tobytes())
    assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3) == 0
    assert "  train/1: the photo has transparent pixels: alpha is kept" in capsys.readouterr().out


def test_photos_that_are_not_quite_photos(tmp_path, capsys):
    """Near infrared is no alpha, a stack of pages no photo, an animation one picture of many."""
    source = grey_folder(tmp_path / "in", count=4)
    for name in ("0", "1", "2"):
        (source / "train_img" / f"{name}.png").unlink()
    np.save(source / "train_img" / "0.npy", np.dstack([photo(8, 12), photo(8, 12)[..., :1]]))
    tifffile.imwrite(source / "train_img" / "1.tif", np.zeros((4, 8, 12), np.uint8), photometric="minisblack")
    still = Image.fromarray(photo(8, 12))
    still.save(source / "train_img" / "2.png", save_all=True, append_images=[still.rotate(180)])
    assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3) == 1
    text = capsys.readouterr().out
    assert "train/0: the photo's fourth channel is no alpha by its file" in text
    assert "1.tif: has 4 pages; a photo is one picture, or three pages of its colours" in text
    assert "train/2: the photo is animated; its first picture was taken" in text


def test_label_maps_without_photos_are_a_result(tmp_path, capsys):
    source = grey_folder(tmp_path / "in", count=2)
    put(source / "val_label" / "0.png", label_map(8, 12))
    assert prepare("folder", "--in", source, "--out", tmp_path / "some", "--classes", 3) == 0
    assert "  no item of val has a photo" in capsys.readouterr().out
    assert prepare("folder", "--in", source, "--out", tmp_path / "none", "--classes", 3, "--photo-dir", "x") == 2
    for file in (source / "train_img").iterdir():
        file.unlink()
    (source / "train_img").rmdir()
    assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3) == 0
    assert "  no item has a photo" in capsys.readouterr().out


def test_classes_with_colours(source, tmp_path):
    out, names = tmp_path / "out", names_file(tmp_path, "1 2 3 road\n# of cars\n4, 5, 6, car\nthe sky 7 8 9\n\n")
    assert prepare("folder", "--in", source, "--out", out, "--classes", names) == 0
    classes = dataset(out)["classes"]
    assert [(c["name"], c["colour"]) for c in classes] == [
        ("road", [1, 2, 3]),
        ("car", [4, 5, 6]),
        ("the sky", [7, 8, 9]),
    ]


def test_many_classes_take_16_bits(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "train_label/a.png", np.array([[0, 299]], np.uint16))
    assert prepare("folder", "--in", source, "--out", out, "--classes", 300, "--ignore", "none") == 0
    assert probe(out / "train_label/a.png").bits == 16
    assert label(out, "train_label/a.png").tolist() == [[0, 299]]


def test_folder_names_from_options(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for split in ("train", "test"):
        for name in "ab":
            put(source / "masks" / split / f"{name}_mask.png", label_map(4, 6))
            put(source / "pictures" / split / f"{name}.png", photo(4, 6))
    where = ("--label-dir", "masks/{split}", "--photo-dir", "pictures/{split}")
    assert prepare("folder", "--in", source, "--out", out, "--classes", 3, *where) == 0
    assert sorted(files(out)) == [
        f"{s}_{kind}/{n}.png" for s in ("test", "train") for kind in ("img", "label") for n in "ab"
    ]


class TestSizes:
    def test_maps_are_resized_nearest(self, source, tmp_path):
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--size", "6x4") == 0
        assert np.array_equal(label(out, "train_label/0.png"), label_map(8, 12)[1::2, 1::2])
        assert read_picture(out / "train_img/0.png").shape == (4, 6, 3)
        assert dataset(out)["prepared"]["resized"]["maps"] == "nearest by pixel centre"

    def test_stretching_is_reported(self, source, tmp_path, capsys):
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3, "--size", "4x4") == 0
        assert (
            "4 items (train/0, ...): stretched (--crop-to-aspect crops instead): 12x8 to 4x4" in capsys.readouterr().out
        )

    def test_crop_to_aspect_crops_the_centre(self, source, tmp_path):
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--size", "8x8", "--crop-to-aspect") == 0
        assert np.array_equal(label(out, "train_label/0.png"), label_map(8, 12)[:, 2:10])
        whole = read_picture(source / "train_img/0.png")
        assert np.array_equal(read_picture(out / "train_img/0.png"), whole[:, 2:10])

    def test_photos_are_scaled_as_in_training(self, source, tmp_path):
        from hdtrans.data.geometry import scale_picture

        put(source / "train_img/0.png", photo(64, 96)), put(source / "train_label/0.png", label_map(64, 96))
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--size", "48x32") == 0
        expected = scale_picture(read_picture(source / "train_img/0.png"), 32, 48).astype(int)
        assert np.abs(read_picture(out / "train_img/0.png") - expected).max() <= 1


class TestPhotos:
    def test_a_jpeg_is_copied(self, tmp_path):
        source, out = tmp_path / "in", tmp_path / "out"
        put(source / "train_label/a.png", label_map(8, 8)), put(source / "train_img/a.jpg", photo(8, 8))
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--photos", "jpg") == 0
        assert (out / "train_img/a.jpg").read_bytes() == (source / "train_img/a.jpg").read_bytes()

    def test_16_bits_stay(self, tmp_path):
        source, out = tmp_path / "in", tmp_path / "out"
        deep = photo(8, 8).astype(np.uint16) * 257
        put(source / "train_label/a.png", label_map(8, 8)), put(source / "train_img/a.png", deep)
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--size", "4x4") == 0
        assert probe(out / "train_img/a.png").bits == 16

    def test_dropped_alpha_channel_is_reported(self, tmp_path, capsys):
        source = tmp_path / "in"
        put(source / "train_label/a.png", label_map(8, 8)), put(source / "train_img/a.png", np.ones((8, 8, 4)))
        words = ("folder", "--in", source, "--classes", 3)
        assert prepare(*words, "--out", tmp_path / "png") == 0 and "was dropped" not in capsys.readouterr().out
        assert probe(tmp_path / "png/train_img/a.png").channels == 4
        assert prepare(*words, "--out", tmp_path / "jpg", "--photos", "jpg") == 0
        assert "the photo's alpha channel was dropped" in capsys.readouterr().out

    def test_16_bits_do_not_fit_jpeg(self, tmp_path, capsys):
        source = tmp_path / "in"
        put(source / "train_label/a.png", label_map(8, 8)), put(source / "train_img/a.png", np.zeros((8, 8), np.uint16))
        assert prepare("folder", "--in", source, "--out", tmp_path / "o", "--classes", 3, "--photos", "jpg") == 1
        assert "has 16 bits per channel, but JPEG has 8; give --photos png" in capsys.readouterr().out


class TestDecoded:
    def test_arrays_equal_the_encoded_files(self, source, tmp_path):
        put(source / "train_img/1.png", photo(8, 12).astype(np.uint16) * 257)
        words = ("folder", "--in", source, "--classes", 3, "--instances", "from-labels")
        assert prepare(*words, "--out", tmp_path / "png") == 0
        assert prepare(*words, "--out", tmp_path / "npy", "--decoded", "--shards", "1MB") == 0
        made = sorted(file.relative_to(tmp_path / "npy") for file in (tmp_path / "npy").rglob("*.npy"))
        assert {str(name.with_suffix(".png")) for name in made} == files(tmp_path / "png").keys() and len(made) == 12
        for name in made:
            encoded, decoded = tmp_path / "png" / name.with_suffix(".png"), tmp_path / "npy" / name
            assert probe(decoded).bits == probe(encoded).bits and probe(decoded).format == "npy"
            read = (
                read_picture
                if name.parts[0] == "train_img"
                else read_instance
                if name.parts[0] == "train_inst"
                else read_label
            )
            assert np.array_equal(read(decoded), read(encoded)), name
        for root in (tmp_path / "npy", tmp_path / "npy_shards"):
            assert len(find_samples(LabelMaps(root=root, labels=3), "train", ("label", "photo"))) == 4

    def test_no_jpeg(self, source, tmp_path, capsys):
        words = ("--out", tmp_path / "out", "--classes", 3, "--decoded", "--photos", "jpg")
        assert prepare("folder", "--in", source, *words) == 2
        assert (
            "--photos jpg: decoded photos are .npy files; leave out --photos, or --decoded" in capsys.readouterr().err
            and not (tmp_path / "out").exists()
        )


class TestInstances:
    def test_instance_ids_are_dense_and_distinct_from_classes(self, source, tmp_path):
        for number in range(4):
            ids = np.full((8, 12), 66_000 % 65536, np.uint16)
            ids[0, :2] = 40_000
            put(source / "train_inst" / f"{number}.png", ids)
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3, "--size", "12x8") == 0
        found = read_instance(out / "train_inst/1.png")
        assert found[0, :2].tolist() == [4, 4] and np.unique(found).tolist() == [3, 4]
        assert probe(out / "train_inst/1.png").bits == 16

    def test_from_labels(self, source, tmp_path):
        spots = np.zeros((8, 12), np.uint8)
        spots[0, 0] = spots[1, 1] = spots[7, 10] = 1
        spots[4:6, 4:6] = 1
        put(source / "train_label/0.png", spots)
        words = ("--instances", "from-labels", "--things", "car", "--classes", names_file(tmp_path), "--min-area", 2)
        assert prepare("folder", "--in", source, "--out", tmp_path / "8", *words) == 0
        assert np.unique(read_instance(tmp_path / "8/train_inst/0.png")).tolist() == [0, 1, 3, 4]
        assert read_instance(tmp_path / "8/train_inst/0.png")[7, 10] == 1, "too small: it keeps its class"
        assert prepare("folder", "--in", source, "--out", tmp_path / "4", *words, "--neighbours", 4) == 0
        assert np.unique(read_instance(tmp_path / "4/train_inst/0.png")).tolist() == [0, 1, 3]

    def test_without_instances(self, source, tmp_path):
        put(source / "train_inst/0.png", np.zeros((8, 12)))
        words = ("--classes", 3, "--instances", "none", "--limit", 1)
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", *words) == 0
        assert not (tmp_path / "out/train_inst").exists()


class TestSplits:
    def test_shares_are_stable_when_items_are_added(self, tmp_path):
        source = grey_folder(tmp_path / "in", 20)
        words = ("--classes", 3, "--split", "test=0.2,val=0.2")
        assert prepare("folder", "--in", source, "--out", tmp_path / "one", *words) == 0
        first = {tuple(path.split("/")) for path in files(tmp_path / "one")}
        assert {folder for folder, _ in first} == {
            f"{s}_{k}" for s in ("train", "val", "test") for k in ("label", "img")
        }
        grey_folder(source, 30)
        assert prepare("folder", "--in", source, "--out", tmp_path / "two", *words) == 0
        assert first < {tuple(path.split("/")) for path in files(tmp_path / "two")}

    def test_sequences_stay_together(self, tmp_path):
        source = tmp_path / "in"
        for sequence in range(6):
            for frame in range(3):
                put(source / "train_label" / f"s{sequence}_{frame}.png", label_map(4, 6))
        words = ("--classes", 3, "--split", "test=.3", "--split-by", "^s[0-9]+")
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", *words) == 0
        sides = {path.split("/")[1][:2]: [] for path in files(tmp_path / "out")}
        for path in files(tmp_path / "out"):
            sides[path.split("/")[1][:2]].append(path.split("/")[0])
        assert all(len(side) == 3 and len(set(side)) == 1 for side in sides.values())

    def test_too_few_groups(self, tmp_path, capsys):
        words = ("--classes", 3, "--split", "test=.3,val=.1")
        assert prepare("folder", "--in", grey_folder(tmp_path / "in", 2), "--out", tmp_path / "out", *words) == 2
        assert "2 group(s) cannot be split into 3 parts" in capsys.readouterr().err


class TestRemap:
    def run(self, source, tmp_path, text, *more):
        path = tmp_path / "remap.yaml"
        path.write_text(text)
        out = tmp_path / "out"
        words = ("--classes", names_file(tmp_path), "--remap", path, *more)
        return prepare("folder", "--in", source, "--out", out, *words), out

    def test_names_and_ignored(self, source, tmp_path):
        code, out = self.run(source, tmp_path, "car: road\n2: ignore\n")
        assert code == 0 and [c["name"] for c in dataset(out)["classes"]] == ["road"]
        assert np.unique(label(out, "train_label/0.png")).tolist() == [0, 255]

    def test_given_ids(self, source, tmp_path):
        code, out = self.run(source, tmp_path, '{"sky": 0, "road": 1, "*": "ignore"}')
        assert code == 0 and [c["name"] for c in dataset(out)["classes"]] == ["sky", "road"]
        assert label(out, "train_label/0.png")[0].tolist() == [1] * 4 + [255] * 4 + [0] * 4

    def test_another_mapping_is_refused(self, source, tmp_path, capsys):
        assert self.run(source, tmp_path, "car: road\n")[0] == 0
        assert self.run(source, tmp_path, "car: sky\n")[0] == 2
        assert "options.remap.1 car: was 0, now 1" in capsys.readouterr().err

    def test_a_new_class(self, source, tmp_path):
        code, out = self.run(source, tmp_path, "road: ground\ncar: ground\n")
        assert code == 0 and [c["name"] for c in dataset(out)["classes"]] == ["ground", "sky"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("caar: road", "unknown class 'caar'. Did you mean 'car'?"),
            ("7: road", "unknown class 7; classes are 0 to 2"),
            ("car: road\n1: sky", "the class 'car' (id 1) is listed twice"),
            ("car: 5", "new ids must be 0, 1, 2, ... without gaps"),
            ("car: [1]", "expected a class name"),
            ('"*": ignore', "every class would be ignored"),
            ("road", "expected lines of the form"),
            ("*: ignore", "not YAML"),
        ],
    )
    def test_mistakes(self, source, tmp_path, capsys, text, message):
        code, out = self.run(source, tmp_path, text)
        assert code == 2 and message in capsys.readouterr().err and not out.exists()


class TestAgain:
    def test_finished_items_are_skipped(self, source, tmp_path, capsys):
        out, words = tmp_path / "out", ("--classes", 3)
        assert prepare("folder", "--in", source, "--out", out, *words, "--limit", 2) == 0
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
        assert len(before) == 4
        (out / "train_img/1.png").unlink()
        assert prepare("folder", "--in", source, "--out", out, *words) == 0
        assert "4 of 4 items are in" in (message := capsys.readouterr().out) and "(1 from earlier runs)" in message
        assert len(files(out)) == 8 and len(dataset(out)["files"]) == 4
        assert (out / "train_label/0.png").stat().st_mtime_ns == before[out / "train_label/0.png"]

    def test_other_options_are_refused(self, source, tmp_path, capsys):
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3) == 0
        whole = files(out)
        assert prepare("folder", "--in", source, "--out", out, "--classes", 4, "--size", "4x4") == 2
        message = capsys.readouterr().err
        assert 'options.size: was null, now "4x4"' in message and "labels: was 3, now 4" in message
        assert files(out) == whole

    def test_foreign_folders_are_refused(self, source, tmp_path, capsys):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").write_text("")
        assert prepare("folder", "--in", source, "--out", tmp_path / "other", "--classes", 3) == 2
        assert "contains files not written by hdtrans prepare" in capsys.readouterr().err
        for out, words in (
            (source.parent, "holds inputs of this command as well"),
            (source, "holds inputs of this command as well"),
            (source / "train_label/out", f"is inside {source}/train_label, whose sub-folders are searched too"),
        ):
            assert prepare("folder", "--in", source, "--out", out, "--classes", 3) == 2
            assert f"--out {out}: {words}" in capsys.readouterr().err

    def test_results_among_photos_that_lie_elsewhere_are_refused(self, source, tmp_path, capsys, monkeypatch):
        (photos := tmp_path / "photos").mkdir()
        monkeypatch.chdir(photos)
        assert prepare("pairs", "--in", source, "--photo-dir", ".", "--dry-run", "--out", photos / "out") == 0
        capsys.readouterr()
        given = ["--photo-dir", photos, "--out", photos / "out", "--classes", 3]
        assert prepare("folder", "--in", source, *given) == 2
        assert f"is inside {photos}, whose sub-folders are searched too" in capsys.readouterr().err

    def test_a_changed_data_set_is_refused(self, source, tmp_path, capsys):
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3) == 0
        (source / "train_label/3.png").unlink(), (source / "train_img/3.png").unlink()
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3) == 2
        assert "1 item(s) that are no longer in the data set" in capsys.readouterr().err

    def test_incomplete_manifest_line_is_removed(self, source, tmp_path):
        out = tmp_path / "out"
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3) == 0
        manifest = out / "prepare.jsonl"
        manifest.write_bytes(manifest.read_bytes()[:-20])
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3) == 0
        assert len(manifest.read_text().splitlines()) == 4

    def test_dry_run(self, source, tmp_path, capsys):
        assert prepare("folder", "--in", source, "--out", tmp_path / "out", "--classes", 3, "--dry-run") == 0
        assert "4 of 4 items would be written" in capsys.readouterr().out and not (tmp_path / "out").exists()


class TestProcesses:
    def test_workers_write_the_same_without_torch(self, tmp_path):
        source = grey_folder(tmp_path / "in", 6)
        assert prepare("folder", "--in", source, "--out", tmp_path / "one", "--classes", 3) == 0
        script = (
            "import sys\nfrom hdtrans.cli import run_tool\n"
            "if __name__ == '__main__':\n    code = run_tool('prepare', sys.argv[1:])\n"
            "    sys.exit(code or 'torch' in sys.modules)"
        )
        (tmp_path / "script.py").write_text(script)
        words = ("folder", "--in", source, "--out", tmp_path / "two", "--classes", "3", "--workers", "2")
        done = subprocess.run(
            [sys.executable, tmp_path / "script.py", *words], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
        )
        assert done.returncode == 0 and files(tmp_path / "one") == files(tmp_path / "two")

    @pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
    def test_stopped_and_continued(self, tmp_path, number, workers):
        source, out = grey_folder(tmp_path / "in", 60, size=(400, 600)), tmp_path / "out"
        command = [sys.executable, ROOT / "tools/prepare.py", "folder", "--in", source, "--out", out, "--classes", "3"]
        process = subprocess.Popen([*command, "--workers", workers], stderr=subprocess.PIPE, start_new_session=True)
        while not (out / "prepare.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)  # a second one changes nothing
        message = process.communicate(timeout=30)[1].decode()
        assert process.returncode == 128 + number and "stopped; run the same command again" in message
        assert not list(out.rglob("*.part"))
        assert prepare("folder", "--in", source, "--out", out, "--classes", 3) == 0
        assert len(files(out)) == 120


def test_shards_of_a_prepared_folder(source, tmp_path, capsys):
    out, packed = tmp_path / "out", tmp_path / "out_shards"
    command = ["folder", "--in", source, "--out", out, "--classes", 3]
    assert prepare(*command, "--shards", "a lot") == 2 and not out.exists()
    assert "--shards a lot: not a size" in capsys.readouterr().err
    (source / "train_img/2.png").rename(tmp_path / "kept.png")
    assert prepare(*command, "--shards", "1M") == 1 and not packed.exists()
    assert f"hdtrans prepare shards --in {out} --out {packed}" in capsys.readouterr().out
    (tmp_path / "kept.png").rename(source / "train_img/2.png")
    assert prepare(*command, "--shards", "1M") == 0
    assert "4 samples (8 files) are in 1 shards" in capsys.readouterr().out
    found = find_samples(LabelMaps(root=packed, labels=3), "train", ("label", "photo"))
    assert [sample.name for sample in found] == ["0", "1", "2", "3"]
    assert np.array_equal(read_label(found[2].paths["label"]), label(out, "train_label/2.png"))
    again = tmp_path / "again"
    assert run_tool("prepare", ["shards", "--in", str(out), "--out", str(again), "--size", "1M"]) == 0
    assert (again / "train-000000.tar").read_bytes() == (packed / "train-000000.tar").read_bytes()
