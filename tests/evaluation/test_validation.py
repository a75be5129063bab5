"""The section `validate` through `hdtrans train`: the figures of `hdtrans evaluate`, for every kind of data."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.data.batch import Batch
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.evaluation.metrics.labels import LabelMetric
from hdtrans.evaluation.validation import PictureJudge
from tests.inference.test_kinds import folders, recipe
from tests.small_runs import small_recipe, toy_data, write_recipe

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _train(tmp_path: Path, values: dict[str, Any], **section: Any) -> int:
    values = {**values, "validate": {"every": 2, **section}}
    return run_tool("train", [str(write_recipe(tmp_path / "recipe.yaml", values))])


def _figures(run: Path) -> list[dict[str, float]]:
    """Return the figures of each validation of a run."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    by_record = [{k.removeprefix("validation/"): v for k, v in r.items() if "validation/" in k} for r in records]
    return [figures for figures in by_record if figures]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a toy city and a segmentation network of its classes."""
    folder = tmp_path_factory.mktemp("validation")
    data = toy_data(folder / "city", 4, 3)
    given = [str(data), "--out", str(folder / "network.pt"), "--steps", "2", "--workers", "0"]
    assert run_tool("train_segmenter", given) == 0
    return data, folder / "network.pt"


def test_the_figures_are_those_of_evaluate(segmenter: tuple[Path, Path], tmp_path: Path) -> None:
    data, network = segmenter
    run, out = tmp_path / "run", tmp_path / "e.json"
    metrics = ["l1", "psnr", "ssim", "segmentation"]
    assert _train(tmp_path, small_recipe(data, run), metrics=metrics, segmenter=str(network), best="ssim") == 0
    assert len(_figures(run)) == 2
    given = [str(run / "best"), "--out", str(out), "--segmenter", str(network), "--metrics", *metrics]
    assert run_tool("evaluate", given) == 0
    values = json.loads(out.read_text(encoding="utf-8"))
    best = max(_figures(run), key=lambda figures: figures["ssim"])
    assert {"l1", "ssim", "segmentation_mean_iou_ratio"} <= best.keys()
    assert {name: values["figures"][name] for name in best} == pytest.approx(best, abs=1e-6)
    assert Path(values["model"]["checkpoint"]).name.startswith("best_")
    page = (run / "index.html").read_text(encoding="utf-8")
    assert "<h2>Validation</h2>" in page and "best ssim" in page


CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("side_by_side", {"direction": "BtoA"}, {"l1", "ssim"}),
    ("picture_pairs", {"source_channels": 5, "photo_channels": 6}, {"l1", "ssim"}),
    ("photos", {"input": {"kind": "lab"}}, {"l1", "ssim"}),
    ("photos", {"input": {"kind": "low_resolution"}, "validation": 0.001, "test": "none"}, {"l1", "ssim"}),
    ("photos_to_maps", {"target": "labels", "labels": 7}, {"pixel_accuracy", "mean_class_accuracy", "mean_iou"}),
    (
        "photos_to_maps",
        {"target": "label_boundaries"},
        {"boundary_precision", "boundary_recall", "boundary_f_measure"},
    ),
]


@pytest.mark.parametrize(("kind", "given", "figures"), CASES)
def test_kinds(tmp_path: Path, kind: str, given: dict[str, Any], figures: set[str]) -> None:
    folders(tmp_path / "data", kind, given)
    assert _train(tmp_path, recipe(tmp_path / "data", tmp_path / "run", kind, given)) == 0
    assert _figures(tmp_path / "run")[-1].keys() <= figures and _figures(tmp_path / "run")[-1]


def test_pixels_of_no_class_are_not_counted() -> None:
    """A batch has one channel per class; a pixel with none set had the ignored id in the file."""
    data = PhotosToMaps(kind="photos_to_maps", root=".", target="labels", labels=3)
    label = np.array([[0, 1, 255, 2]], np.uint8)
    made = data.make({"source": np.zeros((1, 4, 3), np.uint8), "label": label}, {"source", "photo"}, None)
    fields = {name: torch.from_numpy(x.transpose(2, 0, 1))[None] for name, x in made.items()}
    from hdtrans.common.classes import ClassTable

    judge = PictureJudge(data, [LabelMetric(ClassTable.generic(3, 255))])
    picture = torch.tensor([[1.0, -1, 0], [1.0, 1, 0], [1, 1, 1], [-1, -1, 1]]).T.reshape(1, 3, 1, 4)
    counts = judge.measure(Batch(("a",), (0,), fields), picture)[0]
    assert counts.sum() == 3 and np.diag(counts).tolist() == [1, 0, 1]


def test_unpaired_pictures_are_judged_as_sets(tmp_path: Path) -> None:
    weights = SHARED / "weights" / "squeezenet1_0_torchvision_keys.pth"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    folders(tmp_path / "data", "picture_pairs", {})
    for name in ("4444", "55555", "666666", "7777777"):
        for side in ("testA", "testB"):
            shutil.copy(tmp_path / "data" / side / "1.png", tmp_path / "data" / side / f"{name}.png")
    method = {"kind": "cyclegan", "generator": {"width": 4, "downsamples": 1, "blocks": 1}}
    method |= {"discriminator": {"width": 4, "layers": 1}}
    data = {"kind": "unpaired", "root": str(tmp_path / "data")}
    values = small_recipe(tmp_path, tmp_path / "run", data=data, method=method)
    assert _train(tmp_path, values, metrics=["squeezenet_distance"], weights=[str(weights)]) == 0
    assert _figures(tmp_path / "run")[-1]["squeezenet_distance"] > 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"segmenter": "nowhere.pt"}, "validate.segmenter=nowhere.pt: there is no such file"),
        ({"metrics": ["fid"]}, "and list the file in weights, or save it as"),
        ({"metrics": ["lpips"], "weights": ["nowhere"]}, "validate.weights=nowhere: there is no such file or folder"),
    ],
)
def test_missing_files_are_reported_before_the_first_step(
    segmenter: tuple[Path, Path],
    section: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert _train(tmp_path, small_recipe(segmenter[0], tmp_path / "run"), **section) == 2
    error = capsys.readouterr().err
    assert message in error and "--" not in error
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_segmenter_of_other_classes_is_refused(
    segmenter: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for place, folder in enumerate(("train_img", "train_label", "test_img", "test_label")):
        (data / folder).mkdir(parents=True)
        picture = np.full((32, 64) if place % 2 else (32, 64, 3), 1, np.uint8)
        cv2.imwrite(str(data / folder / "a.png"), picture)
    values = small_recipe(data, tmp_path / "run", data={"kind": "label_maps", "root": str(data), "labels": 2})
    values["method"]["condition"] = {"boundary": "none"}
    assert _train(tmp_path, values, segmenter=str(segmenter[1])) == 2
    assert "the label maps have 2" in capsys.readouterr().err


def test_no_files_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = small_recipe(toy_data(tmp_path / "city", 2, 0), tmp_path / "run")
    assert _train(tmp_path, values) == 2
    error = capsys.readouterr().err
    assert "validate: " in error and "test_label" in error and "data.validation=0.1" in error
    values["data"]["validation"] = 0.3
    assert _train(tmp_path, values) == 0 and _figures(tmp_path / "run")


def test_maps_without_photos_cannot_be_compared(
    segmenter: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "city"
    shutil.copytree(segmenter[0], data)
    shutil.rmtree(data / "test_img")
    assert _train(tmp_path, small_recipe(data, tmp_path / "run")) == 2
    assert "data.validation=0.1" in capsys.readouterr().err
    values = small_recipe(data, tmp_path / "run")
    assert _train(tmp_path, values, metrics=["segmentation"], segmenter=str(segmenter[1])) == 0
    assert _figures(tmp_path / "run")[-1].keys() <= {
        "segmentation_mean_iou",
        "segmentation_pixel_accuracy",
        "segmentation_mean_class_accuracy",
    }
