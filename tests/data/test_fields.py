"""Kinds of field: read, checked, moved with the picture, stacked, padded out and exported."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch

from hdtrans.common.errors import UserError
from hdtrans.config.inputs import Field
from hdtrans.config.stage import Size, Stage
from hdtrans.data.dataset import EvalDataset, TrainingSamples, make_loader
from hdtrans.data.fields import Spec, as_bytes, as_floats, as_words, check_ids, kind_of
from hdtrans.data.folders import find_samples
from hdtrans.data.geometry import Geometry, Plan
from hdtrans.data.io.header import probe
from hdtrans.data.kinds.base import DataKind
from hdtrans.data.preflight import preflight

POINTS = Field("points", 3, "pixels")
VECTOR = Field("vector", 2)
NORMAL = Field("vector", 2, "normal")
MASK = Field("image", 1, "binary")
IMAGE = Field("image", 3)
CLASSES = Field("ids", 5, "classes")
INSTANCES = Field("ids", None, "instances")
SEED = Field("seed")
NAN = float("nan")


def row(folder: Path, *numbers: Any) -> str:
    """Write a table of one row and return the path of the row."""
    columns = ",".join(f"c{place}" for place in range(len(numbers)))
    text = f"name,{columns}\na,{','.join(map(str, numbers))}\n"
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return f"{folder}/t.csv/a"


def picture(file: Path, array: Any) -> str:
    """Write a picture and return its path."""
    assert cv2.imwrite(str(file), array)
    return str(file)


class TestRead:
    def test_points(self, tmp_path: Path) -> None:
        found = kind_of(POINTS).read(POINTS, row(tmp_path, 1, 2.5, "", "", -3, 4))
        assert found.dtype == np.float32 and np.isnan(found).sum() == 2
        assert np.array_equal(found, [[1, 2.5], [NAN, NAN], [-3, 4]], equal_nan=True)
        with pytest.raises(UserError, match=r"t\.csv/a: has 4 numbers; 3 points have 6, x and y by turns"):
            kind_of(POINTS).read(POINTS, row(tmp_path, 1, 2, 3, 4))

    def test_vectors(self, tmp_path: Path) -> None:
        assert kind_of(VECTOR).read(VECTOR, row(tmp_path, -1, 0.5)).tolist() == [-1, 0.5]
        assert kind_of(NORMAL).read(NORMAL, row(tmp_path, -3, 2)).tolist() == [-3, 2]
        for numbers, message in (
            ((1, 0, 0), r"t\.csv/a: has shape \(3,\); 2 numbers are expected"),
            ((1, ""), r"t\.csv/a: has numbers that are missing or not finite; 2 numbers are expected"),
            ((1, -1.5), r"t\.csv/a: holds numbers from -1\.5 to 1; allowed are -1 to 1"),
        ):
            with pytest.raises(UserError, match=message):
                kind_of(VECTOR).read(VECTOR, row(tmp_path, *numbers))

    def test_masks(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "m.png", np.array([[0, 1, 128, 255]], np.uint8))
        found = kind_of(MASK).read(MASK, path)
        assert found.shape == (1, 4, 1) and found.dtype == np.uint8 and found.flatten().tolist() == [0, 255, 255, 255]
        coloured = picture(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
        assert "this is a picture of 3 channels" in kind_of(MASK).problem(MASK, probe(coloured))
        assert kind_of(MASK).problem(MASK, probe(path)) == ""
        assert kind_of(IMAGE).problem(IMAGE, probe(coloured)) == ""

    def test_ids_and_images(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "i.png", np.array([[0, 4]], np.uint8))
        assert kind_of(CLASSES).read(CLASSES, path).dtype == np.uint8
        assert kind_of(INSTANCES).read(INSTANCES, path).dtype == np.int32
        assert kind_of(IMAGE).read(IMAGE, path).shape == (1, 2, 3)


class TestChecked:
    def test_points(self) -> None:
        given = [[1, 2], [NAN, NAN], [0, 0]]
        found = kind_of(POINTS).checked(POINTS, "landmarks", given)
        assert found.dtype == np.float32 and np.array_equal(found, given, equal_nan=True)
        for wrong in (given[:2], [[1, 2, 3]] * 3, [[1, np.inf], [0, 0], [0, 0]]):
            with pytest.raises(UserError, match=r"landmarks: has shape .*; \(3, 2\) pixel coordinates x, y are"):
                kind_of(POINTS).checked(POINTS, "landmarks", wrong)
        with pytest.raises(UserError, match=r"landmarks: is of type str; an array \(N, 2\) of pixel coordinates"):
            kind_of(POINTS).checked(POINTS, "landmarks", "eyes")

    def test_vectors(self) -> None:
        assert kind_of(VECTOR).checked(VECTOR, "attributes", [1, -1]).dtype == np.float32
        assert kind_of(NORMAL).checked(NORMAL, "style", np.array([3.0, 0])).tolist() == [3, 0]
        for wrong in ([1], [[1, 1]], [1, NAN], [1, np.inf], [1, 2]):
            with pytest.raises(UserError, match=r"attributes: ha|attributes: holds numbers from 1 to 2"):
                kind_of(VECTOR).checked(VECTOR, "attributes", wrong)
        with pytest.raises(UserError, match=r"attributes: is of type dict; a list or array of numbers is expected"):
            kind_of(VECTOR).checked(VECTOR, "attributes", {})

    @pytest.mark.parametrize(
        "given",
        [
            np.array([[False, True]]),
            np.array([[0, 7]], np.int64),
            np.array([[[0], [255]]], np.uint8),
            np.array([[-1, 1]], np.float32),
        ],
    )
    def test_masks(self, given: Any) -> None:
        found = kind_of(MASK).checked(MASK, "mask", given)
        assert found.dtype == np.uint8 and found.shape == (1, 2, 1) and found.flatten().tolist() == [0, 255]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (np.zeros((4, 4, 3), np.uint8), r"mask: has shape \(4, 4, 3\) and type uint8; a mask \(H, W\) is expected"),
            (np.zeros((0, 4), bool), r"mask: has shape \(0, 4\)"),
            (np.zeros(4, bool), r"mask: has shape \(4,\)"),
            (np.array([[0, 1.0]]), r"mask: holds floating point values other than -1 and 1"),
            ([[0, 1]], r"mask: is of type list; a numpy array is wanted"),
        ],
    )
    def test_no_masks(self, given: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            kind_of(MASK).checked(MASK, "mask", given)

    def test_ids(self) -> None:
        assert check_ids("label", np.zeros((2, 3, 1), np.int64)).shape == (2, 3)
        for wrong in (np.zeros((2, 3)), np.zeros((2, 3, 2), int), np.zeros((0, 3), int)):
            with pytest.raises(UserError, match=r"label: has shape .*; \(H, W\) integers are wanted"):
                check_ids("label", wrong)
        with pytest.raises(UserError, match=r"label: holds ids from -1 to 0; allowed are 0 to 2147483647"):
            check_ids("label", np.array([[-1, 0]]))

    def test_seeds(self) -> None:
        assert kind_of(SEED).checked(SEED, "seed", 7).dtype == np.int64
        for wrong in (-1, 2**63, 1.5, "x"):
            with pytest.raises(UserError, match=r"seed .*: a seed is a number from 0 to 2\*\*63 - 1"):
                kind_of(SEED).checked(SEED, "seed", wrong)


class TestMoved:
    SIZE = (20, 40)
    GIVEN = np.array([[4, 6], [NAN, NAN], [40, 20]], np.float32)

    def moved(self, plan: Plan, mirror: Any = None) -> Any:
        """Return the points after a plan."""
        found = kind_of(POINTS).moved(plan, self.GIVEN, self.SIZE, mirror)
        assert found.dtype == np.float32
        return found

    def test_scaled(self) -> None:
        assert np.array_equal(self.moved(Plan(resize=(10, 80))), [[8, 3], [NAN, NAN], [80, 10]], equal_nan=True)

    def test_cropped(self) -> None:
        """Points outside a crop keep their coordinates: nothing is clipped."""
        assert np.array_equal(self.moved(Plan(crop=(5, 10, 8, 20))), [[-6, 1], [NAN, NAN], [30, 15]], equal_nan=True)

    def test_mirrored(self) -> None:
        assert np.array_equal(self.moved(Plan(flip=True)), [[36, 6], [NAN, NAN], [0, 20]], equal_nan=True)
        swapped = self.moved(Plan(flip=True), (2, 1, 0))
        assert np.array_equal(swapped, [[0, 20], [NAN, NAN], [36, 6]], equal_nan=True)
        assert np.array_equal(self.moved(Plan(), (2, 1, 0)), self.GIVEN, equal_nan=True), "only where it is mirrored"

    def test_all_of_it(self) -> None:
        found = self.moved(Plan(resize=(40, 80), crop=(10, 6, 20, 30), flip=True), (1, 2, 0))
        assert np.array_equal(found, [[NAN, NAN], [30 - 74, 30], [30 - 2, 2]], equal_nan=True)

    @pytest.mark.parametrize("flip", [False, True])
    def test_points_stay_on_the_pixels_they_mark(self, flip: bool) -> None:
        """A white pixel's centre is a point; the picture and the point go the same way."""
        plan = Plan(resize=(40, 120), crop=(7, 11, 30, 100), flip=flip)
        dark, row, column = np.zeros((20, 40, 3), np.uint8), 9, 23
        dark[row, column] = 255
        point = np.array([[column + 0.5, row + 0.5]], np.float32)
        (x, y), marked = plan.points(point, (20, 40))[0], plan.map(dark[..., 0])
        rows, columns = np.nonzero(marked)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y))

    def test_masks_are_never_mixed(self) -> None:
        mask = np.zeros((20, 40, 1), np.uint8)
        mask[3:15, 7:29] = 255
        plan = Plan(resize=(13, 27), crop=(1, 2, 9, 20), flip=True)
        found = kind_of(MASK).moved(plan, mask, self.SIZE)
        assert found.shape == (9, 20, 1) and set(np.unique(found)) == {0, 255}
        assert np.array_equal(found[..., 0], plan.map(mask[..., 0]))
        grey = kind_of(IMAGE).moved(plan, np.repeat(mask, 3, 2), self.SIZE)
        assert len(np.unique(grey)) > 2, "which a picture is"

    def test_vectors_stay(self) -> None:
        given = np.array([1, -1], np.float32)
        assert kind_of(VECTOR).moved(Plan(resize=(4, 4), flip=True), given, self.SIZE) is given

    def test_resampled(self) -> None:
        """To try a model on another size, roughly."""
        found = kind_of(POINTS).resampled(self.GIVEN, 10, 80, self.SIZE)
        assert np.array_equal(found, [[8, 3], [NAN, NAN], [80, 10]], equal_nan=True)
        ids = np.arange(6).reshape(2, 3)
        assert kind_of(CLASSES).resampled(ids, 4, 3, (2, 3)).tolist() == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2
        assert kind_of(IMAGE).resampled(np.zeros((2, 3, 3), np.uint8), 5, 7, (2, 3)).shape == (5, 7, 3)
        vector = np.zeros(2, np.float32)
        assert kind_of(VECTOR).resampled(vector, 5, 7, (2, 3)) is vector


