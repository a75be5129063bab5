"""Shards: valid tar and WebDataset files with the same samples as the plain folder."""

import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.config.stage import Stage
from hdtrans.data.dataset import TrainingSamples, make_loader
from hdtrans.data.folders import find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.io.read import load, probe, read_label
from hdtrans.data.io.shards import index_file, is_folder
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos import Section as Photos
from hdtrans.data.kinds.unpaired import Section as Unpaired
from hdtrans.data.preflight import preflight
from hdtrans.engine import checkpoint
from hdtrans.prepare.writing.shards import SMALLEST_SHARD, write_shards
from tests.small_runs import small_recipe, toy_data, train_values

pytestmark = pytest.mark.usefixtures("in_fp32")

FIELDS = ("label", "instance", "photo")


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a toy city as a plain folder and as shards, several of them."""
    root = tmp_path_factory.mktemp("city")
    plain = toy_data(root / "plain", 12, 2)
    write_shards(plain, root / "shards", SMALLEST_SHARD)
    assert len(list((root / "shards").glob("train-*.tar"))) > 1
    return plain, root / "shards"


def data(root):
    """Return the section of a recipe for the toy city."""
    return LabelMaps(root=root, labels=19)


def picture(path, value, size=(8, 8)):
    """Write a small grey picture of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(size, value, np.uint8))


class TestWriting:
    def test_files_of_a_sample_are_neighbours_in_full_shards(self, city):
        seen = []
        for shard in sorted(city[1].glob("train-*.tar")):
            assert shard.stat().st_size <= SMALLEST_SHARD
            with tarfile.open(shard, "r:") as tar:
                infos = tar.getmembers()
                index = json.loads(index_file(shard).read_text())
                assert index["bytes"] == shard.stat().st_size
                for info in infos:
                    place = index["members"][info.name]
                    content = shard.read_bytes()[place["offset"] : place["offset"] + place["size"]]
                    assert content == tar.extractfile(info).read() == (city[0] / place["file"]).read_bytes()
            names = [info.name for info in infos]
            keys = [name.split(".")[0] for name in names]
            assert {name.split(".", 1)[1] for name in names} == {"label.png", "inst.png", "img.png"}
            assert keys == sorted(keys) and all(keys.count(key) == 3 for key in keys)
            seen += keys
        assert seen == sorted(seen) and len(seen) == 36
        assert (city[1] / "dataset.json").read_bytes() == (city[0] / "dataset.json").read_bytes()

    def test_the_same_files_give_the_same_bytes(self, city, tmp_path):
        write_shards(city[0], tmp_path / "again", SMALLEST_SHARD)
        for shard in city[1].iterdir():
            assert shard.read_bytes() == (tmp_path / "again" / shard.name).read_bytes()

    def test_stopped_packing_is_resumed(self, city, tmp_path):
        first = write_shards(city[0], tmp_path, SMALLEST_SHARD)
        index_file(first.paths[1]).unlink()
        (city[0] / "train_img" / "00000.png").touch()  # younger than its shard
        again = write_shards(city[0], tmp_path, SMALLEST_SHARD)
        assert again.paths == first.paths and set(first.paths) - set(again.skipped) == {first.paths[1]}

    def test_names_with_dots_long_ones_and_sub_folders(self, tmp_path):
        names = ["a.b 100%/x.1_leftImg8bit.png", f"{'long' * 30}.png", "ü.PNG"]
        for place, name in enumerate(names):
            picture(tmp_path / "in" / "train_img" / name, place)
            picture(tmp_path / "in" / "train_label" / name.replace("leftImg8bit", "gtFine_labelIds"), place + 9)
        write_shards(tmp_path / "in", tmp_path / "out", 1 << 20)
        with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
            assert {name.rpartition("/")[2].partition(".")[2] for name in tar.getnames()} == {"img.png", "label.png"}
            assert "a.b 100%/x%2E1.img.png" in tar.getnames()
        for index_is_there in (True, False):
            samples = find_samples(data(tmp_path / "out"), "train", ("label", "photo"))
            assert [s.name for s in samples] == ["a.b 100%/x.1", "long" * 30, "ü"]
            assert [int(read_label(s.paths["label"])[0, 0]) for s in samples] == [9, 10, 11]
            if index_is_there:
                index_file(tmp_path / "out" / "train-000000.tar").unlink()

    @pytest.mark.parametrize("kind", ["nothing", "small", "same", "inside", "other", "twins"])
    def test_mistakes(self, city, tmp_path, kind):
        folder, out, size, words = city[0], tmp_path / "out", 1 << 20, "contains no pictures in train_label/"
        if kind == "nothing":
            folder = tmp_path
        elif kind == "small":
            size, words = 1000, "give at least 65536"
        elif kind == "same":
            out, words = folder, "holds inputs of this command as well"
        elif kind == "inside":
            out, words = folder / "shards", "give a folder outside of it"
        elif kind == "other":
            picture(out / "mine.png", 1)
            words = "contains other files (mine.png)"
        else:
            folder, words = tmp_path / "in", "gets the same name in the shard as trainA/1.PNG: 1.A.png"
            picture(folder / "trainA" / "1.png", 1)
            picture(folder / "trainA" / "1.PNG", 1)
        with pytest.raises(UserError) as caught:
            write_shards(folder, out, size)
        assert words in str(caught.value)


