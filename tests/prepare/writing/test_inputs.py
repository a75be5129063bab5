"""Content decides what is made anew: annotations, photos and class tables, compared with those of the last run."""

import json
import os
import time

import numpy as np
import pytest

from hdtrans.prepare.formats import coco
from hdtrans.prepare.writing import inputs
from hdtrans.prepare.writing.shards import SMALLEST_SHARD, write_shards
from tests.prepare.made import dataset, files, grey_folder, label, label_map, photo, prepare, put
from tests.prepare.small_sets import opened, write


def age(root, seconds=100):
    """Make all files of a folder older, so that their times are trusted."""
    for path in root.rglob("*"):
        if path.is_file():
            then = time.time_ns() - int(seconds * 1e9)
            os.utime(path, ns=(then, then))


@pytest.fixture
def settled(monkeypatch):
    """Trust the times of files at once."""
    monkeypatch.setattr(inputs, "_SETTLED", -1.0)


@pytest.fixture
def hashed(monkeypatch):
    """Return the list of the files that are hashed."""
    found = []
    own = inputs.file_digest
    monkeypatch.setattr(inputs, "file_digest", lambda path: found.append(path) or own(path))
    return found


def written(out):
    """Return inode and time of each picture, which change if it is written anew."""
    return {path: ((out / path).stat().st_ino, (out / path).stat().st_mtime_ns) for path in files(out)}


def square(left, name="car", **more):
    shape = {"label": name, "shape_type": "rectangle", "points": [[left, 0], [left + 2, 4]]}
    return {"imagePath": "x.png", "imageHeight": 4, "imageWidth": 6, "shapes": [shape], **more}


