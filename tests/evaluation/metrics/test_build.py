"""Metrics as built from the list: each name has a file, and each file gives the figures that the list names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hdtrans.evaluation.metrics
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config.metrics import METRICS
from hdtrans.evaluation.judges.segmenters import Segmenter
from hdtrans.evaluation.judges.weights import MissingWeights, WeightFiles
from hdtrans.evaluation.metrics.base import Settings
from hdtrans.evaluation.metrics.build import build_metrics
from hdtrans.evaluation.metrics.lpips import LpipsMetric
from hdtrans.evaluation.metrics.set_distances import SetDistance
from hdtrans.evaluation.pairs import Item

CPU = torch.device("cpu")
CLASSES = ClassTable.generic(3)


def settings(**given: Any) -> Settings:
    """Return settings with a segmenter that finds class 0 everywhere."""
    segmenter = Segmenter(lambda x: torch.zeros(len(x), *x.shape[2:]), {"file": "zeros.onnx"}, classes=CLASSES)
    return Settings(CPU, WeightFiles(), **{"classes": CLASSES, "segmenter": segmenter, **given})


def measurable(name: str) -> Any:
    """Return a metric by its name; one of published weights with a network that averages."""

    def average(pictures: Tensor) -> Tensor:
        return pictures.float().mean((2, 3))

    if name == "lpips":
        return LpipsMetric(lambda a, b: (average(a) - average(b)).square().mean(1), {}, CPU)
    if METRICS[name].sets:
        return SetDistance([name], average, 3, {}, CPU)
    return build_metrics([name], settings())[0]


@pytest.mark.parametrize("name", METRICS)
def test_figures_are_those_of_the_list(name: str) -> None:
    info, random = METRICS[name], np.random.default_rng(0)
    shape = (176, 176, 3) if info.scores == "pictures" else (8, 8)
    sides = [random.integers(0, 3, shape).astype(np.uint8) for _ in range(8)]
    label = random.integers(0, 3, shape[:2]).astype(np.uint8)
    items = [Item(str(n), sides[n], sides[n + 4], label) for n in range(4)]
    metric = measurable(name)
    figures = metric.summary(metric.measure(items)).figures
    assert metric.name == name and set(info.figures) <= set(figures)
    assert all(isinstance(figures[figure], float) for figure in info.figures)


def test_every_entry_has_a_file_and_needs_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = Path(hdtrans.evaluation.metrics.__file__).parent
    for info in METRICS.values():
        assert (folder / f"{info.module}.py").is_file()
        if "weights" in info.needs:
            with pytest.raises(MissingWeights, match="fetch https://"):
                build_metrics([info.name], settings())
        if "segmenter" in info.needs:
            with pytest.raises(UserError, match="needs a segmenter"):
                build_metrics([info.name], settings(segmenter=None))


def test_names_are_built_in_the_order_of_the_list() -> None:
    built = build_metrics(["segmentation", "ssim", "l1"], settings())
    assert [metric.name for metric in built] == ["ssim", "l1", "segmentation"]
    with pytest.raises(UserError, match="labels: the number of classes is unknown; put the dataset.json"):
        build_metrics(["labels"], settings(classes=None))
