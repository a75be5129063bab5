"""A trained run translates: arrays by the Translator, folders by `hdtrans infer`, and mistakes of users."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import hdtrans
from hdtrans.cli import run_tool
from hdtrans.common.errors import PictureWarning, UserError
from hdtrans.engine import checkpoint
from hdtrans.inference.translator import Translator
from tests.bars import Figure
from tests.small_runs import small_recipe, toy_data, train_values


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `city` (toy data) and `run` (trained with instance maps)."""
    folder = tmp_path_factory.mktemp("infer")
    toy_data(folder / "city")
    train_values(small_recipe(folder / "city", folder / "run"))
    return folder


@pytest.fixture(scope="module")
def labels_only(place: Path) -> Path:
    """A run that reads label maps alone."""
    values = small_recipe(place / "city", place / "labels_only")
    values["method"]["condition"] = {"boundary": "none"}
    values["training"]["ema"] = None
    return train_values(values)


def infer(*arguments: object) -> int:
    return run_tool("infer", [str(a) for a in arguments])


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {f.name: cv2.imread(str(f)) for f in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("size", [(32, 64), (33, 17), (7, 131), (1, 1)])
def test_any_size_comes_back_as_it_was(labels_only: Path, size: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 19, size, dtype=np.uint8)
    picture = Translator.load(labels_only)(label=label)
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8


def test_same_weights_same_picture_as_the_network(place: Path) -> None:
    """The Translator equals the method's module with the averaged weights of the checkpoint."""
    state = checkpoint.load(checkpoint.find_checkpoint(place / "run"))
    averaged, last = state["ema"], state["networks"]
    assert any(not torch.equal(averaged[key], last[key]) for key in averaged)
    label = cv2.imread(str(place / "city/test_label/00000.png"), cv2.IMREAD_UNCHANGED)
    instance = cv2.imread(str(place / "city/test_inst/00000.png"), cv2.IMREAD_UNCHANGED)
    with_average = Translator.load(place / "run")(label=label, instance=instance)
    without = Translator.load(place / "run", averaged=False)(label=label, instance=instance)
    assert (with_average != without).any()
    assert np.array_equal(with_average, Translator.load(place / "run")(label=label, instance=instance))


def test_arrays_that_cannot_be_translated(place: Path, labels_only: Path) -> None:
    label = np.zeros((8, 8), np.uint8)
    translator = Translator.load(place / "run")
    with pytest.raises(UserError, match="instance: this model needs it, and it was not given"):
        translator(label=label)
    with pytest.raises(UserError, match="different sizes: label 8x8, instance 9x8"):
        translator(label=label, instance=np.zeros((8, 9), np.int32))
    with pytest.raises(UserError, match=r"200 \(1 pixel, first at row 2, column 3\).*data.labels=19"):
        wrong = label.copy()
        wrong[2, 3] = 200
        Translator.load(labels_only)(label=wrong)
    with pytest.raises(UserError, match="integers are wanted"):
        Translator.load(labels_only)(label=label.astype(np.float32))


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (np.full((8, 8), -1), "instance: holds ids from -1 to -1; allowed are 0 to 2147483647"),
        (np.full((8, 8), 2**31), "instance: holds ids from 2147483648 to 2147483648"),
        (
            np.zeros((8, 8, 3), np.int32),
            r"instance: has shape \(8, 8, 3\) and type int32; \(H, W\) integers",
        ),
        (torch.zeros(8, 8), "instance: is of type Tensor; a numpy array is wanted"),
        (np.zeros((0, 8), np.int32), r"has shape \(0, 8\)"),
    ],
)
def test_instance_maps_that_cannot_be_used(place: Path, instance: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Translator.load(place / "run")(np.zeros((8, 8), np.uint8), instance)  # type: ignore[arg-type]


def test_the_example_of_the_readme(labels_only: Path, place: Path, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "Translator" in code]
    assert len([line for line in example.splitlines() if line]) == 5
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(labels_only)
    shutil.copytree(place / "city", tmp_path / "my_data")
    names: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        exec(example, names)
    assert names["picture"].shape == (32, 64, 3) and names["picture"].dtype == np.uint8


def test_hdtrans_alone_imports_no_torch() -> None:
    script = "import sys, hdtrans; assert 'torch' not in sys.modules; hdtrans.Translator; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'Translater'"):
        _ = hdtrans.Translater  # type: ignore[attr-defined]


