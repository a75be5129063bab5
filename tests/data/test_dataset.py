"""Samples as tensors: the same whatever reads them, checked, and errors that arrive as they were raised."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdtrans.common.errors import SizeMismatch, UserError
from hdtrans.config.stage import Size
from hdtrans.data.batch import Batch
from hdtrans.data.dataset import EvalDataset, TrainingSamples, make_loader
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.picture_pairs import Section as PicturePairs
from hdtrans.data.label_ids import check_label_ids
from hdtrans.data.order import BatchOrder
from tests.data import loader_programs
from tests.forked import Forked
from tests.mutants.drawing import DrawnByTheWorker, DrawnInTurn

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FIELDS = ("label", "instance", "photo")
CROP = Geometry("crop", Size(height=8, width=12))


@pytest.fixture
def data(tmp_path):
    """Write five samples whose instance map and photo tell the file and the pixel."""
    for folder in ("train_label", "train_inst", "train_img"):
        (tmp_path / folder).mkdir()
    rows, columns = np.mgrid[:16, :20].astype(np.uint8)
    for number in range(5):
        label = (rows + columns + number) % 7
        photo = np.stack([np.full_like(rows, number), columns, rows], axis=2)  # OpenCV writes blue first
        cv2.imwrite(str(tmp_path / "train_label" / f"{number}.png"), label)
        cv2.imwrite(str(tmp_path / "train_inst" / f"{number}.png"), label.astype(np.uint16) * 1000)
        cv2.imwrite(str(tmp_path / "train_img" / f"{number}.png"), photo)
    return LabelMaps(root=tmp_path, labels=7)


def training(data, geometry=CROP, seed=0, fields=FIELDS):
    """Return the training samples of the fixture."""
    return TrainingSamples(find_samples(data, "train", fields), fields, data, geometry, seed, stage=0)


def equal(first, second):
    """Say whether two batches or samples hold the same."""
    tensors, others = dict(first.fields), dict(second.fields)
    assert tensors, "there is something to compare"
    same = replace(first, fields={}) == replace(second, fields={}) and tensors.keys() == others.keys()
    return same and all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


class TestTrainingSamples:
    def test_types_and_shapes(self, data):
        sample = training(data)[0]
        assert sample["label"].dtype == torch.uint8 and sample["label"].shape == (8, 12)
        assert sample["instance"].dtype == torch.int32 and sample["instance"].shape == (8, 12)
        assert sample["photo"].dtype == torch.uint8 and sample["photo"].shape == (3, 8, 12)
        assert "source" not in sample.fields and sample.sample_index == 0 and sample.name in "01234"

    def test_maps_and_photo_show_the_same_pixels(self, data):
        samples = training(data)
        corners, flips = set(), 0
        for counter in range(60):
            sample = samples[counter]
            rows, columns, number = sample["photo"].to(torch.int64)
            assert torch.equal(sample["label"].to(torch.int64), (rows + columns + number) % 7)
            assert torch.equal(sample["instance"].to(torch.int64), sample["label"].to(torch.int64) * 1000)
            assert int(number[0, 0]) == int(sample.name)
            corners.add((int(rows[0, 0]), int(columns[0].min())))
            flips += bool(columns[0, 0] > columns[0, 1])
        assert len(corners) > 30 and 18 < flips < 42

    def test_flip_off(self, data):
        samples = training(data.model_copy(update={"flip": False}))
        assert all(samples[counter]["photo"][1, 0, 0] < samples[counter]["photo"][1, 0, 1] for counter in range(30))

    def test_every_epoch_has_every_file(self, data):
        samples = training(data)
        assert len(samples) == 5
        epochs = [[samples[5 * epoch + place].name for place in range(5)] for epoch in range(3)]
        assert all(sorted(epoch) == list("01234") for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3, "each in an order of its own"

    def test_follows_from_seed_and_counter(self, data):
        assert equal(training(data)[17], training(data)[17])
        assert not equal(training(data)[17], training(data, seed=1)[17])

    def test_other_fields_are_not_read(self, data):
        (data.root / "train_inst" / "0.png").write_bytes(b"")
        samples = training(data, fields=("label", "photo"))
        assert all("instance" not in samples[counter].fields for counter in range(5))

    def test_picture_pairs(self, tmp_path):
        for folder in ("train_A", "train_B"):
            (tmp_path / folder).mkdir()
        np.save(tmp_path / "train_A" / "1.npy", np.linspace(-1, 1, 16 * 20 * 5, dtype=np.float32).reshape(16, 20, 5))
        cv2.imwrite(str(tmp_path / "train_B" / "1.png"), np.full((16, 20), 40000, np.uint16))
        data = PicturePairs(kind="picture_pairs", root=tmp_path, source_channels=5)
        sample = training(data, fields=("source", "photo"))[0]
        assert sample["source"].dtype == torch.float32 and sample["source"].shape == (5, 8, 12)
        assert sample["photo"].dtype == torch.int32 and sample["photo"].shape == (3, 8, 12)
        assert (sample["photo"] == 40000).all() and "label" not in sample.fields

    def test_files_of_different_sizes(self, data):
        cv2.imwrite(str(data.root / "train_img" / "2.png"), np.zeros((16, 21, 3), np.uint8))
        with pytest.raises(
            UserError, match=r"differ in size: label 20x16 .*2\.png.*photo 21x16 \(.*train_img.2\.png\)"
        ):
            [training(data)[counter] for counter in range(5)]

    def test_an_error_in_a_worker_arrives_with_its_facts(self, data):
        cv2.imwrite(str(data.root / "train_img" / "2.png"), np.zeros((16, 21, 3), np.uint8))
        with pytest.raises(SizeMismatch) as raised:
            list(make_loader(training(data), [list(range(5))], workers=1, pin_memory=False))
        assert raised.value.sizes["photo"] == (21, 16) and raised.value.paths["photo"].endswith("2.png")

    def test_a_crop_that_does_not_fit_names_the_file(self, data):
        with pytest.raises(UserError, match=r"train_label.\d\.png: a crop of size 21x8 does not fit into 20x16"):
            training(data, Geometry("crop", Size(height=8, width=21)))[0]

    def test_ids_that_are_no_class(self, data):
        samples = training(data.model_copy(update={"labels": 6}))
        with pytest.raises(UserError, match=r"\.png: ids that are no class: 6 \(\d+ pixels.*data\.labels=7"):
            samples[0]

    def test_no_samples(self, data):
        with pytest.raises(UserError, match="no samples"):
            TrainingSamples([], FIELDS, data, CROP, 0, 0)


class TestLabelIds:
    def test_classes_and_the_ignored_id_pass(self):
        label = np.array([[0, 6], [255, 3]], np.uint8)
        check_label_ids(label, 7, 255, "a.png")
        with pytest.raises(UserError, match=r"255 \(1 pixel, first at row 1, column 0\).*no id is ignored"):
            check_label_ids(label, 7, None, "a.png")

    def test_ids_counts_places_and_keys_are_reported(self):
        label = np.array([[0, 9, 9], [9, 7, 255]], np.int32)
        with pytest.raises(UserError) as caught:
            check_label_ids(label, 7, 255, "a.png")
        assert str(caught.value) == (
            "a.png: ids that are no class: 7 (1 pixel, first at row 1, column 1), "
            "9 (3 pixels, first at row 0, column 1). Classes are 0 to 6 (data.labels=7), 255 is ignored (data.ignore). "
            "Set data.labels=10 if they are classes"
        )

    def test_one_id_may_be_the_one_to_ignore(self):
        with pytest.raises(UserError, match=r"or data\.ignore=254 if it marks pixels without a class"):
            check_label_ids(np.full((2, 2), 254, np.uint8), 7, None, "a.png")

    def test_negative_ids(self):
        with pytest.raises(UserError, match=r"-1 \(1 pixel"):
            check_label_ids(np.array([[-1, 3]]), 7, 255, "label")


class TestEvalDataset:
    def test_centred_and_straight(self, data):
        samples = EvalDataset(find_samples(data, "train", FIELDS), FIELDS, data, CROP)
        assert [sample.name for sample in samples] == list("01234")
        assert samples[3].sample_index == 3
        assert samples[3]["photo"][:, 0, 0].tolist() == [4, 4, 3]

    def test_fields_without_files_are_none(self, data):
        files = find_samples(data, "train", ["label"])
        sample = EvalDataset(files, FIELDS, data)[0]
        assert sample["label"].shape == (16, 20) and "photo" not in sample.fields and "instance" not in sample.fields


def batches(samples, data, workers):
    """Return what a loader brings of counters 3 to 18, from the same random numbers of this process."""
    torch.manual_seed(0)
    made = samples(find_samples(data, "train", FIELDS), FIELDS, data, CROP, seed=0, stage=0)
    return list(make_loader(made, BatchOrder(3, 19, batch_size=4), workers, pin_memory=False))


class TestLoader:
    def test_objects_shared_with_workers_are_frozen_until_the_next_loader(self, data):
        class Ring:
            def __init__(self):
                self.ring = self

        samples = TrainingSamples(find_samples(data, "train", FIELDS), FIELDS, data, CROP, 5, 0)
        try:
            ring = Ring()
            gone = weakref.ref(ring)
            make_loader(samples, [[0]], 1, False)
            assert gc.get_freeze_count() > 0
            del ring
            gc.collect()
            assert gone() is not None, "the collector does not look at it"
            make_loader(samples, [[0]], 1, False)
            assert gone() is None
        finally:
            gc.unfreeze()

    @pytest.mark.bar("B6.6", "the number of workers changes no batch")
    @pytest.mark.parametrize("workers", [1, 2])
    def test_workers_change_nothing(self, data, workers):
        alone, helped = batches(TrainingSamples, data, 0), batches(TrainingSamples, data, workers)
        assert [batch.sample_indices for batch in alone] == [tuple(range(n, n + 4)) for n in range(3, 19, 4)]
        assert len({batch.names for batch in alone}) == 4
        assert all(equal(first, second) for first, second in zip(alone, helped, strict=True))
        assert isinstance(alone[0], Batch) and alone[0]["photo"].shape == (4, 3, 8, 12)

    @pytest.mark.bar("B6.6", "the number of workers changes no batch")
    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize("mutant", [DrawnInTurn, DrawnByTheWorker])
    def test_mutant_that_draws_otherwise_is_seen(self, data, mutant, workers, figure):
        alone, helped = batches(mutant, data, 0), batches(mutant, data, workers)
        differ = sum(not equal(first, second) for first, second in zip(alone, helped, strict=True))
        if (mutant, workers) == (DrawnInTurn, 1):
            assert differ == 0, "one process draws in the same turn"
        else:
            assert differ > 0
            figure(f"mutant {mutant.__name__} with {workers}: {differ} of {len(alone)} batches differ")

    def test_draws_nothing_from_the_global_generator(self, data):
        before = torch.random.get_rng_state()
        list(make_loader(training(data), BatchOrder(0, 4, 2), workers=1, pin_memory=False))
        assert torch.equal(before, torch.random.get_rng_state())

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_user_error_arrives_as_it_was(self, data, workers):
        (data.root / "train_img" / "2.png").write_bytes(b"")
        loader = make_loader(training(data), BatchOrder(0, 5, 1), workers, pin_memory=False)
        with pytest.raises(UserError) as caught:
            list(loader)
        assert str(caught.value) == f"{data.root / 'train_img' / '2.png'}: is empty (0 bytes); write the file again"

    @pytest.mark.parametrize("workers", [0, 1])
    def test_sizes_that_cannot_be_stacked(self, data, workers):
        for folder, shape in (("train_label", (16, 30)), ("train_inst", (16, 30)), ("train_img", (16, 30, 3))):
            cv2.imwrite(str(data.root / folder / "2.png"), np.zeros(shape, np.uint8))
        loader = make_loader(training(data, Geometry()), BatchOrder(0, 5, 5), workers, pin_memory=False)
        with pytest.raises(UserError, match="in the same batch"):
            list(loader)

    def test_our_own_mistakes_keep_their_type(self, data):
        with pytest.raises(AssertionError):
            list(make_loader(training(data), [[-1]], workers=0, pin_memory=False))

    def test_workers_leave_signals_to_the_parent(self, data, tmp_path):
        process = Forked(loader_programs.signalled_at_work, data.root, folder=tmp_path)
        process.wait_for("ready")
        for number in (signal.SIGTERM, signal.SIGINT):
            os.killpg(process.pid, number)
        ended = process.wait(60)
        assert (ended.code, ended.out) == (0, "ready\n199\n"), ended.said

    def test_workers_that_have_not_started_yet_leave_them_too(self, data, tmp_path):
        process = Forked(loader_programs.signalled_at_the_start, data.root, folder=tmp_path)
        process.wait_for("ready")
        time.sleep(0.25)
        os.killpg(process.pid, signal.SIGTERM)
        ended = process.wait(60)
        assert (ended.code, ended.out) == (0, "ready\n200 1\n"), ended.said

    def test_no_worker_is_left_behind(self, data):
        before = set(multiprocessing.active_children())
        batches = iter(make_loader(training(data), BatchOrder(0, 100, 1), workers=2, pin_memory=False))
        next(batches)
        assert len(set(multiprocessing.active_children()) - before) == 2
        batches.close()
        assert not set(multiprocessing.active_children()) - before

    @pytest.mark.unhurried
    def test_a_forgotten_loader_does_not_keep_python_from_ending(self, data):
        """It shows as the interpreter ends, hence in a program of its own."""
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        command = [sys.executable, "-m", "tests.data.loader_programs", str(data.root)]
        start = time.monotonic()
        assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 3
        assert time.monotonic() - start < 30

    def test_lists_of_paths_are_compact(self, data):
        files = [SampleFiles(f"{n:06d}", {"label": f"{data.root}/train_label/{n:06d}.png"}) for n in range(1000)]
        samples = EvalDataset(files, ["label"], data)
        kept = vars(vars(samples)["_reader"])
        assert not any(isinstance(value, list) for value in kept.values())
        with pytest.raises(UserError, match=r"train_label/000777\.png"):
            samples[777]


def test_real_cityscapes():
    root = SHARED / "data" / "cityscapes"
    if not root.is_dir():
        pytest.skip("the real Cityscapes files are not beside this checkout")
    data = LabelMaps(root=root, labels=35)
    geometry = Geometry("resize", Size(height=256, width=512))
    sample = training(data, geometry)[0]
    assert sample["photo"].shape == (3, 256, 512) and sample["label"].shape == sample["instance"].shape == (256, 512)
    assert torch.equal(
        torch.where(sample["instance"] >= 1000, sample["instance"] // 1000, sample["instance"]), sample["label"]
    )
