"""The kinds of data besides label maps: their folders, their readers, and what refuses bad files, once."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Input
from hdtrans.config.registry import data_module
from hdtrans.config.stage import Size, Stage
from hdtrans.data import derived
from hdtrans.data.dataset import EvalDataset, TrainingSamples, make_loader
from hdtrans.data.folders import find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.holdout import hold_back
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.data.order import BatchOrder
from hdtrans.data.preflight import class_table, preflight

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
BOTH = ("source", "photo")
LOAD_AND_CROP = Geometry("resize_and_crop", Size(height=8, width=10), Size(height=10, width=13))


def section(kind, root, **given):
    """Return a section `data`, checked."""
    return data_module(kind).Section.model_validate({"kind": kind, "root": root, **given})


def read_source(data, path, field="source", ready=False):
    """Read an input that training data hold in a field, as translating does."""
    return data.read_input(Input.of("source", data.fields[field], source=field), path, ready)


def result(data):
    """Return the form of the results of a model of such data."""
    return data.result(Input.of("photo", data.fields["photo"], "target"))


def write(root, folder, name, picture):
    """Write a picture, RGB where it has three channels."""
    file = root / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".npy":
        np.save(file, picture)
    else:
        assert cv2.imwrite(str(file), picture[..., ::-1] if picture.ndim == 3 else picture)
    return file


def flat(*colour, height=12, width=16):
    """Return a picture of one colour."""
    return np.full((height, width, len(colour)), colour, np.uint8)


def gradient(number, height=12, width=16):
    """Return a picture whose channels are the number, the column and the row."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([np.full_like(rows, number), columns, rows], 2)


def training(data, geometry=LOAD_AND_CROP, seed=0, fields=BOTH):
    """Return the training samples of a section."""
    return TrainingSamples(find_samples(data, data.train, fields), fields, data, geometry, seed, stage=0)


def still(data, split="train", fields=BOTH):
    """Return the first sample as it is."""
    return EvalDataset(find_samples(data, split, fields), fields, data)[0]


def refused(data, fields=BOTH, stages=()):
    """Return the message of the look before training, or ''."""
    try:
        preflight(find_samples(data, data.train, fields), fields, data, stages)
    except UserError as error:
        return str(error)
    return ""


class TestPicturePairs:
    @pytest.fixture(params=["train_{}", "train{}"])
    def root(self, tmp_path, request):
        """Write two pairs in one of both layouts; A is red, B blue."""
        for name in ("1", "2"):
            write(tmp_path, request.param.format("A"), f"{name}_A.png", flat(255, 0, 0))
            write(tmp_path, request.param.format("B"), f"{name}_B.png", flat(0, 0, 255))
        return tmp_path

    def test_both_layouts_and_directions(self, root):
        sample = still(section("picture_pairs", root))
        assert sample.name == "1" and sample["source"][:, 0, 0].tolist() == [255, 0, 0]
        sample = still(section("picture_pairs", root, direction="BtoA"))
        assert sample["source"][:, 0, 0].tolist() == [0, 0, 255] and sample["photo"][:, 0, 0].tolist() == [255, 0, 0]

    def test_load_and_crop(self, root):
        sample = training(section("picture_pairs", root))[0]
        assert sample["source"].shape == sample["photo"].shape == (3, 8, 10)

    def test_grey(self, root):
        data = section("picture_pairs", root, source_channels=1, photo_channels=1)
        sample = still(data)
        assert (
            sample["source"].shape == (1, 12, 16) and sample["source"][0, 0, 0] == 76 and sample["photo"][0, 0, 0] == 29
        )

    def test_both_layouts_at_once(self, root):
        for folder in ("train_A", "trainA"):
            (root / folder).mkdir(exist_ok=True)
        with pytest.raises(UserError, match=r"has train_A/.*trainA/.*: which are the two sides\?"):
            find_samples(section("picture_pairs", root), "train", BOTH)

    def test_no_layout(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        with pytest.raises(
            UserError, match=r"train_A/, train_B/ not found.*\(or trainA/ and so on\). There is pictures/"
        ):
            find_samples(section("picture_pairs", tmp_path), "train", BOTH)

    def test_one_side_is_missing(self, tmp_path):
        write(tmp_path, "trainA", "1.png", flat(1, 2, 3))
        with pytest.raises(UserError, match=r"trainB/ not found.*reads trainA/, trainB/\. There is trainA/"):
            find_samples(section("picture_pairs", tmp_path), "train", BOTH)

    def test_channels_of_any_number_and_depth(self, tmp_path):
        rows = np.mgrid[:12, :16][0]
        write(tmp_path, "train_A", "1.npy", np.repeat(rows[..., None] / 16, 7, 2).astype(np.float32))
        cv2.imwrite(str(tmp_path / "train_A" / "x.txt.png"), rows.astype(np.uint8))
        (tmp_path / "train_A" / "x.txt.png").unlink()
        (tmp_path / "train_B").mkdir()
        four = np.stack([rows * 1000] * 3 + [rows * 2000], 2).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "train_B" / "1.png"), four)
        data = section("picture_pairs", tmp_path, source_channels=7, photo_channels=4)
        sample = still(data)
        assert sample["source"].shape == (7, 12, 16) and sample["source"].dtype == torch.float32
        assert sample["photo"].shape == (4, 12, 16) and sample["photo"].dtype == torch.int32
        assert sample["photo"][:, 3, 0].tolist() == [3000, 3000, 3000, 6000], "alpha stays with 4 channels"
        assert still(data.model_copy(update={"photo_channels": 3}))["photo"].shape[0] == 3, "and is dropped elsewhere"
        message = refused(section("picture_pairs", tmp_path, source_channels=5, photo_channels=5))
        assert "1.npy: has 7 channel(s), but 5 are wanted (data.source_channels" in message
        assert "1.png: has 4 channel(s), but 5 are wanted" in message