class TestReading:
    def test_batches_are_those_of_the_plain_folder(self, city):
        batches = []
        for root in city:
            files = find_samples(data(root), "train", FIELDS)
            preflight(files, FIELDS, data(root), [Stage(size="32x16", geometry="crop")])
            geometry = Geometry.of(Stage(size="32x16", geometry="crop"))
            samples = TrainingSamples(files, FIELDS, data(root), geometry, 3, 0)
            order = [[place, place + 1, place + 2] for place in range(0, 30, 3)]
            batches.append(list(make_loader(samples, order, 2, False)))
        for plain, sharded in zip(*batches, strict=True):
            assert replace(plain, fields={}, files=()) == replace(sharded, fields={}, files=())  # files lie elsewhere
            assert plain.fields.keys() == sharded.fields.keys() == set(FIELDS)
            assert all(torch.equal(tensor, sharded[name]) for name, tensor in plain.fields.items())

    def test_a_run_continued_on_shards_is_the_run_on_the_plain_folder(self, city, tmp_path):
        weights = []
        for root, parts in ((city[0], (2,)), (city[1], (1, 2))):
            for epochs in parts:
                stages = [{"size": "64x32", "epochs": epochs}]
                run = train_values(small_recipe(root, tmp_path / root.name, stages=stages))
            state = checkpoint.load(checkpoint.Checkpoints(run, 2).files()[0])
            assert state["images_seen"] == 24
            weights.append(state["networks"])
        assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())

    def test_other_kinds(self, tmp_path):
        for place in range(5):
            picture(tmp_path / "in" / "trainA" / f"{place}_A.png", place)
            picture(tmp_path / "in" / "train_photos" / "train" / "deep" / f"{place}.png", 10 + place)
        for place in range(3):
            picture(tmp_path / "in" / "trainB" / f"{place}_B.png", 100 + place)
        for folder, section in (
            ("in", lambda root: Unpaired(kind="unpaired", root=root)),
            ("in/train_photos", lambda root: Photos(kind="photos", root=root, input={"kind": "grey"})),
        ):
            write_shards(tmp_path / folder, out := tmp_path / "out" / folder, 1 << 20)
            plain, sharded = (section(root) for root in (tmp_path / folder, out))
            files, others = (find_samples(d, "train", d.fields) for d in (plain, sharded))
            assert [s.name for s in files] == [s.name for s in others]
            for one, other in zip(files, others, strict=True):
                assert one.paths.keys() == other.paths.keys()
                for name, path in one.paths.items():
                    assert Path(path).read_bytes() == load(other.paths[name])[0]

    def test_foreign_shards_need_no_index(self, tmp_path):
        _, content = cv2.imencode(".png", np.full((4, 6), 7, np.uint8))
        with tarfile.open(tmp_path / "train-0001.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for name in ("./straße/x.label.png", "./straße/x.img.png", "./straße/x.json"):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.tobytes()))
        (sample,) = find_samples(data(tmp_path), "train", ("label", "photo"))
        assert sample.name == "straße/x" and (read_label(sample.paths["label"]) == 7).all()
        assert is_folder(tmp_path / "train_img") and not is_folder(tmp_path / "train_inst")

    def test_inference_gives_the_same_pictures(self, city, tmp_path):
        run = train_values(small_recipe(city[0], tmp_path / "run"))
        for root in city:
            folders = ["--input", str(root / "test_label"), "--truth", str(root / "test_img")]
            for _ in range(2):
                assert run_tool("infer", [str(run), *folders, "--out", str(tmp_path / root.name)]) == 0
        names = sorted(file.name for file in (tmp_path / "plain").glob("*.png"))
        assert len(names) == 2
        for name in names:
            assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "shards" / name).read_bytes()
        assert "truth" in (tmp_path / "shards" / "index.html").read_text()


