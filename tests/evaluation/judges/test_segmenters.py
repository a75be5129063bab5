"""Segmentation networks: trained here in seconds, of torchvision, untrusted files of users; protocols of the score."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from hdtrans.cli import run_tool
from hdtrans.common.classes import CITYSCAPES, ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config.stage import Size
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.evaluation.judges.segmenters import Segmenter, load_segmenter
from hdtrans.evaluation.judges.small_segmenter import SegmentationNetwork
from hdtrans.evaluation.judges.train_segmenter import SegmenterTraining, train_segmenter
from hdtrans.evaluation.metrics.segmentation import SegmentationMetric
from hdtrans.evaluation.pairs import Item
from hdtrans.toycity.scenes import CLASS_NAMES
from tests.small_runs import toy_data

CPU = torch.device("cpu")


class _Brightness(nn.Module):
    """Network with a known answer: class 1 for bright pixels."""

    def forward(self, pictures: Tensor) -> Tensor:
        bright = pictures.mean(1, keepdim=True) - 0.5
        return torch.cat([-bright, bright], 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a toy city and a network trained on it."""
    folder = tmp_path_factory.mktemp("segmenter")
    data = toy_data(folder / "city", 6, 2)
    given = [str(data), "--out", str(folder / "network.pt"), "--steps", "3", "--workers", "0"]
    assert run_tool("train_segmenter", given) == 0
    return data, folder / "network.pt"