class TestSideBySide:
    @pytest.fixture
    def root(self, tmp_path):
        """Write a picture whose left half is red and whose right half counts columns."""
        pair = np.concatenate([flat(255, 0, 0), gradient(5)], 1)
        write(tmp_path, "train", "1_AB.png", pair)
        return tmp_path

    def test_halves_and_direction(self, root):
        sample = still(section("side_by_side", root))
        assert sample["source"].shape == sample["photo"].shape == (3, 12, 16)
        assert sample["source"][:, 3, 3].tolist() == [255, 0, 0] and sample["photo"][:, 3, 4].tolist() == [5, 4, 3]
        sample = still(section("side_by_side", root, direction="BtoA"))
        assert sample["source"][:, 3, 4].tolist() == [5, 4, 3] and sample["photo"][:, 3, 3].tolist() == [255, 0, 0]

    @pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
    def test_the_direction_of_a_model_that_has_both(self, root, direction):
        data, path = section("side_by_side", root, direction=direction), str(next((root / "train").iterdir()))
        forth, back = read_source(data, path), read_source(data, path, "photo")
        assert np.array_equal(forth[0], back[1]) and np.array_equal(forth[1], back[0])
        assert not np.array_equal(*forth)

    def test_one_grey_side(self, root):
        sample = still(section("side_by_side", root, source_channels=1))
        assert sample["source"].shape == (1, 12, 16) and sample["photo"].shape == (3, 12, 16)

    def test_both_sides_have_one_geometry(self, root):
        write(root, "train", "1_AB.png", np.concatenate([gradient(5), gradient(5)], 1))
        samples = training(section("side_by_side", root))
        drawn = [samples[counter] for counter in range(20)]
        assert all(torch.equal(sample["source"], sample["photo"]) for sample in drawn)
        assert len({sample["source"][1, 0, 0].item() for sample in drawn}) > 2

    def test_odd_width(self, root):
        write(root, "train", "2.png", flat(1, 2, 3, width=17))
        data = section("side_by_side", root)
        assert "2.png: is 17 pixels wide" in refused(data) and refused(data).startswith(f"data.root {root}: 1 problem")
        with pytest.raises(UserError, match=r"2\.png: is 17 pixels wide.*it must be even"):
            EvalDataset(find_samples(data, "train", BOTH), BOTH, data)[1]

    def test_crops_are_checked_against_one_side(self, root):
        assert refused(section("side_by_side", root), stages=[Stage(size="16x12", geometry="crop")]) == ""
        message = refused(section("side_by_side", root), stages=[Stage(size="20x12", geometry="crop")])
        assert "does not fit into 16x12" in message

    def test_no_folder(self, tmp_path):
        with pytest.raises(UserError, match=r"train/ not found; data\.kind: side_by_side.*There is no folder"):
            find_samples(section("side_by_side", tmp_path), "train", BOTH)


