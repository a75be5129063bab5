"""A training folder is scanned once, whatever is asked of it."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.data.folders import find_everything, find_samples
from hdtrans.data.holdout import hold_back
from hdtrans.data.index import Folder, Index, left_out, scan, two_sides, walk
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos import Section as Photos
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.prepare.writing.shards import SMALLEST_SHARD, write_shards
from tests.small_runs import small_recipe, toy_data, write_recipe

FIELDS = ("label", "instance", "photo")


def paint(file: Path) -> None:
    """Write a small picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.zeros((4, 6), np.uint8))


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Write three splits of label maps, each with a sub-folder."""
    for split in ("train", "val", "test"):
        for ending in ("_label", "_inst", "_img"):
            paint(tmp_path / f"{split}{ending}" / "1.png")
            paint(tmp_path / f"{split}{ending}" / "night" / "2.png")
    return tmp_path


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each folder is scanned."""
    counts: Counter[str] = Counter()
    real = os.scandir

    def counted(path: Any = ".") -> Any:
        if not isinstance(path, int):  # as shutil.rmtree does
            counts[os.path.realpath(path)] += 1
        return real(path)

    monkeypatch.setattr(os, "scandir", counted)
    return counts


class TestScannedOnce:
    @pytest.mark.parametrize("validation", [None, 0.5, "val"])
    def test_all_splits_of_a_training(self, city: Path, scans: Counter[str], validation: Any) -> None:
        data = LabelMaps(root=city, labels=3, validation=validation)
        index = Index(city)
        files = find_samples(data, data.train, FIELDS, index=index)
        train, held = hold_back(data, files, FIELDS, index)
        test = find_samples(data, data.test, ["label"], ["photo"], index)
        assert len(train) + len(held) == (4 if validation == "val" else 2) and len(test) == 2
        if validation == "val":
            assert find_samples(data, "val", FIELDS, index=index) == held
        below = {path: count for path, count in scans.items() if path != str(city)}
        splits = 3 if validation == "val" else 2
        assert set(below.values()) == {1} and sum(path.endswith("night") for path in below) == (3 * splits - 1)

    @pytest.mark.parametrize("validation", [None, 0.3, "test"])
    def test_a_training_from_its_first_look_to_its_last_preview(
        self, tmp_path: Path, scans: Counter[str], validation: Any
    ) -> None:
        data = toy_data(tmp_path / "city", 4, 2)
        values = small_recipe(data, tmp_path / "run", validate={"every": 2, "metrics": ["l1"]})
        values["data"]["validation"] = validation
        scans.clear()
        assert run_tool("train", [str(write_recipe(tmp_path / "recipe.yaml", values))]) == 0
        counts = {Path(path).name: count for path, count in scans.items() if Path(path).parent == data}
        folders = {f"{split}_{role}" for split in ("train", "test") for role in ("label", "inst", "img")}
        assert counts.keys() >= folders and set(counts.values()) == {1}

    def test_asking_again_changes_nothing(self, city: Path, scans: Counter[str]) -> None:
        data, index = LabelMaps(root=city, labels=3), Index(city)
        first = find_samples(data, "train", FIELDS, index=index)
        before = {path: n for path, n in scans.items() if path != str(city)}
        assert find_samples(data, "train", FIELDS, index=index) == first
        assert find_everything(data, "train", FIELDS, index)[0] == first
        assert {path: n for path, n in scans.items() if path != str(city)} == before

    def test_the_counting_sees_a_second_scan(self, city: Path, scans: Counter[str]) -> None:
        """Without the index a folder is scanned for each question."""
        data = LabelMaps(root=city, labels=3)
        for _ in range(2):
            find_samples(data, "train", FIELDS)
        assert scans[str(city / "train_img")] == 2

    def test_loose_photos(self, tmp_path: Path, scans: Counter[str]) -> None:
        """The root itself is scanned once for pictures, and its names are looked through once for shards."""
        for name in ("1.png", "2.png"):
            paint(tmp_path / name)
        data = Photos.model_validate({"kind": "photos", "root": tmp_path, "input": {"kind": "grey"}})
        index = Index(tmp_path)
        assert len(find_samples(data, "train", ["photo"], index=index)) == 2
        assert len(find_everything(data, "train", ["photo"], index)[0]) == 2
        assert scans[str(tmp_path)] == 2


