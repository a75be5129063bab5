"""The examples, installed as a user installs them: the kinds of input reach every room without a line of theirs."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.config import registry
from hdtrans.engine import checkpoint
from hdtrans.inference.translator import Translator
from hdtrans.toycity.scenes import render

ROOT = Path(__file__).resolve().parents[2]
LABELS, POINTS, SIZE = 8, 5, (48, 64)


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make both examples visible as installed packages: their modules, and their entry points."""
    place = tmp_path_factory.mktemp("installed")
    for name in ("my_kind", "my_method"):
        project = ConfigParser()
        project.read_string((ROOT / "examples" / name / "pyproject.toml").read_text(encoding="utf-8"))
        (section,) = (s for s in project.sections() if s.startswith("project.entry-points"))
        group, value = section.split('"')[1], project[section][name].strip('"')
        info = place / f"hdtrans_{name}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hdtrans-{name}\nVersion: 0.1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n", encoding="utf-8")
    paths = [str(place), *(str(ROOT / "examples" / name) for name in ("my_kind", "my_method"))]
    sys.path[:0] = paths
    registry._installed.cache_clear()
    yield
    for path in paths:
        sys.path.remove(path)
    registry._installed.cache_clear()


def write_data(root: Path, mask: bool = True, count: int = 6) -> None:
    """Write toy scenes with masks and points, as the example's kind reads them."""
    rng = np.random.default_rng(0)
    for split, first in (("train", 0), ("test", 100)):
        for kind in ("label", "img", *(["mask"] if mask else [])):
            (root / f"{split}_{kind}").mkdir(parents=True)
        rows = []
        for number in range(first, first + count):
            scene, name = render(number, *SIZE), f"{number:03d}"
            cv2.imwrite(str(root / f"{split}_label" / f"{name}.png"), scene.label % LABELS)
            cv2.imwrite(str(root / f"{split}_img" / f"{name}.png"), scene.photo[..., ::-1])
            if mask:
                cv2.imwrite(str(root / f"{split}_mask" / f"{name}.png"), np.uint8(255 * (scene.label % 3 == 0)))
            points = rng.random((POINTS, 2)) * (SIZE[1], SIZE[0])
            cells = [f"{x:.2f}" for x in points.ravel()]
            rows.append([name, *(["", ""] if number % 5 == 0 else cells[:2]), *cells[2:]])
        with (root / f"{split}_points.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["name", *(f"{axis}{n}" for n in range(POINTS) for axis in "xy")], *rows])
    points_section = {"names": [f"p{n}" for n in range(POINTS)], "mirror": [1, 0, 2, 4, 3]}
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "format": 1,
                "classes": [{"id": n, "name": f"class {n}", "colour": [n * 30, 0, 0]} for n in range(LABELS)],
                "points": points_section,
            }
        ),
        encoding="utf-8",
    )


def arguments(root: Path, out: Path, *more: str) -> list[str]:
    recipe = str(ROOT / "examples" / "my_method" / "recipe.yaml")
    return [recipe, f"data.root={root}", f"out={out}", "method.width=4", "training.workers=0", *more]