class TestUnpaired:
    @pytest.fixture
    def data(self, tmp_path):
        """Write 5 pictures of A and 3 of B, larger."""
        for number in range(5):
            write(tmp_path, "trainA", f"a{number}.png", gradient(number))
        for number in range(3):
            write(tmp_path, "trainB", f"b{number}.png", gradient(100 + number, 20, 24))
        return section("unpaired", tmp_path)

    def test_an_epoch_is_the_longer_side(self, data):
        samples = training(data)
        assert len(samples) == 5
        for epoch in range(3):
            drawn = {int(samples[5 * epoch + place]["source"][0, 0, 0]) for place in range(5)}
            assert drawn == set(range(5))

    def test_the_longer_side_may_be_b(self, data):
        for number in range(3, 8):
            write(data.root, "trainB", f"b{number}.png", gradient(100 + number))
        samples = training(data)
        assert len(samples) == 8
        assert sorted(int(samples[counter]["photo"][0, 0, 0]) for counter in range(8)) == list(range(100, 108))
        assert {int(samples[counter]["source"][0, 0, 0]) for counter in range(40)} == set(range(5))

    def test_partners_are_drawn_from_seed_and_counter(self, data):
        def partners(seed):
            samples = training(data, seed=seed)
            return [(samples[c].name, int(samples[c]["photo"][0, 0, 0])) for c in range(30)]

        assert partners(0) == partners(0) != partners(1)
        pairs = set(partners(0))
        assert {photo for _, photo in pairs} == {100, 101, 102}
        assert len(pairs) > 10, "a picture of A meets several of B"
        assert all(name.split(", ")[1] == f"b{photo - 100}" for name, photo in pairs)

    def test_partners_vary_where_both_sides_have_one_length(self, data):
        for number in (3, 4):
            write(data.root, "trainB", f"b{number}.png", gradient(100 + number))
        samples = training(data)
        assert len({(samples[c].name) for c in range(50)}) > 12

    def test_each_side_has_its_own_geometry(self, data):
        samples = training(data, Geometry("crop", Size(height=8, width=10)))
        source = [samples[c]["source"][1:, 0, 0].tolist() for c in range(40)]
        photo = [samples[c]["photo"][1:, 0, 0].tolist() for c in range(40)]
        flips = [(samples[c]["source"][1, 0, 0] > samples[c]["source"][1, 0, 9]).item() for c in range(40)]
        other = [(samples[c]["photo"][1, 0, 0] > samples[c]["photo"][1, 0, 9]).item() for c in range(40)]
        assert source != photo and len({*zip(flips, other, strict=True)}) == 4

    def test_workers_change_nothing(self, data):
        order = BatchOrder(2, 12, batch_size=3)
        alone, helped = (list(make_loader(training(data), order, workers, pin_memory=False)) for workers in (0, 1))
        for first, second in zip(alone, helped, strict=True):
            assert first.names == second.names
            assert torch.equal(first["source"], second["source"]) and torch.equal(first["photo"], second["photo"])

    def test_two_processes_see_the_batches_of_one(self, data):
        samples = training(data)
        one = list(BatchOrder(0, 8, batch_size=4))
        two = [list(BatchOrder(0, 8, batch_size=2, rank=rank, world=2)) for rank in range(2)]
        names = [[samples[c].name for c in batch] for batch in one]
        assert names == [[samples[c].name for c in first + second] for first, second in zip(*two, strict=True)]

    def test_stills(self, data):
        files = find_samples(data, "train", ["source"], optional=["photo"])
        samples = EvalDataset(files, BOTH, data)
        assert [int(samples[place]["photo"][0, 0, 0]) for place in range(5)] == [100, 101, 102, 100, 101]

    def test_each_file_is_looked_at_by_itself_and_once(self, data):
        write(data.root, "trainB", "b1.png", flat(1, height=8)[..., 0])
        (data.root / "trainB" / "b0.png").write_bytes(b"")
        message = refused(data)
        assert "1 problem(s)" in message and "b0.png: is empty" in message
        message = refused(data, stages=[Stage(size="10x10", geometry="crop")])
        assert "b1.png: stages.train: a crop of size 10x10 does not fit into 16x8" in message


