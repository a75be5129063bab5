"""Every kind of data from the folder to the result: trained two steps, stopped, continued, translated."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hdtrans.cli import run_tool
from hdtrans.common.errors import UserError
from hdtrans.data.derived import lab_of
from hdtrans.data.kinds.photos import Section as Photos
from hdtrans.engine.checkpoint import find_checkpoint, load
from hdtrans.inference.folder.results import file_ending
from hdtrans.inference.translator import Translator
from tests.small_runs import small_recipe, train_values

WIDTH, HEIGHT = 40, 24


def paint(folder: Path, name: str, channels: int = 3, width: int = WIDTH) -> Path:
    """Write a picture of noise that follows from its name."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 256, (HEIGHT, width, channels), dtype=np.uint8)
    if channels in (1, 3):
        assert cv2.imwrite(str(folder / f"{name}.png"), noise)
    else:
        np.save(folder / f"{name}.npy", noise)
    return folder


def folders(root: Path, kind: str, given: dict[str, Any]) -> None:
    """Write two training samples and one test sample."""
    source, photo = given.get("source_channels", 3), given.get("photo_channels", 3)
    for split, names in (("train", ("1", "22")), ("test", ("1",))):
        for name in names:
            if kind == "picture_pairs":
                paint(root / f"{split}A", name, source)
                paint(root / f"{split}B", name, photo)
            elif kind == "side_by_side":
                paint(root / split, name, width=2 * WIDTH)
            elif kind == "photos":
                paint(root / split, name)
            else:
                paint(root / f"{split}_img", name)
                label = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8) // 9
                (root / f"{split}_label").mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / f"{split}_label" / f"{name}.png"), label)


def recipe(root: Path, out: Path, kind: str, given: dict[str, Any], epochs: int = 1) -> dict[str, Any]:
    """Return a recipe of the smallest pix2pixHD on such data."""
    values = small_recipe(root, out, data={"kind": kind, "root": str(root), **given})
    values["method"]["condition"] = {"boundary": "none"}
    stage = {"size": "32x16", "load": "36x20", "geometry": "resize_and_crop", "epochs": epochs}
    return {**values, "stages": [stage]}


CASES = [
    ("picture_pairs", {"direction": "BtoA"}, "test", "testB", ".png", (HEIGHT, WIDTH, 3)),
    ("picture_pairs", {"source_channels": 1, "photo_channels": 1}, "test", "testA", ".png", (HEIGHT, WIDTH)),
    ("picture_pairs", {"source_channels": 5, "photo_channels": 6}, "test", "testA", ".npy", (HEIGHT, WIDTH, 6)),
    ("side_by_side", {"direction": "BtoA"}, "test", "test", ".png", (HEIGHT, WIDTH, 3)),
    ("photos", {"input": {"kind": "edges"}}, "test", "test", ".png", (HEIGHT, WIDTH, 3)),
    ("photos", {"input": {"kind": "lab"}}, "test", "test", ".png", (HEIGHT, WIDTH, 3)),
    ("photos", {"input": {"kind": "low_resolution"}}, "none", "test", ".png", (HEIGHT, WIDTH, 3)),
    ("photos_to_maps", {"target": "labels", "labels": 7}, "test", "test_img", ".png", (HEIGHT, WIDTH)),
    ("photos_to_maps", {"target": "label_boundaries"}, "test", "test_img", ".png", (HEIGHT, WIDTH)),
]