@pytest.fixture(scope="module")
def trained(installed: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("example")
    write_data(place / "data")
    short = ("training.precision=fp32", "training.ema.half_life=10")
    assert run_tool("train", arguments(place / "data", place / "run", *short, "stages.0.epochs=2")) == 0
    return place / "data", place / "run"


@pytest.fixture(scope="module")
def given(trained: tuple[Path, Path]) -> dict[str, np.ndarray]:
    """Return the inputs of one test sample as arrays."""
    data, _ = trained
    label, mask = (cv2.imread(str(data / f"test_{kind}" / "101.png"), 0) for kind in ("label", "mask"))
    return {"label": label, "mask": mask, "points": np.array([[5, 6], [20, 30.5], [40, 8], [60, 40], [np.nan] * 2])}


def test_the_check_knows_the_data(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = trained
    recipe = data.parent / "recipe.yaml"
    text = (ROOT / "examples" / "my_method" / "recipe.yaml").read_text(encoding="utf-8")
    recipe.write_text(text.replace("root: data", f"root: {data}"), encoding="utf-8")
    assert run_tool("check_data", [str(recipe)]) in (0, 1)
    assert "unreadable" not in capsys.readouterr().out


def test_a_dry_run_estimates_it(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, run = trained
    assert run_tool("train", arguments(data, run.with_name("none"), "--dry-run")) == 0
    told = capsys.readouterr().out
    assert "GFLOP a step" in told and "generator" in told


def test_a_run_resumes_to_the_bit(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = trained
    for name, epochs in (("whole", [3]), ("parts", [1, 3])):
        for count in epochs:
            more = ("training.precision=fp64", f"stages.0.epochs={count}")
            assert run_tool("train", arguments(data, tmp_path / name, *more)) == 0
    whole, parts = (checkpoint.load(checkpoint.find_checkpoint(tmp_path / name)) for name in ("whole", "parts"))
    assert whole["images_seen"] == parts["images_seen"] == 18
    assert all(torch.equal(x, parts["networks"][key]) for key, x in whole["networks"].items())


def test_every_input_changes_the_picture(trained: tuple[Path, Path], given: dict[str, np.ndarray]) -> None:
    translator = Translator.load(trained[1], dtype="fp32")
    assert translator.reads == {"label", "mask", "points"} and translator.features == 8
    picture = translator(**given)
    assert picture.shape == (*SIZE, 3)
    others = {
        "mask": {"mask": 255 - given["mask"]},
        "without a mask": {"mask": None},
        "points": {"points": given["points"][::-1].copy()},
        "label": {"label": (given["label"] + 1) % LABELS},
    }
    for name, other in others.items():
        assert (translator(**{**given, **other}) != picture).any(), name
    assert (translator(**given, seed=1) != picture).any() and (translator(**given, style="mean") != picture).any()
    assert np.array_equal(translator(**given, style=np.zeros(8)), translator(**given, style="mean"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": None}, "points: this model needs it"),
        ({"points": np.zeros((4, 2))}, r"points: has shape \(4, 2\); \(5, 2\) pixel coordinates"),
        ({"mask": np.zeros((3, 3), np.uint8)}, "different sizes: label 64x48, mask 3x3"),
        ({"instance": np.zeros(SIZE, np.int32)}, "instance: this model does not read it"),
        ({"style": [1.0, 2.0]}, "style: cannot be used; give sample, mean, 8 finite numbers"),
    ],
)
def test_wrong_inputs_are_named(
    trained: tuple[Path, Path], given: dict[str, np.ndarray], change: dict[str, object], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        Translator.load(trained[1], dtype="fp32")(**{**given, **change})  # type: ignore[arg-type]


def test_tiles_make_the_same_picture(trained: tuple[Path, Path]) -> None:
    scene = render(3, 160, 224)
    inputs = {
        "label": scene.label % LABELS,
        "mask": np.uint8(scene.label % 3 == 0),
        "points": np.random.default_rng(1).random((POINTS, 2)) * (224, 160),
    }
    whole = Translator.load(trained[1], dtype="fp32")(**inputs)
    tiled = Translator.load(trained[1], dtype="fp32", max_memory=4 * 2**30)
    tiles = tiled(**inputs)
    assert np.abs(whole.astype(int) - tiles).max() <= 1 and (whole != tiles).mean() < 0.01


@pytest.mark.parametrize("form", [".onnx", ".pt2", ".safetensors"])
def test_published_models_take_all_inputs(
    trained: tuple[Path, Path], given: dict[str, np.ndarray], tmp_path: Path, form: str
) -> None:
    file = tmp_path / f"model{form}"
    assert run_tool("export", [str(trained[1]), "--out", str(file), "--size", "64x48"]) == 0
    published = Translator.load(file, "cpu", "fp32", trust=True)
    for change in ({}, {"mask": None}, {"seed": 3}):
        own, other = (model(**{**given, **change}) for model in (Translator.load(trained[1], "cpu", "fp32"), published))
        assert np.abs(own.astype(int) - other).max() <= 1, change
    if form == ".onnx":
        import onnx

        inputs = {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in onnx.load(str(file)).graph.input
        }
        assert inputs == {
            "label": ["batch", "height", "width"],
            "mask": ["batch", 1, "height", "width"],
            "points": ["batch", POINTS, 2],
            "style": ["batch", 8],
        }


def test_infer_finds_and_takes_the_folders(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = trained
    common = [str(run), "--dtype", "fp32", "--input"]
    assert run_tool("infer", [*common, str(data / "test_label"), "--out", str(tmp_path / "beside")]) == 0
    maps = tmp_path / "maps"
    maps.symlink_to(data / "test_label")
    further = ["--with", f"points={data / 'test_points.csv'}", "--with", f"mask={data / 'test_mask'}"]
    assert run_tool("infer", [*common, str(maps), *further, "--out", str(tmp_path / "given")]) == 0
    assert run_tool("infer", [*common, str(maps), *further[:2], "--out", str(tmp_path / "maskless")]) == 0
    beside, handed, maskless = (
        cv2.imread(str(tmp_path / name / "101.png")) for name in ("beside", "given", "maskless")
    )
    assert np.array_equal(beside, handed) and (beside != maskless).any()
    capsys.readouterr()
    assert run_tool("infer", [*common, str(maps), "--out", str(tmp_path / "none")]) == 2
    assert "--with points=" in capsys.readouterr().err
    assert run_tool("infer", [*common, str(maps), "--with", f"maks={maps}", "--out", str(tmp_path / "none")]) == 2
    assert "Did you mean 'mask'?" in capsys.readouterr().err


def test_training_does_without_masks(tmp_path: Path) -> None:
    write_data(tmp_path / "data", mask=False, count=4)
    assert run_tool("train", arguments(tmp_path / "data", tmp_path / "run", "stages.0.epochs=1")) == 0


def test_shards_hold_masks_and_points_too(tmp_path: Path) -> None:
    """Training on the packed folder gives the same weights, to the bit."""
    write_data(tmp_path / "data", count=4)
    packed = ["shards", "--in", str(tmp_path / "data"), "--out", str(tmp_path / "packed"), "--size", "64KiB"]
    assert run_tool("prepare", packed) == 0 and run_tool("prepare", packed) == 0
    assert not [path for path in (tmp_path / "packed").iterdir() if path.is_dir()]
    weights = []
    for name in ("data", "packed"):
        short = ("stages.0.epochs=1", "training.precision=fp32")
        assert run_tool("train", arguments(tmp_path / name, tmp_path / f"run_{name}", *short)) == 0
        weights.append(checkpoint.load(checkpoint.find_checkpoint(tmp_path / f"run_{name}"))["networks"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_masks_may_be_for_training_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files that validate, and those that are scored, have no masks; an input that is needed is missed."""
    data, run = tmp_path / "data", tmp_path / "run"
    write_data(data, count=3)
    shutil.rmtree(data / "test_mask")
    validated = ("data.validation=test", "validate.metrics=[psnr]", "stages.0.epochs=1")
    assert run_tool("train", arguments(data, run, *validated)) == 0
    recipe = str(run / "recipe.yaml")
    for split in ("test", "validation"):
        scored = ["--split", split, "--metrics", "psnr", "--out", str(tmp_path / f"{split}.json")]
        assert run_tool("evaluate", [str(run), *scored]) == 0
    assert run_tool("check_data", [recipe]) == 0, capsys.readouterr().out
    (data / "train_mask").rename(tmp_path / "away")
    assert run_tool("check_data", [recipe]) == 0, capsys.readouterr().out
    (data / "test_points.csv").unlink()
    capsys.readouterr()
    assert run_tool("evaluate", [str(run), "--out", str(tmp_path / "none.json")]) == 2
    assert "points" in capsys.readouterr().err


def test_points_that_cannot_be_mirrored_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(tmp_path / "data", count=2)
    values = json.loads((tmp_path / "data" / "dataset.json").read_text(encoding="utf-8"))
    del values["points"]
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(values), encoding="utf-8")
    assert run_tool("train", arguments(tmp_path / "data", tmp_path / "run")) == 2
    assert "data.flip=false" in capsys.readouterr().err
    assert (
        run_tool("train", arguments(tmp_path / "data", tmp_path / "run", "data.flip=false", "stages.0.epochs=1")) == 0
    )