class TestPhotos:
    @pytest.fixture
    def root(self, tmp_path):
        """Write two photos of noise."""
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
            write(tmp_path, "train", f"{number}.png", noise)
        return tmp_path

    @pytest.mark.parametrize(
        ("given", "source", "photo"),
        [
            ({"kind": "edges", "blur": 0}, (1, torch.uint8), (3, torch.uint8)),
            ({"kind": "grey"}, (1, torch.uint8), (3, torch.uint8)),
            ({"kind": "lab"}, (1, torch.float32), (2, torch.float32)),
            ({"kind": "low_resolution", "factor": 2}, (3, torch.uint8), (3, torch.uint8)),
        ],
    )
    def test_one_way_for_all(self, root, given, source, photo):
        """Training makes the input from the crop; evaluation and inference make the same from the whole."""
        data = section("photos", root, input=given)
        sample = training(data)[0]
        assert (sample["source"].shape, sample["source"].dtype) == ((source[0], 8, 10), source[1])
        assert (sample["photo"].shape, sample["photo"].dtype) == ((photo[0], 8, 10), photo[1])
        whole = still(data)
        array, truth = read_source(data, str(root / "train" / "0.png"))
        assert np.array_equal(whole["source"].numpy().transpose(1, 2, 0), array)
        assert truth.shape == (12, 16, 3)
        if photo[0] == 3:
            again = data.make({"photo": sample["photo"].numpy().transpose(1, 2, 0)}, ["source"], None)["source"]
            assert np.array_equal(sample["source"].numpy().transpose(1, 2, 0), again)

    def test_the_root_itself(self, root):
        for file in (root / "train").iterdir():
            file.rename(root / file.name)
        (root / "train").rmdir()
        write(root, "test", "9.png", flat(1, 2, 3))
        data = section("photos", root, input={"kind": "grey"})
        assert [sample.name for sample in find_samples(data, "train", BOTH)] == ["0", "1"]
        assert [sample.name for sample in find_samples(data, "test", BOTH)] == ["9"]

    def test_another_folder(self, root):
        (root / "train").rename(root / "summer")
        data = section("photos", root, input={"kind": "grey"}, train="summer")
        assert len(find_samples(data, "summer", BOTH)) == 2
        with pytest.raises(UserError, match=r"train/ not found"):
            find_samples(data.model_copy(update={"train": "train"}), "train", BOTH)

    def test_grey_photos_made_larger(self, root):
        data = section("photos", root, photo_channels=1, input={"kind": "low_resolution"})
        assert data.source_channels == 1 and still(data)["source"].shape == (1, 12, 16)

    def test_ready(self, root):
        data = section("photos", root, input={"kind": "low_resolution", "factor": 4})
        array, truth = read_source(data, str(root / "train" / "0.png"), ready=True)
        assert array.shape == (48, 64, 3) and truth is None

    def test_the_other_direction(self, root):
        data, path = section("photos", root, input={"kind": "edges"}), str(root / "train" / "0.png")
        drawing, photo = read_source(data, path)
        source, truth = read_source(data, path, "photo")
        assert np.array_equal(source, photo) and np.array_equal(truth, drawing)
        array, truth = read_source(data, path, "photo", ready=True)
        assert np.array_equal(array, photo) and truth is None

    def test_colours_come_back(self, root):
        data = section("photos", root, input={"kind": "lab"})
        sample = still(data)
        back = data.result_of({"source": sample["source"].numpy().transpose(1, 2, 0)}, sample["photo"])
        photo = cv2.imread(str(root / "train" / "0.png"))[..., ::-1]
        assert (result(data).kind, result(data).size) == ("image", 3)
        assert np.abs(back.astype(int) - photo).max() <= 1
        columns = data.viewable({"source": sample["source"][None], "result": sample["photo"][None]})
        assert columns["source"].shape == (1, 1, 12, 16) and columns["result"].shape == (1, 3, 12, 16)
        assert np.allclose((columns["result"][0].numpy().transpose(1, 2, 0) + 1) * 127.5, back, atol=0.01)

    def test_labels_are_no_field(self, root):
        with pytest.raises(UserError, match=r"photos has source, photo, but label is required"):
            find_samples(section("photos", root, input={"kind": "grey"}), "train", ["label"])