class TestTensors:
    @pytest.mark.parametrize(
        ("spec", "shape", "dtype"),
        [
            (CLASSES, (2, 4, 6), torch.uint8),
            (INSTANCES, (2, 4, 6), torch.int32),
            (IMAGE, (2, 3, 4, 6), torch.uint8),
            (MASK, (2, 1, 4, 6), torch.uint8),
            (VECTOR, (2, 2), torch.float32),
            (POINTS, (2, 3, 2), torch.float32),
            (SEED, (2,), torch.int64),
        ],
    )
    def test_placeholders_and_absent_inputs(self, spec: Spec, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        held = kind_of(spec).placeholder(spec, 2, 4, 6)
        assert tuple(held.shape) == shape and held.dtype == dtype and not held.any()
        absent = kind_of(spec).absent(spec, 2, 4, 6)
        assert tuple(absent.shape) == shape and absent.dtype == dtype
        assert absent.isnan().all() if spec is POINTS else not absent.any()

    def test_absent_features_are_zero_and_absent_pictures_black(self) -> None:
        features = Field("image", 3, "features")
        absent = kind_of(features).absent(features, 1, 2, 2)
        assert absent.dtype == torch.float32 and not kind_of(features).as_graph_input(absent).any()
        assert (kind_of(MASK).as_graph_input(kind_of(MASK).absent(MASK, 1, 2, 2)) == -1).all()

    def test_tensors_of_one_sample(self) -> None:
        words = kind_of(IMAGE).tensor(np.full((2, 3, 3), 40000, np.uint16))
        assert words.shape == (3, 2, 3) and words.dtype == torch.int32 and (words == 40000).all()
        assert kind_of(CLASSES).tensor(np.full((2, 3), 300, np.uint16)).dtype == torch.int32
        assert kind_of(CLASSES).tensor(np.full((2, 3), 3, np.uint8)).dtype == torch.uint8
        assert kind_of(POINTS).tensor(np.zeros((3, 2), np.float32)).shape == (3, 2)

    @pytest.mark.parametrize(
        ("spec", "given", "expected"),
        [
            (CLASSES, torch.tensor([[[200]]], dtype=torch.uint8), torch.tensor([[[200]]], dtype=torch.int32)),
            (IMAGE, torch.tensor([[[[255]]]], dtype=torch.uint8), torch.tensor([[[[1.0]]]])),
            (IMAGE, torch.tensor([[[[0]]]], dtype=torch.int32), torch.tensor([[[[-1.0]]]])),
            (VECTOR, torch.tensor([[1, 2]]), torch.tensor([[1.0, 2]])),
            (POINTS, torch.tensor([[[1.0, NAN]]], dtype=torch.float64), torch.tensor([[[1.0, NAN]]])),
            (SEED, torch.tensor([3], dtype=torch.int32), torch.tensor([3])),
        ],
    )
    def test_graph_inputs(self, spec: Spec, given: torch.Tensor, expected: torch.Tensor) -> None:
        found = kind_of(spec).as_graph_input(given)
        assert found.dtype == expected.dtype and torch.equal(found.nan_to_num(9), expected.nan_to_num(9))

    @pytest.mark.parametrize(
        ("spec", "varies"),
        [
            (CLASSES, {0: "batch", 1: "height", 2: "width"}),
            (IMAGE, {0: "batch", 2: "height", 3: "width"}),
            (MASK, {0: "batch", 2: "height", 3: "width"}),
            (VECTOR, {0: "batch"}),
            (POINTS, {0: "batch"}),
            (SEED, {0: "batch"}),
        ],
    )
    def test_sizes_of_graphs_that_vary(self, spec: Spec, varies: dict[int, str]) -> None:
        assert kind_of(spec).dynamic() == varies

    def test_spatial_and_files(self) -> None:
        specs = (CLASSES, IMAGE, MASK, VECTOR, POINTS, SEED)
        assert [kind_of(spec).spatial for spec in specs] == [True] * 3 + [False] * 3
        assert [kind_of(spec).has_file for spec in specs] == [True] * 3 + [False] * 3

    def test_bytes_and_words_come_back(self) -> None:
        levels = torch.arange(256, dtype=torch.uint8)
        assert torch.equal(as_bytes(as_floats(levels, torch.float32)), levels)
        words = torch.arange(0, 65536, dtype=torch.int32)
        assert torch.equal(as_words(as_floats(words, torch.float32)).int(), words)


class Faces(DataKind):
    """Photos with a mask, landmarks and attributes: a kind with all kinds of field."""

    kind: Literal["faces"] = "faces"

    @property
    def fields(self) -> Mapping[str, Field]:
        """The photo, where it is hidden, three points and two numbers."""
        return {"photo": IMAGE, "mask": MASK, "points": POINTS, "attributes": VECTOR}

    def folders(self, split: str, index: Any) -> dict[str, str]:
        tables = {name: f"{split}_{name}.csv" for name in ("points", "attributes")}
        return {"photo": f"{split}_photo", "mask": f"{split}_mask", **tables}

    def mirrored_points(self, field: str) -> tuple[int, ...] | None:
        return (2, 1, 0) if field == "points" else None


class TestSamples:
    FIELDS: Collection[str] = ("photo", "mask", "points", "attributes")

    @pytest.fixture
    def data(self, tmp_path: Path) -> Faces:
        """Write two photos that are red around their points, with masks there; blue tells the side."""
        rows, numbers = [], []
        for name, (x, y) in (("day/1", (10, 6)), ("2", (24, 15))):
            dark = np.zeros((20, 40, 3), np.uint8)
            dark[..., 0] = np.arange(40) * 6
            dark[y - 2 : y + 2, x - 2 : x + 2, 2] = 255
            for folder, array in (("photo", dark), ("mask", dark[..., 2] // 255)):
                file = tmp_path / f"train_{folder}" / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture(file, array)
            rows.append(f"{name}.png,{x},{y},,,{40 - x},{20 - y}")
            numbers.append(f"{name},1,{-0.5 if name == '2' else 0.5}")
        points = "\n".join(["name,x0,y0,x1,y1,x2,y2", *rows])
        (tmp_path / "train_points.csv").write_text(points, encoding="utf-8")
        (tmp_path / "train_attributes.csv").write_text("\n".join(["name,a,b", *numbers[::-1]]), encoding="utf-8")
        return Faces(root=tmp_path)

    def test_rows_are_paired_with_files(self, data: Faces) -> None:
        files = find_samples(data, "train", self.FIELDS)
        preflight(files, self.FIELDS, data, [Stage(size="16x16", geometry="crop")])
        samples = EvalDataset(files, self.FIELDS, data)
        assert [samples[place].name for place in range(2)] == ["2", "day/1"]
        assert samples[1]["points"][0].tolist() == [10, 6] and samples[1]["points"][1].isnan().all()
        assert samples[1]["attributes"].tolist() == [1, 0.5] and samples[0]["attributes"].tolist() == [1, -0.5]
        assert samples[1]["mask"].shape == (1, 20, 40) and set(samples[1]["mask"].unique().tolist()) == {0, 255}

    def test_points_follow_the_photo(self, data: Faces) -> None:
        geometry = Geometry("resize_and_crop", Size(height=32, width=72), Size(height=40, width=80))
        samples = TrainingSamples(find_samples(data, "train", self.FIELDS), self.FIELDS, data, geometry, 0, 0)
        mirrored = 0
        for counter in range(30):
            sample = samples[counter]
            flipped = bool(sample["photo"][2, 0, 0] > sample["photo"][2, 0, -1])
            mirrored += flipped
            x, y = sample["points"][2 if flipped else 0].tolist()
            for field in ("photo", "mask"):
                rows, columns = np.nonzero(sample[field][0].numpy() > 127)
                assert abs(columns.mean() + 0.5 - x) < 1 and abs(rows.mean() + 0.5 - y) < 1
            assert sample["points"][1].isnan().all() and set(sample["mask"].unique().tolist()) <= {0, 255}
        assert 5 < mirrored < 25

    def test_batches(self, data: Faces) -> None:
        samples = EvalDataset(find_samples(data, "train", self.FIELDS), self.FIELDS, data)
        (batch,) = make_loader(samples, [[0, 1]], workers=0, pin_memory=False)
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.fields.items()}
        assert shapes == {"photo": (2, 3, 20, 40), "mask": (2, 1, 20, 40), "points": (2, 3, 2), "attributes": (2, 2)}
        assert batch.size == (20, 40) and batch["points"].dtype == torch.float32 and batch.get("label") is None

    def test_rows_that_are_wrong_are_found_before_training(self, data: Faces) -> None:
        (data.root / "train_attributes.csv").write_text("name,a,b\n2,1,\nday/1,1,3\n", encoding="utf-8")
        with pytest.raises(UserError) as caught:
            preflight(find_samples(data, "train", self.FIELDS), self.FIELDS, data)
        assert "2 problem(s) in 2 samples" in str(caught.value)
        assert "train_attributes.csv/2: has numbers that are missing" in str(caught.value)
        assert "train_attributes.csv/day/1: holds numbers from 1 to 3" in str(caught.value)

    def test_rows_without_files_and_tables_without_rows(self, data: Faces) -> None:
        (data.root / "train_attributes.csv").write_text("name,a,b\n2,1,0\n3,1,0\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"  train_attributes\.csv \(attributes\) lacks the partner of 1 file"):
            find_samples(data, "train", self.FIELDS)
        (data.root / "train_attributes.csv").write_text("name,a,b\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"train_attributes\.csv: has no rows"):
            find_samples(data, "train", self.FIELDS)
        (data.root / "train_attributes.csv").unlink()
        with pytest.raises(UserError, match=r"train_attributes\.csv not found; .*reads train_photo/, train_mask/, "):
            find_samples(data, "train", self.FIELDS)