def test_a_seed_and_a_type_that_are_none(labels_only: Path) -> None:
    with pytest.raises(UserError, match=r"seed=-1: a seed is a number from 0"):
        Translator.load(labels_only)(np.zeros((8, 8), np.uint8), seed=-1)
    with pytest.raises(UserError, match=r"dtype 'fp23': there is no such; .* Did you mean 'fp32'"):
        Translator.load(labels_only, dtype="fp23")
    label = np.random.default_rng(0).integers(0, 19, (16, 16), dtype=np.uint8)
    whole = Translator.load(labels_only, dtype=torch.float64)(label)
    assert abs(whole.astype(int) - Translator.load(labels_only, dtype="fp32")(label)).max() <= 1


@pytest.mark.parametrize(("factor", "odd"), [(0.0, "of one colour"), (1e6, "nearly all black and white")])
def test_degenerate_pictures_are_reported(
    labels_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, odd: str
) -> None:
    label = np.random.default_rng(0).integers(0, 19, (32, 32), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Translator.load(labels_only)(label)
    state = dict(checkpoint.load(checkpoint.find_checkpoint(labels_only)))
    state["networks"] = {k: v * factor if k.startswith("head") else v for k, v in state["networks"].items()}
    checkpoint.save(tmp_path / "spoilt.pt", state)
    with pytest.warns(PictureWarning, match=f"the picture is {odd}") as caught:
        Translator.load(tmp_path / "spoilt.pt")(label)
    assert len(caught) == 1 and caught[0].filename == __file__
    (tmp_path / "maps").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "maps" / f"{name}.png"), label)
    assert infer(tmp_path / "spoilt.pt", "--input", tmp_path / "maps", "--out", tmp_path / "out") == 0
    assert f"warning: 2 of them {odd} (first: a)" in capsys.readouterr().out