class TestPhotosToMaps:
    @pytest.fixture
    def root(self, tmp_path):
        """Write a photo with maps of three classes and two instances."""
        label = np.zeros((12, 16), np.uint8)
        label[:, 8:], label[0, 0] = 2, 255
        write(tmp_path, "train_img", "1.png", gradient(9))
        write(tmp_path, "train_label", "1.png", label)
        write(tmp_path, "train_inst", "1.png", np.repeat(np.arange(12) // 6, 16).reshape(12, 16).astype(np.uint16))
        return tmp_path

    def test_labels(self, root):
        data = section("photos_to_maps", root, target="labels", labels=3)
        sample = still(data)
        assert sample["source"][:, 0, 0].tolist() == [9, 0, 0] and sample["photo"].shape == (3, 12, 16)
        assert sample["photo"][:, 1, 1].tolist() == [255, 0, 0] and sample["photo"][:, 1, 9].tolist() == [0, 0, 255]
        assert sample["photo"][:, 0, 0].tolist() == [0, 0, 0], "no class"
        ids = data.result_of({}, sample["photo"].float() / 127.5 - 1)
        assert ids.dtype == np.uint8 and ids[1].tolist() == [0] * 8 + [2] * 8
        assert (result(data).kind, result(data).size) == ("ids", 3)
        shown = data.viewable({"source": sample["source"][None], "result": sample["photo"][None]})
        assert shown["source"].ndim == 4 and shown["result"].shape == (1, 12, 16)
        assert len(class_table(data)) == 3 and training(data)[0]["photo"].shape == (3, 8, 10)

    @pytest.mark.parametrize(("target", "row", "column"), [("label_boundaries", 4, 8), ("instance_boundaries", 6, 2)])
    def test_boundaries(self, root, target, row, column):
        data = section("photos_to_maps", root, target=target)
        photo = still(data)["photo"]
        assert photo.shape == (1, 12, 16) and photo[0, row, column] == 255 and photo[0, 9, 14] == 0
        assert class_table(data) is None and (result(data).kind, result(data).size) == ("image", 1)
        assert set(training(data)[0]["photo"].unique().tolist()) <= {0, 255}, "maps are never mixed"

    def test_bad_ids(self, root):
        message = refused(section("photos_to_maps", root, target="labels", labels=2))
        assert "ids that are no class: 2 (96 pixels" in message and "data.labels=3" in message

    def test_photos_alone_can_be_shown(self, root):
        data = section("photos_to_maps", root, target="labels", labels=3)
        write(root, "test_img", "7.png", gradient(1))
        files = find_samples(data, "test", ["source"], optional=["photo"])
        assert "photo" not in EvalDataset(files, BOTH, data)[0].fields
        assert isinstance(data, PhotosToMaps)


class TestComponents:
    """Label maps without instance maps: the instances are the connected components of the classes."""

    FIELDS = ("label", "instance", "photo")

    @pytest.fixture
    def data(self, tmp_path):
        """Write label maps of two spots of class 1, and photos."""
        label = np.zeros((12, 16), np.uint8)
        label[2:6, 2:7], label[7:11, 9:14] = 1, 1
        for split in ("train", "test"):
            write(tmp_path, f"{split}_label", "1.png", label)
        write(tmp_path, "train_img", "1.png", gradient(9))
        return section("label_maps", tmp_path, labels=2, instances="components")

    def test_they_are_made_from_the_cropped_map(self, data):
        sample = still(data, fields=self.FIELDS)
        assert sample["instance"].dtype == torch.int32 and len(sample["instance"].unique()) == 3
        for drawn in (training(data, seed=seed, fields=self.FIELDS)[seed] for seed in range(6)):
            assert drawn["label"].shape == (8, 10)
            assert np.array_equal(drawn["instance"].numpy(), derived.components(drawn["label"].numpy()))

    def test_no_instance_files_are_looked_for(self, data):
        (data.root / "train_inst").mkdir()
        files = find_samples(data, "train", self.FIELDS)
        assert set(files[0].paths) == {"label", "photo"}
        preflight(files, self.FIELDS, data)
        (label,) = find_samples(data, "test", ["instance"])
        assert set(label.paths) == {"label"}

    def test_missing_instance_maps_name_the_way_out(self, data):
        with pytest.raises(UserError, match=r"train_inst/ not found.*data\.instances=components makes them"):
            find_samples(data.model_copy(update={"instances": "files"}), "train", self.FIELDS)


class TestValidation:
    def names(self, data, count):
        """Return the names to train on and to validate with, of so many files."""
        for number in range(count):
            write(data.root, "train", f"{number:03d}.png", flat(1, height=1, width=2)[..., 0])
        return [[s.name for s in part] for part in hold_back(data, find_samples(data, "train", BOTH), BOTH)]

    def test_a_share_by_name(self, tmp_path):
        data = section("side_by_side", tmp_path, validation=0.2)
        train, held = self.names(data, 50)
        assert 4 <= len(held) <= 17 and sorted(train + held) == [f"{n:03d}" for n in range(50)]
        more_train, more_held = self.names(data, 90)
        assert set(held) <= set(more_held) and set(train) <= set(more_train), "nobody changes sides"

    def test_at_least_one(self, tmp_path):
        train, held = self.names(section("side_by_side", tmp_path, validation=0.001), 4)
        assert len(train) == 3 and len(held) == 1

    def test_nothing_left(self, tmp_path):
        with pytest.raises(UserError, match=r"data\.validation: 0\.5 of 1 sample\(s\) leaves none to train on"):
            self.names(section("side_by_side", tmp_path, validation=0.5), 1)

    def test_a_folder(self, tmp_path):
        write(tmp_path, "val", "x.png", flat(1, width=2)[..., 0])
        train, held = self.names(section("side_by_side", tmp_path, validation="val"), 3)
        assert train == ["000", "001", "002"] and held == ["x"]
        with pytest.raises(UserError, match="other/ not found"):
            self.names(section("side_by_side", tmp_path, validation="other"), 3)

    def test_none(self, tmp_path):
        assert self.names(section("side_by_side", tmp_path), 2) == [["000", "001"], []]

    def test_unpaired_sides_are_split_each(self, tmp_path):
        for number in range(40):
            write(tmp_path, "trainA", f"{number}.png", flat(1, height=1, width=2)[..., 0])
        for number in range(9):
            write(tmp_path, "trainB", f"b{number}.png", flat(1, height=1, width=2)[..., 0])
        data = section("unpaired", tmp_path, validation=0.2)
        train, held = hold_back(data, find_samples(data, "train", BOTH), BOTH)
        for side, count in (("source", 40), ("photo", 9)):
            kept, back = ({sample.paths[side] for sample in part} for part in (train, held))
            assert len(kept) + len(back) == count and not kept & back and back
        assert len(EvalDataset(held, BOTH, data)) == len(held)

    def test_it_is_a_share_or_a_name(self, tmp_path):
        for wrong in (0, 1, 1.5, -0.1, True, "", []):
            with pytest.raises(ValueError, match=r"is a share of the training files, as 0\.1, or the name of a folder"):
                section("side_by_side", tmp_path, validation=wrong)


class TestSections:
    @pytest.mark.parametrize(
        ("kind", "given", "words"),
        [
            (
                "photos",
                {"input": {"kind": "edges"}, "source_channels": 3},
                "source_channels is 3, but input: edges makes",
            ),
            ("photos", {"input": {"kind": "edges", "low": 9, "high": 3}}, "low 9 is above high 3"),
            ("photos", {"input": {"kind": "edges"}, "photo_channels": 4}, "is made from 1 or 3 channels"),
            (
                "photos",
                {"input": {"kind": "lab"}, "photo_channels": 3},
                "photo_channels is 3, but input: lab makes it 2",
            ),
            ("photos", {"input": {"kind": "low_resolution", "factor": 1}}, "greater than or equal to 2"),
            ("photos", {}, "input"),
            ("photos_to_maps", {"target": "labels"}, "target: labels needs labels"),
            (
                "photos_to_maps",
                {"target": "labels", "labels": 3, "photo_channels": 1},
                "makes it 3; leave photo_channels",
            ),
            ("photos_to_maps", {"target": "labels", "labels": 2000}, "2000 are more than 1024"),
            ("side_by_side", {"source_channels": 4}, "are read from one file"),
            ("side_by_side", {"direction": "AtoC"}, "'AtoB' or 'BtoA'"),
            ("unpaired", {"direction": "AtoB"}, "Extra inputs are not permitted"),
        ],
    )
    def test_refused(self, tmp_path, kind, given, words):
        with pytest.raises(ValueError) as caught:
            section(kind, tmp_path, **given)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("picture_pairs", {"direction": "BtoA", "validation": 0.1}),
            ("side_by_side", {"source_channels": 1}),
            ("unpaired", {}),
            ("photos", {"input": {"kind": "lab"}}),
            ("photos", {"input": {"kind": "low_resolution"}, "photo_channels": 4, "validation": "val"}),
            ("photos_to_maps", {"target": "labels", "labels": 300}),
            ("photos_to_maps", {"target": "label_boundaries"}),
        ],
    )
    def test_a_resolved_section_reads_back(self, tmp_path, kind, given):
        data = section(kind, tmp_path, **given)
        assert type(data).model_validate(data.model_dump(mode="json")) == data


