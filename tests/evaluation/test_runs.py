"""Runs with every kind of data are translated and scored."""

import json
from pathlib import Path
from typing import Any

import pytest

from hdtrans.cli import run_tool
from hdtrans.config.registry import method_module
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.unpaired import Section as Unpaired
from hdtrans.evaluation.run_files import run_files
from hdtrans.inference.folder.files import Folders
from tests.inference.test_kinds import folders, paint, recipe
from tests.small_runs import train_values

CASES: list[tuple[str, dict[str, Any], str, set[str]]] = [
    ("side_by_side", {"direction": "BtoA"}, "test", {"l1", "psnr", "ssim", "ms_ssim"}),
    ("picture_pairs", {"source_channels": 5, "photo_channels": 6}, "test", {"l1", "psnr", "ssim", "ms_ssim"}),
    ("photos", {"input": {"kind": "lab"}}, "test", {"l1", "psnr", "ssim", "ms_ssim"}),
    ("photos", {"input": {"kind": "edges"}, "validation": 0.001}, "validation", {"l1", "psnr", "ssim", "ms_ssim"}),
    (
        "photos_to_maps",
        {"target": "labels", "labels": 7},
        "test",
        {"pixel_accuracy", "mean_class_accuracy", "mean_iou"},
    ),
    (
        "photos_to_maps",
        {"target": "label_boundaries"},
        "test",
        {"boundary_precision", "boundary_recall", "boundary_f_measure"},
    ),
]


@pytest.mark.parametrize(("kind", "given", "split", "figures"), CASES)
def test_kinds(tmp_path: Path, kind: str, given: dict[str, Any], split: str, figures: set[str]) -> None:
    folders(tmp_path / "data", kind, given)
    train_values(recipe(tmp_path / "data", tmp_path / "run", kind, given))
    out = tmp_path / "e.json"
    assert run_tool("evaluate", [str(tmp_path / "run"), "--split", split, "--out", str(out)]) == 0
    values = json.loads(out.read_text(encoding="utf-8"))
    assert set(values["figures"]) == figures and values["pictures"]["count"] == 1
    assert values["model"]["split"] == split and not values["left_out"]["pictures"]


@pytest.mark.parametrize(("route", "inputs", "truth"), [("AtoB", "testA", "testB"), ("BtoA", "testB", "testA")])
def test_unpaired_sides(tmp_path: Path, route: str, inputs: str, truth: str) -> None:
    for side, names in {"testA": ("1", "2", "3"), "testB": ("7",)}.items():
        for name in names:
            paint(tmp_path / side, name)
    data = Unpaired(kind="unpaired", root=tmp_path)
    inputs_of = method_module("cyclegan").Config(kind="cyclegan").inputs(data, route)
    files = run_files(data, inputs_of, route, None, tmp_path / "out")
    assert {file.parent.name for file in files.inputs} == {inputs}
    assert isinstance(files.places.truth, list) and {file.parent.name for file in files.places.truth} == {truth}
    assert not files.places.paired and len(files.inputs) + len(files.places.truth) == 4


@pytest.mark.parametrize(("split", "start"), [(None, "test"), ("train", "train"), ("validation", "train")])
def test_folders_of_further_inputs(tmp_path: Path, split: str | None, start: str) -> None:
    """Cities have sub-folders of their own; every label map finds its instance map, also where all are of one city."""
    for name in ("train", "test"):
        for ending in ("label", "inst", "img"):
            for sample in ("aachen/1", "bochum/2"):
                paint(tmp_path / f"{name}_{ending}" / Path(sample).parent, Path(sample).name)
    data = LabelMaps(root=tmp_path, labels=3, validation=0.5)
    method = method_module("pix2pixhd").Config(kind="pix2pixhd", condition={"boundary": "instance"})
    files = run_files(data, method.inputs(data), "", split, tmp_path / "out")
    inputs = [spec for spec in method.inputs(data) if spec.name in ("label", "instance")]
    assert files.extra == {"instance": tmp_path / f"{start}_inst" / ("aachen" if split == "validation" else "")}
    named = Folders(files.inputs, files.extra, None, tmp_path / "out").samples(data, {i.name: i for i in inputs}, None)
    assert all(Path(one.paths["label"]).name == Path(one.paths["instance"]).name for one in named)