def test_a_folder_twice(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All inputs are translated, the gallery shows them, and a second run makes only missing pictures."""
    command = [place / "run", "--input", place / "city/test_label", "--truth", place / "city/test_img"]
    assert infer(*command, "--out", tmp_path / "out") == 0
    made = pictures(tmp_path / "out")
    assert list(made) == ["00000.png", "00001.png", "00002.png"]
    assert all(picture.shape == (32, 64, 3) for picture in made.values())
    page = (tmp_path / "out/index.html").read_text()
    assert all(f"thumbnails/0000{n}_result.jpg" in page for n in range(3)) and page.count("<figure>") == 9
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("*.png")}
    (tmp_path / "out/00001.png").unlink()
    capsys.readouterr()
    assert infer(*command, "--out", tmp_path / "out") == 0
    assert "1 made, 2 there already, 0 failed" in capsys.readouterr().out
    assert np.array_equal(pictures(tmp_path / "out")["00001.png"], made["00001.png"])
    for name in ("00000.png", "00002.png"):
        file = tmp_path / "out" / name
        assert file.stat().st_mtime_ns == before[file]


def test_an_input_that_changed_is_translated_again(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "city", tmp_path / "city")
    command = [place / "run", "--input", tmp_path / "city/test_label", "--out", tmp_path / "out"]
    assert infer(*command) == 0
    first = pictures(tmp_path / "out")["00000.png"]
    shutil.copy(tmp_path / "city/test_label/00001.png", tmp_path / "city/test_label/00000.png")
    later = (tmp_path / "out/00000.png").stat().st_mtime + 2
    os.utime(tmp_path / "city/test_label/00000.png", (later, later))
    assert infer(*command) == 0
    assert not np.array_equal(pictures(tmp_path / "out")["00000.png"], first)


@pytest.mark.bar(
    "B7.3", "one bad input stops no other; on a full disk nothing is cut off, and the same command goes on"
)
@pytest.mark.parametrize("guarded", [True, False], ids=["ours", "mutant"])
def test_one_bad_file_stops_no_other(
    guarded: bool,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    figure: Figure,
) -> None:
    shutil.copytree(place / "city", tmp_path / "city")
    bad = tmp_path / "city/test_label/00000.png"
    bad.write_bytes(bad.read_bytes()[:60])
    (tmp_path / "city/test_inst/00001.png").unlink()
    if not guarded:
        monkeypatch.setattr("hdtrans.inference.folder.translate._FAILURES", ())
    code = infer(place / "run", "--input", tmp_path / "city/test_label", "--out", tmp_path / "out")
    printed, made = capsys.readouterr().out, list(pictures(tmp_path / "out"))
    if not guarded:
        assert code == 2 and made == []
        figure("mutant, no failure is caught: the first bad file of 3 leaves no picture")
        return
    assert code == 1 and made == ["00002.png"]
    assert "1 made, 0 there already, 2 failed" in printed and "00000.png" in printed and "00001: no instance" in printed


def test_one_file_and_jpeg(labels_only: Path, place: Path, tmp_path: Path) -> None:
    label = place / "city/test_label/00000.png"
    assert infer(labels_only, "--input", label, "--out", tmp_path / "out", "--format", "jpg") == 0
    assert cv2.imread(str(tmp_path / "out/00000.jpg")).shape == (32, 64, 3)


def test_picture_pairs(tmp_path: Path) -> None:
    """A model of pictures to pictures, from the folders `train_A/` and `train_B/`."""
    city = toy_data(tmp_path / "city")
    pairs = tmp_path / "pairs"
    for old, new in (("train_img", "train_A"), ("train_img", "train_B"), ("test_img", "test_A")):
        shutil.copytree(city / old, pairs / new)
    values = small_recipe(pairs, tmp_path / "run", data={"kind": "picture_pairs", "root": str(pairs)})
    values["method"]["condition"] = {"boundary": "none"}
    run = train_values(values)
    assert infer(run, "--input", pairs / "test_A", "--out", tmp_path / "out") == 0
    assert len(pictures(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--input", "{city}/nothing"], "there is no such file or folder"),
        (["{run}_x", "--input", "{city}/test_label"], "no such run folder or checkpoint"),
        (["{city}", "--input", "{city}/test_label"], "holds no checkpoint"),
        (["{city}/dataset.json", "--input", "{city}/test_label"], "cannot be read as a checkpoint"),
        (["{run}", "--input", "{run}/checkpoints"], "has no pictures"),
        (["{run}", "--input", "{city}/test_img"], "give --instances"),
        (["{run}", "--input", "{city}/test_label", "--device", "cuda"], "PyTorch sees no GPU"),
    ],
)
def test_mistakes_of_users_are_reported(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    if "--device" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    given = [a.format(run=place / "run", city=place / "city") for a in arguments]
    if message == "has no pictures":
        given += ["--instances", str(place / "city/test_inst")]
    assert infer(*given, "--out", tmp_path / "out") == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed


def test_folders_of_others_stay_as_they_are(place: Path, labels_only: Path, tmp_path: Path) -> None:
    inputs = ["--input", place / "city/test_label"]
    assert infer(place / "run", *inputs, "--out", place / "city/train_img") == 2
    assert infer(place / "run", *inputs, "--out", place / "city/test_label") == 2
    assert infer(place / "run", *inputs, "--out", tmp_path / "out") == 0
    before = pictures(tmp_path / "out")
    assert infer(labels_only, *inputs, "--out", tmp_path / "out") == 2
    after = pictures(tmp_path / "out")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "out/inference.json").read_text())["recipe"] == "small"