class TestFolders:
    @pytest.fixture
    def made(self, tmp_path):
        """Return a call that prepares four items, and a changed file of the set."""
        root, out = grey_folder(tmp_path / "in"), tmp_path / "out"

        def run(*more):
            return prepare("folder", "--in", root, "--out", out, "--classes", 3, *more)

        assert run() == 0
        return root, out, run

    @pytest.mark.parametrize("kind", ["label", "img"])
    def test_a_replaced_file_makes_its_item_anew(self, made, capsys, kind):
        root, out, run = made
        before = written(out)
        new = label_map(8, 12)[:, ::-1] if kind == "label" else photo(8, 12, 77)
        put(root / f"train_{kind}/2.png", new)
        assert run() == 0
        assert "4 of 4 items are in" in (text := capsys.readouterr().out)
        assert "(3 from earlier runs, 1 made anew, as their sources changed)" in text
        changed = {path for path, state in written(out).items() if before[path] != state}
        assert changed == {"train_label/2.png", "train_img/2.png"}
        if kind == "img":
            assert (out / "train_img/2.png").read_bytes() == (root / "train_img/2.png").read_bytes()
        assert np.array_equal(label(out, "train_label/2.png"), new if kind == "label" else label_map(8, 12))
        assert run() == 0 and "(4 from earlier runs)" in capsys.readouterr().out

    def test_times_alone_make_nothing_anew(self, made):
        root, out, run = made
        before = written(out)
        age(root)
        assert run() == 0 and written(out) == before

    def test_bytes_are_read_only_where_size_or_times_differ(self, tmp_path, settled, hashed):
        root, out = grey_folder(tmp_path / "in"), tmp_path / "out"
        words = ("folder", "--in", root, "--out", out, "--classes", 3)
        assert prepare(*words) == 0 and len(hashed) == 8
        hashed.clear()
        assert prepare(*words) == 0 and not hashed
        age(root / "train_img")
        assert prepare(*words) == 0 and {path.parent.name for path in hashed} == {"train_img"}
        hashed.clear()
        assert prepare(*words) == 0 and not hashed  # the new times are kept
        kept = (root / "train_label/1.png").stat()
        put(root / "train_label/1.png", label_map(8, 12)[:, ::-1])
        os.utime(root / "train_label/1.png", ns=(kept.st_atime_ns, kept.st_mtime_ns))
        assert prepare(*words) == 0 and label(out, "train_label/1.png")[0, 0] == 2

    def test_times_of_a_file_that_changed_just_now_are_not_trusted(self, made, hashed):
        _, _, run = made
        assert run() == 0 and len(hashed) == 8

    def test_an_instance_map_that_is_added_is_drawn(self, made):
        root, out, run = made
        for number in range(4):
            put(root / f"train_inst/{number}.png", label_map(8, 12))
        assert run() == 0 and (out / "train_inst/3.png").is_file()

    def test_an_item_that_fails_anew_keeps_no_old_file(self, made, capsys):
        root, out, run = made
        put(root / "train_label/2.png", label_map(8, 12, 5))
        assert run() == 1
        assert "3 of 4 items are in" in capsys.readouterr().out
        assert not (out / "train_label/2.png").exists() and not (out / "train_img/2.png").exists()
        assert "train/2" in dataset(out)["failed"]

    def test_finished_items_are_kept_where_a_source_is_gone(self, tmp_path, capsys):
        root, out = tmp_path / "in", tmp_path / "out"
        put(root / "a.png", photo(4, 6))
        write(root / "b.json", {**square(0), "imagePath": "a.png"})
        assert prepare("labelme", "--in", root, "--out", out) == 0
        before = written(out)
        (root / "a.png").unlink()
        assert prepare("labelme", "--in", root, "--out", out) == 0 and written(out) == before
        text = capsys.readouterr().out
        assert "1 finished item(s) are kept as they are, as a source left the data set: train/b: a.png" in text
        write(root / "b.json", {**square(2), "imagePath": "a.png"})
        assert prepare("labelme", "--in", root, "--out", out) == 1
        assert not files(out)  # the old map is that of another shape

    def test_removed_items_are_refused_until_their_files_are_removed(self, made, capsys):
        root, out, run = made
        for kind in ("label", "img"):
            (root / f"train_{kind}/3.png").unlink()
        assert run() == 2
        assert "no longer in the data set" in (text := capsys.readouterr().err)
        assert "such as train/3; remove their files there, or give a new folder" in text
        for kind in ("label", "img"):
            (out / f"train_{kind}/3.png").unlink()
        assert run() == 0 and "3 of 3 items" in capsys.readouterr().out

    def test_manifests_of_older_versions_are_compared_by_times(self, made, capsys):
        root, out, run = made
        age(root)
        lines = [json.loads(line) for line in (out / "prepare.jsonl").read_text().splitlines()]
        for line in lines:
            for key in ("inputs", "part", "table"):
                del line[key]
        (out / "prepare.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        before = written(out)
        assert run() == 0 and written(out) == before
        assert "4 item(s) are of an older version and were compared by times" in capsys.readouterr().out
        put(root / "train_label/1.png", label_map(8, 12)[:, ::-1])
        assert run() == 0 and label(out, "train_label/1.png")[0, 0] == 2
        assert "(3 from earlier runs, 1 made anew" in capsys.readouterr().out


def test_a_corrected_annotation_is_read_again(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "x.png", photo(4, 6))
    for name, left in (("a", 0), ("b", 2)):
        write(root / f"{name}.json", square(left))
    words = ("labelme", "--in", root, "--out", out)
    assert prepare(*words) == 0
    before = written(out)
    write(root / "a.json", square(4))
    assert prepare(*words) == 0
    assert label(out, "train_label/a.png")[0].tolist() == [255] * 4 + [0] * 2
    assert written(out)["train_label/b.png"] == before["train_label/b.png"]


def test_another_class_table_makes_all_anew(tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "x.png", photo(4, 6))
    for name in "ab":
        write(root / f"{name}.json", square(0))
    words = ("labelme", "--in", root, "--out", out)
    assert prepare(*words) == 0
    write(root / "b.json", square(0, "bus"))
    assert prepare(*words, "--limit", 1) == 2
    assert "the limit leaves 1 finished item(s) of the old one, such as train/b" in capsys.readouterr().err
    assert prepare(*words) == 0
    assert (
        "2 made anew" in (text := capsys.readouterr().out)
        and "the class table, or a file given as an option, changed: classes" in text
    )
    assert [entry["name"] for entry in dataset(out)["classes"]] == ["bus", "car"]
    assert [label(out, f"train_label/{name}.png")[0, 0] for name in "ab"] == [1, 0]


def test_another_class_list_makes_all_anew(tmp_path, capsys):
    root, out, names = grey_folder(tmp_path / "in"), tmp_path / "out", write(tmp_path / "names.txt", "a\nb\nc\n")
    words = ("folder", "--in", root, "--out", out, "--classes", names)
    assert prepare(*words) == 0
    names.write_bytes("\ufeffa\r\nb \r\nB\r\n".encode())
    assert prepare(*words) == 0 and [entry["name"] for entry in dataset(out)["classes"]] == ["a", "b", "B"]
    text = capsys.readouterr().out
    assert "4 made anew" in text and "changed: classes, format_files.classes" in text
    assert "class names that differ by case or spaces, or not at all: 'b' (id 1) and 'B' (id 2)" in text


class TestSharedDocuments:
    def document(self, root, *lefts):
        images = [{"id": n, "file_name": f"{n}.png", "height": 4, "width": 6} for n in range(len(lefts))]
        shapes = [[[left, 0, left + 2, 0, left + 2, 4, left, 4]] for left in lefts]
        annotations = [
            {"id": n, "image_id": n, "category_id": 1, "segmentation": shape} for n, shape in enumerate(shapes)
        ]
        values = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
        return write(root / "instances.json", values)

    def test_an_edited_annotation_makes_its_picture_anew(self, tmp_path, capsys, hashed):
        root, out = tmp_path / "in", tmp_path / "out"
        for number in range(3):
            put(root / f"{number}.png", photo(4, 6, number))
        self.document(root, 0, 0, 0)
        words = ("coco", "--in", root, "--out", out)
        assert prepare(*words) == 0 and {path.suffix for path in hashed} == {".png"}
        before = written(out)
        self.document(root, 0, 4, 0)
        assert prepare(*words) == 0
        assert "(2 from earlier runs, 1 made anew" in capsys.readouterr().out
        assert label(out, "train_label/1.png")[0].tolist() == [255] * 4 + [0] * 2
        changed = {path for path, state in written(out).items() if state != before[path]}
        assert changed == {f"train_{kind}/1.png" for kind in ("label", "inst", "img")}

    def test_part_of_an_item(self, tmp_path):
        source = opened(coco, self.document(tmp_path, 0, 1).parent)
        one, two = (json.dumps(source.part(item)) for item in source.items())
        assert "[[0, 0," in one and "[[1, 0," in two and source.shared == {tmp_path / "instances.json"}


def test_shards_are_packed_anew_after_a_copy_that_keeps_its_time(tmp_path):
    root, packed = grey_folder(tmp_path / "in"), tmp_path / "shards"
    age(root)
    assert len(write_shards(root, packed, SMALLEST_SHARD).skipped) == 0
    assert len(write_shards(root, packed, SMALLEST_SHARD).skipped) == 1
    path = root / "train_label/2.png"
    kept, data = path.stat(), path.read_bytes()[:-1] + b"!"
    path.write_bytes(data)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert not write_shards(root, packed, SMALLEST_SHARD).skipped
    assert data in (packed / "train-000000.tar").read_bytes()


def test_names_that_are_not_utf8(tmp_path, capsys):
    root, out = grey_folder(tmp_path / "in", 2), tmp_path / "out"
    name = os.fsdecode(b"caf\xe9.png")
    for kind in ("label", "img"):
        (root / f"train_{kind}/0.png").rename(root / f"train_{kind}" / name)
    words = ("folder", "--in", root, "--out", out, "--classes", 3)
    assert prepare(*words, "--dry-run") == 0 and r"caf\udce9" in capsys.readouterr().out
    assert prepare(*words) == 0 and (out / "train_label" / name).is_file()
    assert prepare(*words) == 0 and "(2 from earlier runs)" in capsys.readouterr().out
    assert name.removesuffix(".png") in [key.removeprefix("train/") for key in dataset(out)["files"]]
    (root / "train_label" / name).write_bytes(b"")
    assert prepare(*words) == 1 and r"train/caf\udce9: " in capsys.readouterr().out
    assert (out / "prepare.jsonl").read_bytes().isascii()