def test_the_same_seed_gives_the_same_network(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, first = trained
    again = tmp_path / "again.pt"
    assert run_tool("train_segmenter", [str(data), "--out", str(again), "--steps", "3", "--workers", "0"]) == 0
    one, other = (torch.load(file, weights_only=True) for file in (first, again))
    assert one.pop("weights").keys() == (weights := other.pop("weights")).keys()
    assert one == other and one["size"] == [32, 64]
    assert all(torch.equal(value, weights[key]) for key, value in torch.load(first)["weights"].items())
    segmenter = load_segmenter(first, CPU)
    ids, count = segmenter(torch.zeros(1, 3, 48, 96, dtype=torch.uint8), (48, 96))
    assert ids.shape == (1, 48, 96) and count == len(segmenter.classes or ())


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_weights_of_torchvision(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5).eval()
    picture = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    prepared = (picture / 255 - mean) / deviation
    with torch.inference_mode():  # a random network may give one class everywhere: centre the score of each class
        scores = network(prepared)["out"].mean((0, 2, 3))
        next(p for n, p in reversed([*network.named_parameters()]) if n.endswith("bias") and len(p) == 5).sub_(scores)
    file = tmp_path / "network.pth"
    auxiliary = {"aux_classifier.0.weight": torch.zeros(1)}
    torch.save({"model": network.state_dict() | auxiliary, "epoch": 3}, file)  # as torchvision's own training saves it
    segmenter = load_segmenter(file, CPU)
    assert segmenter.provenance["kind"] == f"torchvision {name}"
    ids, count = segmenter(picture, (64, 96))
    with torch.inference_mode():
        expected = network(prepared)["out"].argmax(1)
    assert count == 5 and torch.equal(ids, expected) and len(ids.unique()) > 1
    torch.save({"model": dict(list(network.state_dict().items())[1:])}, file)
    with pytest.raises(UserError, match="nor weights of a segmentation network of torchvision"):
        load_segmenter(file, CPU)


def test_mistakes_of_training(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = trained
    with pytest.raises(SystemExit):
        run_tool("train_segmenter", [str(data), "--out", str(file)])
    assert "exists already" in capsys.readouterr().err
    assert run_tool("train_segmenter", [str(tmp_path), "--out", str(tmp_path / "x.pt")]) == 2
    assert "no dataset.json; give --labels NUMBER" in capsys.readouterr().err
    assert run_tool("train_segmenter", [str(data), "--size", "12", "--out", str(tmp_path / "x.pt")]) == 2
    assert "--size 12: write WIDTHxHEIGHT" in capsys.readouterr().err
    given = [str(data), "--labels", "2", "--out", str(tmp_path / "x.pt")]
    assert run_tool("train_segmenter", given) == 2
    assert "data.labels" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()


def _save(folder: Path, kind: str) -> Path:
    network, example = _Brightness(), torch.zeros(1, 3, 4, 6)
    file = folder / {"ONNX": "n.onnx", "TorchScript": "n.pt", "torch.export": "n.pt2"}[kind]
    if kind == "ONNX":
        for needed in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(needed, reason="needs hdtrans[export]")
        torch.onnx.export(network, (example,), str(file), dynamo=True, verbose=False)
    elif kind == "TorchScript":
        torch.jit.trace(network, example).save(str(file))
    else:
        torch.export.save(torch.export.export(network, (example,)), file)
    return file


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ONNX", "TorchScript", "torch.export"])
def test_files_of_users(kind: str, tmp_path: Path) -> None:
    file = _save(tmp_path, kind)
    if kind != "ONNX":
        with pytest.raises(
            UserError, match=f"a {kind} file can run code when it is loaded; export the network as ONNX, or give trust"
        ):
            load_segmenter(file, CPU, "unit")
    segmenter = load_segmenter(file, CPU, "unit", trust=True)
    assert segmenter.provenance["kind"] == kind and len(segmenter.provenance["sha256"]) == 64
    picture = torch.zeros(1, 3, 4, 6, dtype=torch.uint8)
    picture[..., 3:] = 255
    ids, count = segmenter(picture, (4, 6))
    assert count == 2 and ids[0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, words in {"a.pt": "cannot be read", "a.onnx": "cannot be read as ONNX|needs onnxruntime"}.items():
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(UserError, match=words):
            load_segmenter(tmp_path / name, CPU)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(UserError, match="neither a file of hdtrans train_segmenter nor"):
        load_segmenter(tmp_path / "b.pt", CPU)
    with pytest.raises(UserError, match=r"no such file. Did you mean 'b.pt'"):
        load_segmenter(tmp_path / "bb.pt", CPU)


def _answers(labels: np.ndarray, classes: int) -> Segmenter:
    """Return a network that finds these ids in every picture, at the picture's size."""

    def run(pictures: Tensor) -> Tensor:
        size = (pictures.shape[3], pictures.shape[2])
        ids = torch.from_numpy(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.int64))
        return nn.functional.one_hot(ids, classes).permute(2, 0, 1)[None].float().expand(len(pictures), -1, -1, -1)

    return Segmenter(run, {"file": "none"})


def _score(metric: SegmentationMetric, label: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    picture = np.zeros((*size, 3), np.uint8)
    return metric.summary(metric.measure([Item("a", found=picture, truth=picture, label=label)])).figures


@pytest.mark.parametrize("protocol", ["cityscapes_512x256", "cityscapes_full"])
def test_cityscapes_as_the_benchmark(protocol: str) -> None:
    """Ids outside the benchmark are ignored where they are true, and wrong where they are found."""
    label = np.full((512, 1024), 7, np.uint8)  # road
    label[:, 512:] = 26  # car
    label[256:] = 6  # ground: ignored
    found = label.copy()
    found[:256, 512:768] = 4  # static
    found[256:] = 26
    figures = _score(SegmentationMetric(_answers(found, 35), protocol, CITYSCAPES), label, (256, 512))
    assert figures["segmentation_pixel_accuracy"] == pytest.approx(0.75)
    assert figures["segmentation_mean_class_accuracy"] == pytest.approx(0.75)
    assert figures["segmentation_mean_iou"] == pytest.approx(0.75)  # (1 + 0.5) / 2
    assert figures["segmentation_mean_iou_ratio"] == 1
    train_ids = np.where(label == 7, 0, 13).astype(np.uint8)  # a network of the 19 classes, right wherever it counts
    figures = _score(SegmentationMetric(_answers(train_ids, 19), protocol, CITYSCAPES), label, (256, 512))
    assert figures["segmentation_mean_iou"] == 1


def test_classes_must_agree() -> None:
    label = np.zeros((8, 8), np.uint8)
    with pytest.raises(UserError, match="finds 3 classes, the label maps have 2"):
        _score(SegmentationMetric(_answers(label, 3), "labels", ClassTable.generic(2)), label, (8, 8))
    with pytest.raises(UserError, match="have 2 classes; Cityscapes has 34, 35 or 19"):
        SegmentationMetric(_answers(label, 19), "cityscapes_full", ClassTable.generic(2))


def test_an_ignored_class_inside_the_table_counts_for_nothing() -> None:
    label = np.array([[0, 1]], np.uint8)
    metric = SegmentationMetric(_answers(np.zeros((1, 2), np.uint8), 2), "labels", ClassTable.generic(2, ignore=1))
    assert _score(metric, label, (1, 2))["segmentation_pixel_accuracy"] == 1


@pytest.mark.filterwarnings("ignore")
def test_the_command_offers_to_trust_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _save(tmp_path, "TorchScript")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert run_tool("evaluate", [str(tmp_path), "--segmenter", str(file)]) == 2
    assert "export the network as ONNX, or give --trust" in capsys.readouterr().err


def test_photos_that_leave_one_value_to_normalise_are_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    network = SegmentationNetwork(2, 2).train()
    network(torch.zeros(1, 3, 16, 17))
    network(torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match="more than 1 value"):
        network(torch.zeros(1, 3, 16, 16))
    data = LabelMaps(root=trained[0], labels=len(CLASS_NAMES))
    given = SegmenterTraining(data, tmp_path / "n.pt", Size(height=16, width=16), 1, 1, width=2, workers=0)
    with pytest.raises(UserError, match=r"^size=16x16: leaves one value to normalise .*, or batch_size=2$"):
        train_segmenter(given)