class TestDamage:
    @pytest.fixture
    def shard(self, city, tmp_path):
        """Return one shard of a fresh set."""
        write_shards(city[0], tmp_path, 1 << 20)
        return tmp_path / "train-000000.tar"

    def message(self, shard):
        """Return the error message from reading all samples of the folder."""
        with pytest.raises(UserError) as caught:
            for sample in find_samples(data(shard.parent), "train", FIELDS):
                for path in sample.paths.values():
                    probe(path)
        return str(caught.value)

    def test_cut_off(self, shard):
        size = shard.stat().st_size
        shard.write_bytes(shard.read_bytes()[:4000])
        assert f"{shard}: has 4000 bytes, but its index was made for one of {size}; copy the shard" in self.message(
            shard
        )
        index_file(shard).unlink()
        assert f"{shard}: cannot be read as a tar file" in self.message(shard)

    def test_cut_off_between_files(self, shard):
        place = json.loads(index_file(shard).read_text())["members"]["00001.img.png"]["offset"]
        shard.write_bytes(shard.read_bytes()[: place - 512])
        index_file(shard).unlink()
        assert "is cut off: the end mark of a tar file is missing" in self.message(shard)

    def test_an_index_of_another_shard(self, shard):
        content = bytearray(shard.read_bytes())
        shard.write_bytes(content[512 * 40 :] + content[: 512 * 40])
        assert f"{shard}: there is no file where train_label/00000.png should lie" in self.message(shard)

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "bytes": 3, "members": {"a": 1}}'])
    def test_a_damaged_index(self, shard, text):
        index_file(shard).write_text(text)
        assert f"{index_file(shard)}: cannot be read as the index of a shard" in self.message(shard)

    def test_a_plain_folder_beside_shards(self, shard, city):
        picture(shard.parent / "train_img" / "1.png", 1)
        assert "train_img: is a folder, and shards beside it hold one of that name" in self.message(shard)

    def test_archives_beside_plain_folders_are_not_shards(self, city, tmp_path):
        shutil.copytree(city[0], tmp_path / "data")
        for name in ("train_img.tar", "archive-2024.tar"):
            with tarfile.open(tmp_path / "data" / name, "w") as tar:
                tar.add(city[0] / "train_img", "train_img")
        (tmp_path / "data" / "broken.tar").write_bytes(b"x")
        samples = find_samples(data(tmp_path / "data"), "train", FIELDS)
        assert len(samples) == 12 and not any(".tar" in path for path in samples[0].paths.values())

    def test_two_shards_with_the_same_file(self, shard):
        shard.with_name("train-0001.tar").write_bytes(shard.read_bytes())
        assert "train-0001.tar/train_" in (text := self.message(shard)) and "keep one of the shards" in text