def real(name):
    """Return the folder of a real data set, or skip the test."""
    root = SHARED / "data" / name
    if not root.is_dir():
        pytest.skip(f"the real data set {name} is not beside this checkout")
    return root


class TestRealData:
    def test_facades(self):
        data = section("picture_pairs", real("facades"), direction="BtoA")
        assert refused(data) == "" and len(find_samples(data, "train", BOTH)) == 400
        assert len(find_samples(data, "test", BOTH)) == 106
        geometry = Geometry("resize_and_crop", Size(height=256, width=256), Size(height=286, width=286))
        sample = training(data, geometry)[0]
        assert sample["source"].shape == sample["photo"].shape == (3, 256, 256)
        colours = still(data)["source"].float().flatten(1).unique(dim=1).shape[1]
        assert colours < still(data)["photo"].float().flatten(1).unique(dim=1).shape[1], (
            "the source is the label picture"
        )

    def test_facades_side_by_side(self):
        data = section("side_by_side", real("facades_side_by_side"), direction="BtoA")
        assert refused(data) == "" and len(find_samples(data, "train", BOTH)) == 50
        assert still(data)["source"].shape[2] == 256
        geometry = Geometry("resize_and_crop", Size(height=256, width=256), Size(height=286, width=286))
        assert training(data, geometry)[7]["source"].shape == (3, 256, 256)

    def test_edges2shoes(self):
        data = section("side_by_side", real("edges2shoes"), test="val", source_channels=1)
        assert refused(data) == "" and len(find_samples(data, "val", BOTH)) == 20
        sample = still(data)
        assert sample["source"].shape == (1, 256, 256) and sample["source"].float().mean() > 200, "black lines on white"

    def test_summer2winter(self):
        root = real("summer2winter")
        data = section("unpaired", root)
        assert refused(data) == "" and len(find_samples(data, "train", BOTH)) == 200
        assert training(data)[0]["source"].shape == (3, 8, 10)
        for given in ({"kind": "edges"}, {"kind": "lab"}, {"kind": "low_resolution"}):
            photos = section("photos", root, train="trainA", test="testA", input=given)
            assert refused(photos) == "" and still(photos, "trainA")["photo"].shape[1:] == (256, 256)

    def test_cityscapes(self):
        data = section("photos_to_maps", real("cityscapes"), target="labels", labels=35)
        assert refused(data) == ""
        geometry = Geometry("resize", Size(height=32, width=64))
        sample = training(data, geometry)[0]
        assert sample["photo"].shape == (35, 32, 64) and (sample["photo"].sum(0, dtype=torch.int64) == 255).all()