class TestIndex:
    def test_folders_tables_and_hidden_ones(self, city: Path) -> None:
        (city / ".hidden").mkdir()
        (city / "train_points.csv").write_text("name,x,y\n1,2,3\n", encoding="utf-8")
        (city / "notes.txt").write_text("none", encoding="utf-8")
        index = Index(city)
        splits = [f"{split}_{end}" for split in ("test", "train", "val") for end in ("img", "inst", "label")]
        assert index.folders == sorted([*splits, "train_points.csv"])
        assert index.has("train_points.csv") and index.has("train_img") and not index.has("notes.txt")
        assert not index.has("train_depth")

    def test_a_table_has_its_rows(self, city: Path) -> None:
        (city / "train_points.csv").write_text("name,x,y\nnight/2,2,3\n1.png,,\n", encoding="utf-8")
        folder = Index(city).scan("train_points.csv")
        assert folder.files == ("night/2", "1.png") and folder.place("night/2") == f"{city}/train_points.csv/night/2"

    def test_no_root(self, city: Path) -> None:
        with pytest.raises(UserError, match=r"data\.root: there is no folder .*_imgs\. Did you mean 'train_img'\?"):
            Index(city / "train_imgs")

    def test_a_sub_folder_and_a_link_upwards(self, city: Path) -> None:
        (city / "train_img" / "night" / "up").symlink_to(city / "train_img")
        assert sorted(Index(city).scan("train_img").files) == ["1.png", "night/2.png"]

    def test_links_of_folders_to_each_other_end(self, tmp_path: Path) -> None:
        for name, other in (("a", "b"), ("b", "a")):
            paint(tmp_path / name / "1.png")
            (tmp_path / name / "other").symlink_to(tmp_path / other)
        (tmp_path / "a" / "all").symlink_to(tmp_path)
        assert sorted(walk(tmp_path / "a")) == ["1.png", "other/1.png"]

    def test_a_link_to_itself_is_a_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        paint(tmp_path / "1.png")
        (tmp_path / "2.png").symlink_to("2.png")
        assert sorted(walk(tmp_path)) == ["1.png", "2.png"]

    def test_folders_of_systems_are_skipped(self, tmp_path: Path) -> None:
        for folder in ("@eaDir/1.png", "__MACOSX", "$RECYCLE.BIN", "lost+found", "a"):
            paint(tmp_path / folder / "1.png")
        assert sorted(walk(tmp_path)) == ["a/1.png"]

    def test_files_that_are_not_read_are_counted(self, tmp_path: Path) -> None:
        for name in ("a.JFIF", "b.jpe", "c.dib", "d.pnm", "e.gif", "f.TGA", "g.tga", "h", "i.mat"):
            (tmp_path / name).touch()
        for name in ("dataset.json", "README", "notes.TXT", "Thumbs.db", "desktop.ini", ".DS_Store"):
            (tmp_path / name).touch()
        folder = scan(tmp_path)
        assert sorted(folder.files) == ["a.JFIF", "b.jpe", "c.dib", "d.pnm"]
        assert folder.left_out == {".gif": 1, ".tga": 2, "no extension": 1, ".mat": 1}
        assert folder.others == {".json": 1, "no extension": 1, ".txt": 1}
        words = left_out([folder, scan(tmp_path)])
        assert f"{tmp_path}: 10 files are not read: 4 .tga, 2 .gif, 2 .mat, 2 no extension. Files are read" in words
        assert left_out([Folder(tmp_path, (), folder.others, Counter())]) == ""

    def test_folders_in_shards(self, city: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        out = tmp_path_factory.mktemp("shards")
        write_shards(city, out, SMALLEST_SHARD)
        plain, sharded = Index(city), Index(out)
        assert sharded.folders == plain.folders and sharded.has("train_img") and not sharded.has("train_depth")
        assert sorted(sharded.scan("train_img").files) == sorted(plain.scan("train_img").files)

    def test_two_sides(self, tmp_path: Path) -> None:
        index = Index(tmp_path)
        assert two_sides(index, "train", joined=True) == {"source": "trainA", "photo": "trainB"}
        assert two_sides(index, "train", joined=False) == {"source": "train_A", "photo": "train_B"}
        (tmp_path / "val_B").mkdir()
        assert two_sides(index, "val", joined=True) == {"source": "val_A", "photo": "val_B"}
        data = PicturePairs(kind="picture_pairs", root=tmp_path, direction="BtoA")
        assert data.folders("val", index) == {"source": "val_B", "photo": "val_A", "instance": "val_inst"}