@pytest.mark.parametrize(("kind", "given", "test", "inputs", "ending", "shape"), CASES)
def test_trained_continued_translated(
    tmp_path: Path, kind: str, given: dict[str, Any], test: str, inputs: str, ending: str, shape: tuple[int, ...]
) -> None:
    root, run = tmp_path / "data", tmp_path / "run"
    folders(root, kind, given)
    given = {**given, "test": test, "validation": 0.001 if test == "none" else None}
    train_values(recipe(root, run, kind, given))
    first = load(find_checkpoint(run))["images_seen"]
    assert first == (1 if test == "none" else 2)
    train_values(recipe(root, run, kind, given, epochs=2))
    assert load(find_checkpoint(run))["images_seen"] == 2 * first
    assert list((run / "samples").glob("*.png")) or list(run.rglob("*.jpg")), "sample grids were made"
    command = ["infer", str(run), "--input", str(root / inputs), "--out", str(tmp_path / "out")]
    assert run_tool(command[0], command[1:]) == 0
    file = tmp_path / "out" / f"1{ending}"
    result = np.load(file) if ending == ".npy" else cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert result.shape == shape and result.dtype == np.uint8
    if given.get("target") == "labels":
        assert result.max() < 7
    with_truth = kind in ("side_by_side", "photos")
    assert (tmp_path / "out" / "thumbnails" / "1_truth.jpg").is_file() == with_truth
    assert (tmp_path / "out" / "index.html").read_text().count("<figure>") == 2 + with_truth


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that makes pictures twice as large."""
    folder = tmp_path_factory.mktemp("enlarger")
    given = {"input": {"kind": "low_resolution", "factor": 2}}
    folders(folder / "data", "photos", given)
    return train_values(recipe(folder / "data", folder / "run", "photos", given))


def test_ready_small_pictures_are_made_larger(
    enlarger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "small", "1")
    command = [str(enlarger), "--input", str(tmp_path / "small"), "--out"]
    assert run_tool("infer", [*command, str(tmp_path / "same")]) == 0
    note = "inputs were made from photos, as in training; give --ready for drawings, or small pictures to enlarge\n"
    assert note in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "same" / "1.png")).shape == (HEIGHT, WIDTH, 3)
    assert run_tool("infer", [*command, str(tmp_path / "large"), "--ready"]) == 0
    assert "inputs were made" not in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "large" / "1.png")).shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert run_tool("infer", [*command, str(tmp_path / "x"), "--truth", str(tmp_path / "small")]) == 2
    assert "the inputs hold the true pictures; leave it out, or give --ready" in capsys.readouterr().err
    assert run_tool("infer", [*command, str(tmp_path / "large")]) == 2, "the folder holds results of ready inputs"


def test_one_side_of_pairs_is_read_where_it_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path / "data", "side_by_side", {})
    run = train_values(recipe(tmp_path / "data", tmp_path / "run", "side_by_side", {}))
    paint(tmp_path / "plain", "1", width=WIDTH + 1)
    command = [str(run), "--input", str(tmp_path / "plain"), "--out", str(tmp_path / "out")]
    assert run_tool("infer", command) == 1
    assert "1.png: is 41 pixels wide" in capsys.readouterr().out
    assert run_tool("infer", [*command[:-1], str(tmp_path / "ready"), "--ready"]) == 0
    assert cv2.imread(str(tmp_path / "ready" / "1.png")).shape == (HEIGHT, WIDTH + 1, 3)


def test_a_picture_of_other_channels(enlarger: Path) -> None:
    translator = Translator.load(enlarger)
    with pytest.raises(UserError, match=r"source: has 5 channel\(s\), but 3 are wanted"):
        translator(np.zeros((8, 8, 5), np.uint8))
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rgba = np.concatenate([colour, colour[..., :1]], 2)
    assert np.array_equal(translator(rgba), translator(colour))
    grey = colour[..., 0]
    of_three = translator(np.repeat(grey[..., None], 3, 2))
    assert all(np.array_equal(translator(x), of_three) for x in (grey, grey[..., None]))


def test_pictures_of_more_bits(enlarger: Path) -> None:
    translator = Translator.load(enlarger)
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    wide = colour.astype(np.uint16) * 257
    whole = translator(colour).astype(int)
    for same in (wide, wide.astype(np.int32), colour / 127.5 - 1, (colour / 127.5 - 1).astype(np.float32)):
        assert abs(translator(same) - whole).max() <= 1
    with pytest.raises(UserError, match=r"source: holds floating point values from 0 to 255.*\[-1, 1\]"):
        translator(np.array([[0.0, 255.0]]))
    with pytest.raises(UserError, match=r"source: has shape \(8, 8, 3\) and type int64"):
        translator(colour.astype(np.int64))
    with pytest.raises(UserError, match="instance: this model does not read it; leave it out"):
        translator(colour, np.zeros((8, 8), np.int32))
    with pytest.raises(UserError, match="source: is of type list; a numpy array is wanted"):
        translator(colour.tolist())  # type: ignore[arg-type]


def test_grey_arrays_are_colourised(tmp_path: Path) -> None:
    given = {"input": {"kind": "lab"}}
    folders(tmp_path / "data", "photos", given)
    translator = Translator.load(train_values(recipe(tmp_path / "data", tmp_path / "run", "photos", given)))
    grey = np.full((9, 13, 1), 100, np.uint8)
    picture = translator(grey)
    assert picture.shape == (9, 13, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture, translator(np.repeat(grey, 3, 2)))


def test_pictures_of_16_bits(enlarger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "small", "1")
    command = [str(enlarger), "--input", str(tmp_path / "small"), "--out", str(tmp_path / "out"), "--bits", "16"]
    assert run_tool("infer", [*command, "--format", "jpg"]) == 2
    assert "--format jpg: has no 16 bits" in capsys.readouterr().err
    assert run_tool("infer", command) == 0
    fine = cv2.imread(str(tmp_path / "out" / "1.png"), cv2.IMREAD_UNCHANGED)
    assert fine.dtype == np.uint16 and (fine % 257).any(), "16 bits, not 8 made longer"
    assert run_tool("infer", [*command[:-3], str(tmp_path / "coarse")]) == 0
    coarse = cv2.imread(str(tmp_path / "coarse" / "1.png"))
    assert np.abs(np.rint(fine / 257) - coarse).max() <= 1
    assert run_tool("infer", command[:-2]) == 2, "the folder holds results of 16 bits"


def test_colours_of_16_bits() -> None:
    data = Photos.model_validate({"kind": "photos", "root": ".", "input": {"kind": "lab"}})
    picture = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.int32)
    lightness, colours = lab_of(picture)
    back = data.result_of({"source": lightness}, torch.from_numpy(colours.transpose(2, 0, 1)), bits=16)
    assert back.dtype == np.uint16 and np.abs(back.astype(int) - picture).max() < 257


def test_how_results_end() -> None:
    wanted = ["png", "png", "npy", "png", "png", "npy"]
    assert [file_ending(channels, "png") for channels in range(6)] == wanted
    assert [file_ending(channels, "jpg") for channels in (1, 2, 3)] == ["jpg", "npy", "jpg"]
    for channels in (0, 4):
        with pytest.raises(UserError, match="ending=jpg"):
            file_ending(channels, "jpg")
